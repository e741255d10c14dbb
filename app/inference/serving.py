"""Inference: what answers in the API process. State comes from the database alone, so any number of processes can serve."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sqlalchemy.orm import Session

from app.database import Database
from app.errors import AppError
from app.inference import records
from app.inference.errors import translated
from app.inference.forecasts import Forecaster, ServedTask
from app.inference.notations import sampled, search_space
from app.inference.records import TaskContext, TaskState
from app.inference.relations import Relations
from app.inference.versions import Versions
from app.settings import Settings
from app.tables import AdaptationRecord
from predictor import AdaptedPredictor, Metric, Observation, SupportSet, Task

_MAX_SERVED = 16  # tens of megabytes each where thousands were observed
_NUM_WARMED_AT_START = 8
_WARM_UP_SPACE, _NUM_WARM_UP = "nasbench201", 8
_logger = logging.getLogger(__name__)

Listener = Callable[[ServedTask], None]


class Inference:
    """Holds the adaptations that answer, and notices new ones by polling. May be called from any thread.

    `start` begins to poll in the background; `stop` ends it. Without `start`, `refresh` looks once.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        # Tensors are small here: two threads on one wait for each other, two requests side by side do not.
        torch.set_num_threads(settings.torch_threads or 1)
        self.forecaster = Forecaster()
        self.versions = Versions(database)
        self._database = database
        self._poll_seconds = settings.inference_poll_seconds
        self._served: dict[int, ServedTask] = {}
        self._ids: dict[str, int] = {}  # by name or id, as it was asked for
        self._states: dict[int, TaskState] = {}
        self._loaded_from: dict[int, tuple[object, ...] | None] = {}  # which adaptation, as in their states
        self._digest: tuple[object, ...] | None = None
        self._loading = threading.Lock()
        self._refreshing = threading.Lock()
        self._serials = itertools.count(1)
        self._listeners: list[Listener] = []
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add_listener(self, listener: Listener) -> None:
        """Calls `listener` in the polling thread whenever a task has a new adaptation in this process."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Begins to poll."""
        self._thread = threading.Thread(target=self._poll, name="inference-poll", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends polling and waits for it."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def served(self, reference: str) -> ServedTask | None:
        """The task of that name or id as it answers now, from memory alone; None if it was not loaded yet."""
        task_id = self._ids.get(reference)
        return None if task_id is None else self._served.get(task_id)

    def load(self, reference: str) -> ServedTask:
        """The task of that name or id as it answers now, read from the database where needed.

        Raises:
            NotFoundError: if there is no such task.
            NotReadyError: if there is no champion yet.
        """
        served = self.served(reference)
        if served is None:
            with self._loading:
                served = self.served(reference) or self._loaded(reference)
        return served

    def reload(self, reference: str) -> ServedTask:
        """The task as the database has it now, for who does not poll; what is loaded already is taken where nothing changed.

        Raises:
            NotFoundError: if there is no such task.
            NotReadyError: if there is no champion yet.
        """
        served = self.served(reference)
        with self._loading:
            if served is not None and self._is_current(served):
                return served
            return self._loaded(reference)

    def _is_current(self, served: ServedTask) -> bool:
        with self._database.read() as session:
            revision, version, newest = records.adaptation_of(session, served.task_id)
        is_kept = newest is None or newest == (served.model_version, served.adapted_revision)
        return is_kept and (served.revision, served.champion) == (revision, version)

    def snapshot(self, context: TaskContext, adapted: AdaptedPredictor, num_observations: int) -> ServedTask:
        """A task with an adaptation that is kept nowhere, and that nobody else is answered by."""
        return ServedTask(
            task_id=context.id,
            name=context.name,
            revision=context.revision,
            task=context.task,
            space=context.space,
            adapted=adapted,
            num_observations=num_observations,
            adapted_revision=context.revision,
            last_observation_id=0,
            champion=adapted.model_version,
            serial=next(self._serials),
            project_id=context.project_id,
        )

    def refresh(self) -> None:
        """Looks at the database once and takes over what changed."""
        with self._refreshing:
            self._refresh()

    def _refresh(self) -> None:
        with self._database.read() as session:
            digest = records.digest(session)
            if digest == self._digest:
                return
            champion = records.champion_id(session)
            states = records.task_states(session, champion)
        if self._digest is None:
            self._states = {state.task_id: state for state in states}
        for state in states:
            if self._stopped.is_set():
                return
            self._take_over(state)
        self._digest = digest

    def _poll(self) -> None:
        is_warm = False
        while not self._stopped.wait(self._poll_seconds):
            try:
                self.refresh()
                if not is_warm:
                    self._warm_newest()
                    is_warm = True
            except Exception:  # the database may be away for a while: what is loaded goes on answering
                _logger.exception("expected to read the newest adaptations, got an error; trying again")

    def _warm_newest(self) -> None:
        """Loads the tasks that were adapted last, so that their first questions need not wait."""
        adapted = [state for state in self._states.values() if state.adaptation is not None]
        for state in adapted[:_NUM_WARMED_AT_START]:
            if not self._stopped.is_set() and state.task_id not in self._served:
                self._reload(state)

    def _take_over(self, state: TaskState) -> None:
        """Loads a task again when another adaptation answers; only notes the revision when its observations changed."""
        before, served = self._states.get(state.task_id), self._served.get(state.task_id)
        self._states[state.task_id] = state
        if served is None:
            is_new = before is None or before.adaptation != state.adaptation
            if is_new and state.adaptation is not None:
                self._reload(state)
        elif self._loaded_from.get(state.task_id) != state.adaptation or (
            state.adaptation is None and served.model_version != state.version
        ):
            self._reload(state)
        elif (served.revision, served.champion) != (state.revision, state.version):
            self._served[state.task_id] = dataclasses.replace(served, revision=state.revision, champion=state.version)

    def _reload(self, state: TaskState) -> None:
        try:
            with self._loading:
                served = self._loaded(str(state.task_id))
        except AppError:
            _logger.exception("expected to load the newest adaptation of task %s, got an error", state.name)
            return
        for listener in self._listeners:
            listener(served)

    def _loaded(self, reference: str) -> ServedTask:
        with self._database.read() as session:
            context = records.task_context(session, reference)
            version = records.effective_version(session, context.id)
            record = records.newest_adaptation(session, context.id, version)
        served = self._snapshot(context, record, version)
        self._ids[reference] = self._ids[str(served.task_id)] = served.task_id
        self._loaded_from[served.task_id] = None if record is None else records.identity(record)
        self._served.pop(served.task_id, None)
        self._served[served.task_id] = served
        while len(self._served) > _MAX_SERVED:
            self._served.pop(next(iter(self._served)), None)
        return served

    def _snapshot(self, context: TaskContext, record: AdaptationRecord | None, version: str | None) -> ServedTask:
        if record is not None and not self.versions.reads(record.model_version_id):
            record = (
                None  # a program with another encoding made it: as if nothing was observed, until it is adapted anew
            )
        return ServedTask(
            task_id=context.id,
            name=context.name,
            revision=context.revision,
            task=context.task,
            space=context.space,
            adapted=self._unadapted(context, version) if record is None else self._restored(context, record),
            num_observations=0 if record is None else record.num_observations,
            adapted_revision=None if record is None else record.task_revision,
            last_observation_id=0 if record is None else record.last_observation_id,
            champion=version,
            serial=next(self._serials),
            project_id=context.project_id,
        )

    def _unadapted(self, context: TaskContext, version: str | None) -> AdaptedPredictor:
        meta_predictor = self.versions.champion() if version is None else self.versions.get(version)
        with translated():
            return meta_predictor.adapt(context.task, context.space, SupportSet())

    def _restored(self, context: TaskContext, record: AdaptationRecord) -> AdaptedPredictor:
        meta_predictor = self.versions.get(record.model_version_id)
        with translated():
            return meta_predictor.restore(context.task, context.space, record.payload)


@dataclass(frozen=True)
class NewAdaptation:
    """The result of an inner loop, ready to be kept."""

    record: AdaptationRecord
    task: str

    def keep(self, session: Session) -> dict[str, Any]:
        """Stores it unless one of a newer support set is there already; what was done, for the job."""
        return {
            "task": self.task,
            "model_version": self.record.model_version_id,
            "num_observations": self.record.num_observations,
            "seconds": round(self.record.seconds, 3),
            "is_kept": records.save_adaptation(session, self.record),
        }


def adapt_task(database: Database, versions: Versions, relations: Relations, task_id: int) -> NewAdaptation:
    """Adapts the champion, or the version that the task is pinned to, to all that was observed of the task, with the opinions
    of tasks that are related to it.

    The inner loop runs outside any transaction: observations may be posted meanwhile, and then another job follows.

    Raises:
        NotFoundError: if there is no such task.
        NotReadyError: if there is no champion yet.
    """
    champion = versions.of_task(task_id)
    with database.read() as session:
        context = records.task_context(session, str(task_id))
        read = records.read_support(session, context)
        related = relations.read(session, champion, context, read.lower_fidelities)
    began = time.perf_counter()
    with translated():
        opinions = relations.opinions(champion, context, related)
        adapted = champion.adapt(context.task, context.space, read.support, opinions)
        payload = adapted.to_bytes()
    record = AdaptationRecord(
        task_id=task_id,
        model_version_id=champion.version,
        support_hash=adapted.support_hash,
        num_observations=sum(read.support.counts),
        task_revision=context.revision,
        last_observation_id=read.last_observation_id,
        payload=payload,
        seconds=time.perf_counter() - began,
    )
    return NewAdaptation(record, context.name)


def warm_up(versions: Versions) -> None:
    """Adapts to a few invented values and forgets the result: the first inner loop loads seconds' worth of PyTorch.

    Raises:
        NotReadyError: if there is no champion yet.
    """
    space = search_space(_WARM_UP_SPACE)
    drawn = sampled(space, _NUM_WARM_UP, seed=0)
    task = Task(space.name, "warm-up", Metric("accuracy", "fraction", "maximize"))
    with translated():
        invented = [Observation(one.architecture, number / 10.0) for number, one in enumerate(drawn)]
        versions.champion().adapt(task, space, SupportSet.of(invented))
