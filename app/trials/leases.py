"""Every change of a trial's state and holder. Each function runs inside the caller's transaction, on trials that it has locked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app import queue, tallies
from app.settings import Settings
from app.tables import TaskRecord, TrialRecord
from app.trials import recording, repository, tokens
from app.trials.states import NEXT, TrialState, check_change, state_of


def change(session: Session, trial: TrialRecord, after: TrialState, cause: str, now: datetime) -> None:
    """The one place where a trial's state changes, and where that is recorded."""
    check_change(state_of(trial.state), after)
    repository.add_event(
        session,
        trial_id=trial.id,
        from_state=trial.state,
        to_state=after,
        cause=cause,
        worker_id=trial.worker_id,
        created_at=now,
    )
    trial.state, trial.reason, trial.changed_at = after, cause, now
    if after != "leased":
        trial.lease_expires_at = None
    if not NEXT[after]:
        queue.wake(session, repository.waiting_searches(session, trial.id))


def created(session: Session, trial: TrialRecord, cause: str, now: datetime) -> None:
    """Records that there is a new trial."""
    repository.add_event(
        session,
        trial_id=trial.id,
        from_state=None,
        to_state=trial.state,
        cause=cause,
        worker_id=trial.worker_id,
        created_at=now,
    )


def hand_out(
    session: Session, trial: TrialRecord, worker_id: str, lease_seconds: float, cause: str, now: datetime
) -> str:
    """Gives the trial to a worker; the token of the new lease, which makes those of earlier ones void."""
    trial.worker_id = worker_id
    change(session, trial, "leased", cause, now)
    trial.lease_number += 1
    token = tokens.new_token(trial.lease_number)
    trial.token_hash, trial.outcome_digest = tokens.hashed(token), None
    extend(trial, lease_seconds, now)
    return token


def extend(trial: TrialRecord, lease_seconds: float, now: datetime) -> None:
    """Lets the lease last so long from now."""
    trial.lease_seconds, trial.lease_expires_at = lease_seconds, now + timedelta(seconds=lease_seconds)


def end_run_out(session: Session, task: TaskRecord, settings: Settings, now: datetime) -> Sequence[TrialRecord]:
    """Returns the task's trials whose lease ran out to the pool, or ends those that did so too often; all of them."""
    found = repository.run_out(session, task.id, now)
    for trial in found:
        trial.num_expiries += 1
        cause = f"lease {trial.lease_number} of worker {trial.worker_id!r} ran out"
        if trial.num_expiries < settings.trial_max_expiries:
            change(session, trial, "expired", cause, now)
        else:
            cause = f"{cause}, as {trial.num_expiries} in all have"
            recording.record_without_value(session, task, trial, "failed", cause)
            change(session, trial, "failed", cause, now)
    tallies.add(session, tallies.LEASE_EXPIRIES, {str(task.id): float(len(found))} if found else {})
    return found
