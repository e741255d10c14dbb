"""The work of a differentiable search's job: trains a supernet, then what it has chosen, epoch by epoch.

What an epoch came to, what would be the result now, and the checkpoint to go on from are kept in one transaction that holds the
job, so that whoever takes it over goes on from the last epoch that anybody was told of.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from app import queue
from app.database import Database
from app.inference import ParsedArchitecture
from app.inference.datasets import DatasetCatalogue
from app.inference.supernets import SupernetEpoch, SupernetPlan, SupernetResult, SupernetSearch, retrained_value
from app.jobs.progress import Conclusion, Progress
from app.observations import service as observations
from app.observations.intake import Intake
from app.observations.schemas import ObservationIn
from app.searches import recording, repository, service
from app.searches.driving import conclude
from app.searches.held import HeldSearch
from app.settings import Settings
from app.tables import SearchRecord, TaskRecord

_READING, _BEGINNING = "reading images", "searching"
_SLICE_SECONDS = 300.0  # after which others have their turn: going on costs seconds, for the images have to be read


class SupernetDriver:
    """One for a worker process. Belongs to one thread."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._database = database
        self._datasets = DatasetCatalogue(settings.datasets)

    def run(self, payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        """Trains until the last epoch is done or the time is spent.

        Raises:
            JobSuspendedError: if it is paused, or lets others have their turn.
            JobStoppedError: if it is to stop.
            InvalidContentError: if there is no such data set here, or a training diverges.
            InternalError: if the images are others than those that it began with.
        """
        with self._database.read() as session:
            search, _ = service.find(session, progress.job_id, None)
            plan, tasks = service.plan_of(session, search)
            seconds = service.seconds_of(session, search)
        held = HeldSearch(self._database, progress, search, seconds, is_maximized=True)
        kept = progress.store.checkpoint()
        held.done = 0.0 if kept is None else kept.details["percent"] / 100.0
        held.suspend_while_paused()
        asked = SupernetPlan.read(plan.space, plan.settings, plan.seed)
        progress.report(100.0 * held.done, _READING)
        with held.writing(_READING):
            pass  # its time begins
        descent = _Descent(held, progress, search)
        made = SupernetSearch(asked, self._datasets.source(asked.dataset))
        progress.report(100.0 * held.done, _BEGINNING if kept is None else kept.details["stage"])
        result = made.run(descent.take, None if kept is None else kept.content, held.check)
        ending = _ending(result, descent.ending)
        return lambda session: _conclude(session, _Ended(search.id, tasks[0].id, asked, result, ending))


@dataclass
class _Descent:
    """One search in the hands of this worker."""

    held: HeldSearch
    progress: Progress
    search: SearchRecord
    ending: str | None = None  # why it is to end before its last epoch
    began: float = field(default_factory=time.monotonic)

    def take(self, epoch: SupernetEpoch) -> bool:
        """Keeps what came of an epoch; whether there is time for another one.

        Raises:
            JobSuspendedError: if it is paused, or lets others have their turn.
            JobStoppedError: if the worker does not hold the job any more, or it was cancelled.
        """
        self._commit(epoch)
        self.ending = self.held.budget.ending(self.held.num_evaluated, self.held.seconds)
        if self.ending is not None:
            return False
        self.held.suspend_while_paused()
        if time.monotonic() - self.began > _SLICE_SECONDS:
            self.held.let_others()
        return True

    def _commit(self, epoch: SupernetEpoch) -> None:
        stage = f"{epoch.stage}, epoch {epoch.epoch} of {epoch.num_epochs}"
        self.held.done = epoch.percent / 100.0
        decoded = epoch.decoded

        def prepare(session: Session) -> None:
            if decoded is not None:
                observations.keep_architectures(session, self.search.search_space, [decoded])

        with self.held.writing(stage, prepare) as held:
            said: dict[str, Any] = {"stage": epoch.stage, "num_epochs": epoch.num_epochs, "percent": epoch.percent}
            if decoded is not None:
                origin = f"epoch {epoch.epoch} of {epoch.num_epochs}"
                said |= recording.write_epoch(held.session, held.search, decoded.id, origin, epoch.found.id)
            shown = _said(epoch.found if decoded is None else decoded)
            service.note(held.session, held.search, "epoch", **{**epoch.record, **said, **shown})
            place = {"stage": epoch.stage, "epoch": epoch.epoch, "percent": epoch.percent}
            queue.save_checkpoint(held.session, self.progress.store.job, place, epoch.content)
        self.progress.report(epoch.percent, stage)


def _said(architecture: ParsedArchitecture) -> dict[str, str]:
    return {"architecture_id": architecture.id, "genotype": architecture.genotype}


def _ending(result: SupernetResult, early: str | None) -> str:
    if not result.is_finished and early is not None:
        return early
    if result.went_back_to is not None:
        return (
            f"the loss bends too sharply after {result.num_epochs} epochs: it went back to epoch {result.went_back_to}"
        )
    return f"its {result.num_epochs} epochs are done"


@dataclass(frozen=True)
class _Ended:
    """A search that has come to its end."""

    search_id: int
    task_id: int
    plan: SupernetPlan
    result: SupernetResult
    ending: str


def _conclude(session: Session, ended: _Ended) -> dict[str, Any]:
    """Notes what was found and what it is worth, and observes it where the task is about that; what came out, for the job."""
    accuracy, observed = ended.result.accuracy_percent, None
    if accuracy is not None:
        observed = _observed(session, ended, accuracy)
    facts = {
        "accuracy_percent": accuracy,
        "went_back_to_epoch": ended.result.went_back_to,
        "observation_id": observed,
    }
    return {**conclude(session, ended.search_id, ended.ending), **facts}


def _observed(session: Session, ended: _Ended, accuracy: float) -> int | None:
    """The id of the observation that was made of the accuracy, if one was."""
    search = repository.refreshed(session, ended.search_id)
    task = session.get_one(TaskRecord, ended.task_id)
    found, plan = ended.result.found, ended.plan
    value = (
        retrained_value(accuracy, task.metric, task.unit) if plan.tells(task.dataset, task.metric, task.unit) else None
    )
    reason = None
    if value is None:
        reason = f"{accuracy:.2f} % of the test images of {plan.dataset}, which is not what the task is about"
    origin = f"trained from scratch for {plan.num_retraining_epochs} epochs"
    told = recording.write_retrained(session, search, found.id, origin, value, reason)
    service.note(session, search, "evaluated", **told, **_said(found), accuracy_percent=accuracy)
    if value is None:
        return None
    # A training of the whole recipe is at the final fidelity, as with workers, whatever its number of epochs.
    item = ObservationIn(architecture=found.genotype, value=value, fidelity=task.max_fidelity, seed=plan.seed)
    intake = Intake(task, plan.space, {}, [item], is_batch=False)
    return observations.record(session, intake, intake.read()).observations[0].id
