"""What workers report of their trials, what others ask to be measured, and what is shown. Runs in the caller's transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row
from sqlalchemy.orm import Session

from app import clock
from app.errors import AppError, ConflictError, ErrorItem, NotFoundError
from app.inference import (
    ParsedArchitecture,
    notations,
    parse_many,
    referenced_ids,
    referred_architectures,
    search_space,
)
from app.lists import Asked, Listing
from app.observations import service as observations
from app.pagination import Page
from app.search_spaces import service as search_spaces
from app.settings import Settings
from app.tables import TaskRecord, TrialRecord
from app.tasks import service as tasks
from app.trials import leases, recording, repository, tokens
from app.trials.repository import Filter
from app.trials.schemas import (
    AbandonIn,
    CompleteIn,
    FailIn,
    HeartbeatIn,
    ReasonIn,
    RequestedOut,
    RequestedTrial,
    RequestIn,
    TokenBody,
    TrialEvent,
    TrialForecast,
    TrialOut,
    TrialWithHistory,
)
from app.trials.states import HELD, TrialState, state_of
from app.validation import invalid_content

LISTING = Listing(
    "trials", TrialOut, TrialRecord.id, {"id": TrialRecord.id, "changed_at": TrialRecord.changed_at}, default="id"
)
_SHOWN = tuple(name for name in TrialOut.model_fields if name not in ("task", "genotype", "forecast"))


@dataclass(frozen=True)
class TakenRequest:
    """Requested architectures with what has to be known to read them. `read` opens no transaction."""

    task_name: str
    space: notations.SearchSpace
    stored: Mapping[str, Any]
    written: Sequence[object]

    def read(self) -> list[ParsedArchitecture]:
        """The architectures in the order of the request; raises InvalidContentError, which lists every bad one."""
        outcomes = parse_many(self.space, self.written, self.stored)
        errors: list[ErrorItem] = [
            {"location": ["body", "architectures", index], "message": outcome.detail}
            for index, outcome in enumerate(outcomes)
            if isinstance(outcome, AppError)
        ]
        if errors:
            raise invalid_content(errors)
        return [outcome for outcome in outcomes if isinstance(outcome, ParsedArchitecture)]


def take_request(session: Session, task_name: str, body: RequestIn) -> TakenRequest:
    """The body with the task's search space and the stored architectures that it refers to; raises NotFoundError."""
    task = tasks.find(session, task_name)
    record = search_spaces.find(session, task.search_space)
    space = search_space(record.name, record.definition)
    stored = referred_architectures(session, space, referenced_ids(body.architectures), task.project_id)
    return TakenRequest(task.name, space, stored, body.architectures)


def request(
    session: Session, task_name: str, wanted: Sequence[ParsedArchitecture], fidelity: float | None = None
) -> RequestedOut:
    """Lets the architectures wait for a worker, to be measured at that fidelity (None: the final one); what waits or is out
    already is answered as it is."""
    task = tasks.find(session, task_name)
    repository.lock_task(session, task.id)
    observations.keep_architectures(session, task.search_space, wanted)
    now = clock.now(session)
    is_open = repository.open_architectures(session, task.id)
    # Never what is open: the insert would wait for its worker's report, and that for the task's lock.
    missing = [one for one in {one.id: one for one in wanted} if one not in is_open]
    rows = [{**new_row(task, one, "requested", now), "fidelity": fidelity} for one in missing]
    new = repository.add_new(session, rows)
    for trial in new:
        leases.created(session, trial, "requested", now)
    new_ids = {trial.id for trial in new}
    is_open |= {trial.architecture_id: trial for trial in new}
    shown = [_requested(is_open[one.id], new_ids) for one in wanted]
    return RequestedOut(task=task.name, trials=shown)


def new_row(task: TaskRecord, architecture_id: str, cause: str, now: datetime) -> dict[str, Any]:
    """A trial that nobody has yet."""
    return {
        "task_id": task.id, "architecture_id": architecture_id, "state": "requested", "reason": cause,
        "lease_number": 0, "num_expiries": 0, "num_failures": 0, "observation_ids": [],
        "created_at": now, "changed_at": now,
    }  # fmt: skip


def _requested(trial: TrialRecord, new_ids: set[int]) -> RequestedTrial:
    return RequestedTrial(
        trial_id=trial.id,
        architecture_id=trial.architecture_id,
        state=state_of(trial.state),
        is_new=trial.id in new_ids,
    )


def heartbeat(session: Session, task_name: str, trial_id: int, body: HeartbeatIn) -> TrialOut:
    """Extends the lease and records intermediate results.

    Raises:
        NotFoundError: if there is no such task or trial.
        ForbiddenError: if the token is missing or wrong.
        ConflictError: if the trial was handed out again (LeaseLostError) or has ended.
        InvalidContentError: if an observation is not an intermediate one.
    """
    task, trial = _held(session, task_name, trial_id, body)
    _check_open(trial)
    now = clock.now(session)
    if trial.state == "expired":
        leases.change(session, trial, "leased", "its worker came back before anybody else took it", now)
    leases.extend(trial, body.lease_seconds or trial.lease_seconds or 0.0, now)
    recording.record_intermediate(session, task, trial, body.observations)
    return _shown_now(session, trial)


def complete(session: Session, task_name: str, trial_id: int, body: CompleteIn) -> TrialOut:
    """Records what was measured and ends the trial; raises as `heartbeat` does. Again with the same body is harmless."""
    task, trial = _held(session, task_name, trial_id, body)
    if _is_repeated(trial, "complete", body):
        return _shown_now(session, trial)
    recording.record_values(session, task, trial, body.observations)
    if not trial.observation_ids:
        message = "expected at least one observation of this trial, now or with a heartbeat before, got none"
        raise invalid_content([{"location": ["body", "observations"], "message": message}])
    _end(session, trial, "completed", "completed")
    return _shown_now(session, trial)


def fail(session: Session, settings: Settings, task_name: str, trial_id: int, body: FailIn) -> TrialOut:
    """Lets others try while attempts are left, or ends the trial; raises as `heartbeat` does."""
    task, trial = _held(session, task_name, trial_id, body)
    if _is_repeated(trial, "fail", body):
        return _shown_now(session, trial)
    trial.num_failures += 1
    if body.is_retryable and trial.num_failures < settings.trial_max_failures:
        tries = f"try {trial.num_failures} of {settings.trial_max_failures}"
        _end(session, trial, "requested", f"failed in {tries}: {body.reason}")
    else:
        recording.record_without_value(session, task, trial, "failed", body.reason)
        _end(session, trial, "failed", f"failed: {body.reason}")
    return _shown_now(session, trial)


def end_infeasible(session: Session, task_name: str, trial_id: int, body: ReasonIn) -> TrialOut:
    """Records that the architecture cannot be built, and ends the trial; raises as `heartbeat` does."""
    task, trial = _held(session, task_name, trial_id, body)
    if not _is_repeated(trial, "infeasible", body):
        recording.record_without_value(session, task, trial, "infeasible", body.reason)
        _end(session, trial, "infeasible", f"infeasible: {body.reason}")
    return _shown_now(session, trial)


def abandon(session: Session, task_name: str, trial_id: int, body: AbandonIn) -> TrialOut:
    """Gives the trial back to the pool; raises as `heartbeat` does."""
    _, trial = _held(session, task_name, trial_id, body)
    if not _is_repeated(trial, "abandon", body):
        _end(session, trial, "abandoned", f"given back: {body.reason}" if body.reason else "given back")
    return _shown_now(session, trial)


def _held(session: Session, task_name: str, trial_id: int, body: TokenBody) -> tuple[TaskRecord, TrialRecord]:
    """The task and its trial, which is locked, if the caller had its last lease."""
    task = tasks.find(session, task_name)
    trial = find(session, task, trial_id, for_update=True)
    tokens.check(trial, body.lease_token)
    return task, trial


def _is_repeated(trial: TrialRecord, action: str, body: TokenBody) -> bool:
    """Whether just this ended the lease before; remembers it if not."""
    digest = _digest(action, body)
    if trial.outcome_digest == digest:
        return True
    _check_open(trial)
    trial.outcome_digest = digest
    return False


def _digest(action: str, body: TokenBody) -> str:
    content = [action, body.model_dump(exclude={"lease_token"})]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _check_open(trial: TrialRecord) -> None:
    if trial.outcome_digest is not None or trial.state not in HELD:
        raise ConflictError(
            f"expected a trial that is still out, got {trial.id}, which is {trial.state} ({trial.reason})",
            state=trial.state,
        )


def _end(session: Session, trial: TrialRecord, after: TrialState, cause: str) -> None:
    leases.change(session, trial, after, cause, clock.now(session))


def find(session: Session, task: TaskRecord, trial_id: int, *, for_update: bool = False) -> TrialRecord:
    """The task's trial of that id; raises NotFoundError."""
    trial = repository.find(session, task.id, trial_id, for_update=for_update)
    if trial is None:
        raise NotFoundError(f"expected the id of a trial of task {task.name!r}, got {trial_id}")
    return trial


def shown(row: Row[Any]) -> TrialOut:
    """A trial as users see it."""
    return TrialOut(**members(row))


def members(row: Row[Any]) -> dict[str, Any]:
    """What is shown of a trial."""
    trial: TrialRecord = row[0]
    forecast = None
    if trial.forecast_mean is not None and trial.forecast_std is not None:
        forecast = TrialForecast(
            mean=trial.forecast_mean, std=trial.forecast_std, model_version=trial.model_version_id or ""
        )
    kept = {name: getattr(trial, name) for name in _SHOWN}
    return {**kept, "task": row.task, "genotype": row.genotype, "forecast": forecast}


def _shown_now(session: Session, trial: TrialRecord) -> TrialOut:
    session.flush()
    return shown(repository.shown_by_ids(session, [trial.id])[trial.id])


def history(session: Session, task_name: str, trial_id: int) -> TrialWithHistory:
    """One trial with all that happened to it."""
    trial = find(session, tasks.find(session, task_name), trial_id)
    row = repository.shown_by_ids(session, [trial.id])[trial.id]
    events = [TrialEvent.model_validate(event) for event in repository.events(session, trial.id)]
    return TrialWithHistory(**members(row), history=events)


def page(session: Session, task_name: str, asked: Asked, wanted: Filter) -> Page[TrialOut]:
    """One page of a task's trials, the oldest first unless asked otherwise."""
    task = tasks.find(session, task_name)
    is_by_change = wanted.changed_since is not None or wanted.changed_before is not None
    filters = {"task": task.id, **asdict(wanted)}
    suitable = "changed_at" if is_by_change else None
    rows, next_cursor = LISTING.page(session, repository.listed(task.id, wanted), asked, filters, default=suitable)
    return Page(items=[shown(row) for row in rows], next_cursor=next_cursor)
