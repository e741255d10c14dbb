"""What related tasks say of a task's architectures, kept for as long as their own observations stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.inference import records
from app.inference.caches import BoundedCache
from app.inference.records import TaskContext
from predictor import MeasuredTask, MetaPredictor, RelatedTasks, SupportSet

_MAX_KEPT = 8  # about a megabyte each
_MAX_OBSERVATIONS = 5_000  # of one related task, its newest: no more are learned from

Siblings = tuple[tuple[int, int], ...]
"""Ids and revisions of the observed tasks of the same search space."""

Key = tuple[str, int, Siblings, tuple[str, ...]]
"""Model version, task, its siblings, and what smaller budgets said of the task itself."""


@dataclass(frozen=True)
class RelatedRead:
    """The siblings of a task as they were read: with their observations, or with the opinions that were formed of them."""

    key: Key
    observed: Sequence[MeasuredTask] = ()
    opinions: RelatedTasks | None = None


class Relations:
    """Remembers the latest opinions of related tasks. May be used from any thread."""

    def __init__(self) -> None:
        self._known: BoundedCache[Key, RelatedRead] = BoundedCache(_MAX_KEPT)

    def read(
        self, session: Session, champion: MetaPredictor, context: TaskContext, lower: Sequence[MeasuredTask] = ()
    ) -> RelatedRead:
        """What is needed to form opinions, read within the caller's transaction; `lower` is what smaller budgets said of
        the task itself."""
        siblings = records.observed_siblings(session, context)
        key = (champion.version, context.id, siblings, tuple(one.measured.hash for one in lower))
        known = self._known.get(key)
        if known is not None:
            return known
        return RelatedRead(key, [*lower, *(_measured(session, task_id) for task_id, _ in siblings)])

    def opinions(self, champion: MetaPredictor, context: TaskContext, read: RelatedRead) -> RelatedTasks | None:
        """The opinions; seconds of work the first time. None where no related task has observed enough."""
        if not read.observed:
            return read.opinions
        opinions = champion.related(context.task, context.space, read.observed)
        self._known.put(read.key, RelatedRead(read.key, opinions=opinions))
        return opinions


def _measured(session: Session, task_id: int) -> MeasuredTask:
    context = records.task_context(session, str(task_id))
    history = records.read_history(session, context, _MAX_OBSERVATIONS)
    return MeasuredTask(context.task, context.space, SupportSet.of(history.current()))
