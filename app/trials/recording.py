"""What workers report becomes observations, in the transaction that changes the trial.

Each has a client key of its trial, lease, fidelity and seed: reported again, it is recorded once, and another value is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy.orm import Session

from app import queue
from app.errors import ConflictError, ErrorItem, InternalError
from app.observations import intake
from app.observations import service as observations
from app.observations.schemas import ObservationBatch, ObservationIn
from app.tables import TaskRecord, TrialRecord
from app.trials import repository
from app.trials.schemas import MeasuredIn
from app.validation import invalid_content


def record_values(session: Session, task: TaskRecord, trial: TrialRecord, measured: Sequence[MeasuredIn]) -> None:
    """Records final and intermediate values.

    Raises:
        InvalidContentError: if they do not say which are final, or a fidelity lies beyond the task's final one.
        ConflictError: if another value was reported before for the same fidelity and seed.
    """
    if task.max_fidelity is None and len({one.fidelity is None for one in measured}) > 1:
        message = "expected a fidelity in all observations or in none, since the task has no max_fidelity, got both"
        raise invalid_content([{"location": ["body", "observations"], "message": message}])
    _record(session, task, trial, [_observation(task, trial, one) for one in measured])


def record_intermediate(session: Session, task: TaskRecord, trial: TrialRecord, measured: Sequence[MeasuredIn]) -> None:
    """Records values below the final fidelity; raises as `record_values` does, and InvalidContentError for final ones."""
    errors = [error for index, one in enumerate(measured) if (error := _not_intermediate(task, index, one))]
    if errors:
        raise invalid_content(errors)
    _record(session, task, trial, [_observation(task, trial, one) for one in measured], queue.IN_THE_BACKGROUND)


def record_without_value(
    session: Session, task: TaskRecord, trial: TrialRecord, status: Literal["failed", "infeasible"], reason: str
) -> None:
    """Records that there is no value, so that the architecture is not suggested again."""
    key = f"trial:{trial.id}:{trial.lease_number}:{status}"
    _record(session, task, trial, [{"status": status, "reason": reason, "client_key": key}])


def _not_intermediate(task: TaskRecord, index: int, one: MeasuredIn) -> ErrorItem | None:
    if task.max_fidelity is None:
        message = "expected no intermediate result, since the task has no max_fidelity to tell it from a final one"
    elif one.fidelity is None or one.fidelity >= task.max_fidelity:
        message = f"expected a fidelity below {task.max_fidelity}, which is final in this task, got {one.fidelity}"
    else:
        return None
    return {"location": ["body", "observations", index, "fidelity"], "message": message}


def _observation(task: TaskRecord, trial: TrialRecord, one: MeasuredIn) -> dict[str, Any]:
    is_final = one.fidelity is None or one.fidelity == task.max_fidelity
    key = f"trial:{trial.id}:{trial.lease_number}:{'final' if is_final else one.fidelity}:{one.seed}"
    return {**one.model_dump(), "client_key": key}


def _record(
    session: Session, task: TaskRecord, trial: TrialRecord, rows: Sequence[dict[str, Any]], priority: int = 0
) -> None:
    if not rows:
        return
    genotype = _genotype(session, task, trial)  # reading a text is remembered, reading a stored graph is not
    batch = ObservationBatch(observations=[ObservationIn(architecture=genotype, **row) for row in rows])
    taken = intake.take(session, task.name, batch, len(rows))
    try:
        posted = observations.record(session, taken, taken.read(), priority)
    except ConflictError as conflict:
        errors = conflict.extensions.get("errors", [])
        message = "expected the value that was reported before for this fidelity and seed of the trial, got another"
        raise ConflictError(message, errors=[{**error, "message": message} for error in errors]) from conflict
    ids = dict.fromkeys([*trial.observation_ids, *(one.id for one in posted.observations)])
    trial.observation_ids = list(ids)


def _genotype(session: Session, task: TaskRecord, trial: TrialRecord) -> str:
    found = repository.genotype(session, trial.architecture_id, task.search_space)
    if found is None:
        raise InternalError(f"expected a notation of trial {trial.id}'s architecture, got none")
    return found
