"""What has to hold after `fault_test.py`, read from the database itself."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from fault_clients import Ledger
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.tables import (
    AliasRecord,
    JobRecord,
    ObservationRecord,
    PromotionRecord,
    TaskRecord,
    TrialEventRecord,
    TrialRecord,
)
from app.trials.states import NEXT, OPEN, state_of

_SLACK = timedelta(seconds=5)


@dataclass(frozen=True)
class Check:
    """One rule, how many things it was held against, and what broke it."""

    rule: str
    num_checked: int
    broken: list[str]


Rule = Callable[[Session, int, Ledger], tuple[int, Iterator[str]]]


def checked(session: Session, task_id: int, ledger: Ledger) -> list[Check]:
    """Every rule."""
    found = []
    for name, rule in RULES.items():
        num_checked, broken = rule(session, task_id, ledger)
        found.append(Check(name, num_checked, list(broken)))
    return found


def _counts(session: Session, task_id: int) -> Counter[float]:
    query = select(ObservationRecord.value, func.count()).where(
        ObservationRecord.task_id == task_id, ObservationRecord.value.is_not(None)
    )
    return Counter({row[0]: row[1] for row in session.execute(query.group_by(ObservationRecord.value))})


def _acknowledged_once(session: Session, task_id: int, ledger: Ledger) -> tuple[int, Iterator[str]]:
    counts = _counts(session, task_id)
    broken = (f"{value} is there {counts[value]} times" for value in ledger.acknowledged if counts[value] != 1)
    return len(ledger.acknowledged), broken


def _nothing_twice_or_unsent(session: Session, task_id: int, ledger: Ledger) -> tuple[int, Iterator[str]]:
    counts = _counts(session, task_id)
    broken = (
        f"{value} ({ledger.sent.get(value, 'never sent')}) is there {count} times"
        for value, count in counts.items()
        if count > 1 or value not in ledger.sent
    )
    return len(counts), broken


def _corrections(session: Session, task_id: int, ledger: Ledger) -> tuple[int, Iterator[str]]:
    own = ObservationRecord
    rows = session.execute(
        select(own.id, own.value, own.superseded_by_id, own.supersedes_id).where(own.task_id == task_id)
    )
    by_id = {row.id: row for row in rows}
    by_value = {row.value: row for row in by_id.values() if row.value is not None}

    def broken() -> Iterator[str]:
        for old, new in ledger.replaced.items():
            if by_value[old].superseded_by_id != by_value[new].id or by_value[new].supersedes_id != by_value[old].id:
                yield f"{old} should be superseded by {new}"
        for row in by_id.values():
            if row.superseded_by_id is not None and by_id[row.superseded_by_id].supersedes_id != row.id:
                yield f"observation {row.id} is superseded by one that does not know of it"
            if row.superseded_by_id is not None and row.value not in ledger.maybe_replaced:
                yield f"observation {row.id} is superseded though nobody corrected it"

    return len(by_id), broken()


def _counters(session: Session, task_id: int, ledger: Ledger) -> tuple[int, Iterator[str]]:
    task = session.get_one(TaskRecord, task_id)
    own = ObservationRecord
    current = select(func.count()).where(
        own.task_id == task_id, own.superseded_by_id.is_(None), own.status != "retracted"
    )
    count = session.execute(current).scalar_one()
    wrong = [f"{task.num_observations} are told, {count} are there"] if task.num_observations != count else []
    return 1, iter(wrong)


def _histories(session: Session, task_id: int) -> Mapping[int, list[TrialEventRecord]]:
    histories: dict[int, list[TrialEventRecord]] = defaultdict(list)
    query = select(TrialEventRecord).join(TrialRecord, TrialRecord.id == TrialEventRecord.trial_id)
    for event in session.scalars(query.where(TrialRecord.task_id == task_id).order_by(TrialEventRecord.id)):
        histories[event.trial_id].append(event)
    return histories


def _consistent_history(session: Session, task_id: int, ledger: Ledger) -> tuple[int, Iterator[str]]:
    histories = _histories(session, task_id)
    trials = session.scalars(select(TrialRecord).where(TrialRecord.task_id == task_id)).all()

    def broken() -> Iterator[str]:
        for trial in trials:
            state = None
            for event in histories[trial.id]:
                if event.from_state != state:
                    yield f"trial {trial.id} went from {event.from_state} where it was {state}"
                elif state is not None and event.to_state not in NEXT[state_of(state)]:
                    yield f"trial {trial.id} went from {state} to {event.to_state}"
                state = event.to_state
            if state != trial.state:
                yield f"trial {trial.id} is {trial.state}, its history ends with {state}"

    return len(trials), broken()


def _told_in_order(session: Session, task_id: int, ledger: Ledger) -> tuple[int, Iterator[str]]:
    """Whatever the clocks of those who wrote it: moments that were read before waiting for a lock may be a little early."""
    histories = _histories(session, task_id)
    broken = (
        f"trial {trial_id} became {after.to_state} at {after.created_at}, after it became {before.to_state} at {before.created_at}"
        for trial_id, events in histories.items()
        for before, after in itertools.pairwise(events)
        if after.created_at < before.created_at - _SLACK
    )
    return sum(map(len, histories.values())), broken


def _completed_once(session: Session, task_id: int, ledger: Ledger) -> tuple[int, Iterator[str]]:
    own = ObservationRecord
    trials = session.scalars(
        select(TrialRecord).where(TrialRecord.task_id == task_id, TrialRecord.state == "completed")
    )
    by_id = {trial.id: trial for trial in trials}
    values = {row.id: row.value for row in session.execute(select(own.id, own.value).where(own.task_id == task_id))}

    def broken() -> Iterator[str]:
        for trial_id, acknowledged in ledger.completed.items():
            if trial_id not in by_id:
                yield f"trial {trial_id} was acknowledged as completed, and is not"
            elif [values.get(one) for one in by_id[trial_id].observation_ids] != acknowledged:
                yield f"trial {trial_id} was acknowledged with {acknowledged}, and has others"
        owners = Counter(one for trial in by_id.values() for one in trial.observation_ids)
        yield from (f"observation {one} belongs to {count} trials" for one, count in owners.items() if count > 1)

    return len(by_id), broken()


def _none_lost(session: Session, task_id: int, ledger: Ledger) -> tuple[int, Iterator[str]]:
    """After all leases have run out every trial that has not ended waits for a worker, and no architecture is out twice."""
    trials = session.scalars(select(TrialRecord).where(TrialRecord.task_id == task_id)).all()
    known = {trial.id for trial in trials}
    open_ones = Counter(trial.architecture_id for trial in trials if trial.state in OPEN)

    def broken() -> Iterator[str]:
        yield from (f"trial {one} was handed out, and is not there" for one, _ in ledger.given if one not in known)
        yield from (f"trial {trial.id} is leased for ever" for trial in trials if trial.state == "leased")
        yield from (f"architecture {one} is out {count} times" for one, count in open_ones.items() if count > 1)

    return len(trials), broken()


def _one_champion(session: Session, task_id: int, ledger: Ledger) -> tuple[int, Iterator[str]]:
    champions = session.scalars(select(AliasRecord.model_version_id).where(AliasRecord.name == "champion")).all()
    query = select(PromotionRecord).where(PromotionRecord.promoted).order_by(PromotionRecord.id)
    promotions = session.scalars(query).all()

    def broken() -> Iterator[str]:
        if len(champions) != 1:
            yield f"{len(champions)} champions"
        if promotions and list(champions) != [promotions[-1].model_version_id]:
            yield f"the champion is {champions}, the last promotion {promotions[-1].model_version_id}"
        for before, after in itertools.pairwise(promotions):
            if after.previous_id != before.model_version_id:
                yield f"promotion {after.id} follows {after.previous_id}, the one before was {before.model_version_id}"

    return max(len(promotions), 1), broken()


def _jobs_end(session: Session, task_id: int, ledger: Ledger) -> tuple[int, Iterator[str]]:
    jobs = session.scalars(select(JobRecord)).all()
    ended = ("done", "failed", "cancelled")
    broken = (f"{job.kind} {job.id} is {job.state} ({job.error})" for job in jobs if job.state not in ended)
    failed = (f"{job.kind} {job.id} failed: {job.error}" for job in jobs if job.state == "failed")
    return len(jobs), iter([*broken, *failed])


RULES: Mapping[str, Rule] = {
    "what was acknowledged is there exactly once": _acknowledged_once,
    "nothing is there twice, or that nobody sent": _nothing_twice_or_unsent,
    "corrections lead to each other": _corrections,
    "the task counts its observations rightly": _counters,
    "every trial's history is a chain of legal changes that ends in its state": _consistent_history,
    "what happened to a trial is stamped in the order in which it happened": _told_in_order,
    "acknowledged trials are completed, once, with what was reported": _completed_once,
    "no trial is lost or out twice": _none_lost,
    "one champion, and promotions that follow each other": _one_champion,
    "every job ended, none failed": _jobs_end,
}
