"""How well forecasts that were really answered have held lately, task by task: Kendall's tau and the coverage of intervals.

What has to be read for it is bounded: the newest observations of a task, each task again only after a while, and in one go
only as many as fit into a given time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from app.inference import kendall_tau
from app.metrics import repository
from app.metrics.repository import WatchedTask
from app.tables import TaskRecord
from app.track_records.repository import Pair, pairs

MAX_PAIRS = 500
_MAX_OBSERVATIONS = 2_000
_AGAIN_SECONDS = 30.0
_BUDGET_SECONDS = 0.5


@dataclass(frozen=True)
class Accuracy:
    """Of the newest pairs of forecast and value. `kendall_tau` is None where it means nothing."""

    num_pairs: int
    coverage: float
    kendall_tau: float | None


@dataclass
class _Known:
    newest_observation_id: int
    looked_at: float
    accuracy: Accuracy | None


class AccuracyWatch:
    """Remembers what it found. Belongs to one thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[int, _Known] = {}

    def look(self, session: Session, tasks: Sequence[WatchedTask]) -> dict[int, Accuracy]:
        """What is known of these tasks, brought up to date as far as the time allows; of others nothing is remembered."""
        began = self._clock()
        self._known = {task.id: self._known[task.id] for task in tasks if task.id in self._known}
        for task in sorted(tasks, key=self._looked_at):
            if self._clock() - began > _BUDGET_SECONDS:
                break
            if self._is_due(task, began):
                found = of_task(session, task.id)
                self._known[task.id] = _Known(task.newest_observation_id, began, found)
        return {id_: known.accuracy for id_, known in self._known.items() if known.accuracy is not None}

    def _looked_at(self, task: WatchedTask) -> float:
        known = self._known.get(task.id)
        return float("-inf") if known is None else known.looked_at

    def _is_due(self, task: WatchedTask, now: float) -> bool:
        """Forecasts may be logged a little later than their observations, so that there is always one more look."""
        known = self._known.get(task.id)
        return known is None or now - known.looked_at >= _AGAIN_SECONDS


def of_task(session: Session, task_id: int) -> Accuracy | None:
    """How its newest pairs have held; None if there are none."""
    after = repository.id_before_newest(session, task_id, _MAX_OBSERVATIONS)
    return of_pairs(pairs(session, session.get_one(TaskRecord, task_id), MAX_PAIRS, after=after))


def of_pairs(found: Sequence[Pair]) -> Accuracy | None:
    """How pairs have held; None if there are none."""
    if not found:
        return None
    coverage = sum(pair.is_covered for pair in found) / len(found)
    means, values = np.array([pair.mean for pair in found]), np.array([pair.value for pair in found])
    is_ordered = len(found) > 1 and bool(np.ptp(values) > 0) and bool(np.ptp(means) > 0)
    return Accuracy(len(found), coverage, float(kendall_tau(means, values)) if is_ordered else None)
