"""Writes what a step of a search came to, in the transaction of whoever holds its job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app import clock
from app.inference.searching import Proposed
from app.searches import repository
from app.searches.evaluating import Outcome
from app.tables import JobRecord, SearchEvaluationRecord, SearchRecord

_MAX_ORIGIN = 500  # characters
_NO_VALUES: dict[str, Any] = {"values": None, "value": None, "violation": None, "is_improvement": False}


@dataclass
class Entry:
    """A proposal of this step or of an earlier one, with what came of it as far as that is known."""

    number: int
    proposed: Proposed
    outcome: Outcome | None = None
    id: int | None = None  # of its row; None: it has none yet


@dataclass(frozen=True)
class _Rank:
    """What makes one evaluation better than another: the final fidelity, constraints that hold, the first objective."""

    is_final: bool
    holds: float
    goodness: float

    def is_above(self, other: _Rank | None) -> bool:
        return other is None or (self.is_final, self.holds, self.goodness) > (
            other.is_final,
            other.holds,
            other.goodness,
        )


def write(
    session: Session, search: SearchRecord, entries: Sequence[Entry], is_maximized: bool, *, tells_proposals: bool
) -> None:
    """Keeps new entries and new outcomes, in their order: rows, counts, the best so far, and events."""
    told = _Told(search, clock.now(session), _best(session, search, is_maximized), is_maximized)
    new = [one for one in entries if one.id is None]
    if tells_proposals:
        for entry in new:
            told.event("proposed", **_said(entry))
    outcomes = {entry.number: told.outcome(entry, entry.outcome) for entry in entries if entry.outcome is not None}
    rows = [{**_new_row(search, one, told.now), **outcomes.pop(one.number, {})} for one in new]
    for entry, id_ in zip(new, repository.add_evaluations(session, rows), strict=True):
        entry.id = id_
    for entry in entries:
        if entry.number in outcomes:
            repository.end_evaluation(session, entry.id, outcomes[entry.number])
    search.num_proposed += len(new)
    if told.best_entry is not None:
        search.best_id = told.best_entry.id
    session.flush()
    repository.add_events(session, told.events)


@dataclass
class _Told:
    """What is made of outcomes, one after the other."""

    search: SearchRecord
    now: datetime
    best: _Rank | None
    is_maximized: bool
    best_entry: Entry | None = None  # None: the best is the one that it was before
    events: list[dict[str, Any]] = field(default_factory=list)

    def event(self, kind: str, **data: Any) -> None:
        self.events.append({"search_id": self.search.id, "kind": kind, "data": data, "created_at": self.now})

    def outcome(self, entry: Entry, outcome: Outcome) -> dict[str, Any]:
        """The columns of an evaluation that has ended."""
        self.search.num_evaluated += 1
        self.event("evaluated", **_said(entry), num_evaluated=self.search.num_evaluated)
        ended = {
            "state": "done",
            "source": outcome.source,
            "fidelity": outcome.fidelity,
            "ended_at": self.now,
            "ended_number": self.search.num_evaluated,
        }
        if outcome.values is None:
            self.search.num_failed += 1
            return {**ended, **_NO_VALUES, "state": "failed", "reason": outcome.reason}
        rank = _rank(outcome.fidelity, outcome.violation, outcome.values[0], self.is_maximized)
        is_improvement = rank.is_above(self.best)
        if is_improvement:
            self.best, self.best_entry = rank, entry
            self.event("improved", **_said(entry), num_evaluated=self.search.num_evaluated)
        values = {"values": list(outcome.values), "value": outcome.values[0], "violation": outcome.violation}
        return {**ended, **values, "is_improvement": is_improvement, "reason": outcome.reason}


def _new_row(search: SearchRecord, entry: Entry, now: datetime) -> dict[str, Any]:
    """An evaluation whose outcome is not known; all rows have the same columns, so that they are inserted together."""
    return {
        "search_id": search.id,
        "number": entry.number,
        "architecture_id": entry.proposed.architecture.id,
        "origin": entry.proposed.origin[:_MAX_ORIGIN],
        "asked_fidelity": entry.proposed.fidelity,
        "created_at": now,
        "state": "open",
        **dict.fromkeys(("source", "fidelity", "ended_at", "ended_number", "reason")),
        **_NO_VALUES,
    }


def _best(session: Session, search: SearchRecord, is_maximized: bool) -> _Rank | None:
    if search.best_id is None:
        return None
    record = session.get_one(SearchEvaluationRecord, search.best_id)
    return _rank(record.fidelity or 0.0, record.violation or 0.0, record.value or 0.0, is_maximized)


def _rank(fidelity: float, violation: float, value: float, is_maximized: bool) -> _Rank:
    return _Rank(fidelity == 1.0, -violation, value if is_maximized else -value)


def _said(entry: Entry) -> dict[str, Any]:
    """What events say of an evaluation."""
    proposed, outcome = entry.proposed, entry.outcome
    said: dict[str, Any] = {
        "number": entry.number,
        "architecture_id": proposed.architecture.id,
        "genotype": proposed.architecture.genotype,
    }
    if outcome is None:
        return {**said, "origin": proposed.origin[:_MAX_ORIGIN], "fidelity": proposed.fidelity}
    values = None if outcome.values is None else list(outcome.values)
    known = {"values": values, "fidelity": outcome.fidelity, "violation": outcome.violation, "source": outcome.source}
    return {**said, **known, "reason": outcome.reason}


def write_epoch(
    session: Session, search: SearchRecord, architecture_id: str, origin: str, found_id: str
) -> dict[str, Any]:
    """Keeps what an epoch of a supernet has chosen, which has no value, and what would be the result now; what an event says of
    it."""
    is_new = search.best_id is None or _architecture_of(session, search.best_id) != found_id
    ended = {"state": "done", "source": "supernet", "is_improvement": is_new}
    number = _append(session, search, architecture_id, origin, ended)
    search.best_id = repository.last_of_architecture(session, search.id, found_id)
    session.flush()
    return {"number": number, "num_evaluated": search.num_evaluated}


def write_retrained(
    session: Session, search: SearchRecord, architecture_id: str, origin: str, value: float | None, reason: str | None
) -> dict[str, Any]:
    """Keeps what the result is worth, trained from scratch, where that is a value of the objective; what an event says of
    it."""
    values = None if value is None else [value]
    known: dict[str, Any] = (
        {} if value is None else {"values": values, "value": value, "fidelity": 1.0, "violation": 0.0}
    )
    number = _append(
        session, search, architecture_id, origin, {**known, "state": "done", "source": "training", "reason": reason}
    )
    search.best_id = repository.last_of_architecture(session, search.id, architecture_id)
    session.flush()
    told = {"values": values, "fidelity": known.get("fidelity"), "violation": known.get("violation")}
    return {"number": number, **told, "source": "training", "reason": reason, "num_evaluated": search.num_evaluated}


def _append(session: Session, search: SearchRecord, architecture_id: str, origin: str, ended: Mapping[str, Any]) -> int:
    """An evaluation whose outcome is known at once; its number."""
    now = clock.now(session)
    search.num_proposed += 1
    search.num_evaluated += 1
    numbers = {"number": search.num_proposed, "ended_number": search.num_evaluated, "asked_fidelity": 1.0}
    row = {"search_id": search.id, "architecture_id": architecture_id, "origin": origin, "created_at": now}
    repository.add_evaluations(session, [{**row, **_NO_VALUES, **numbers, "ended_at": now, **ended}])
    return search.num_proposed


def _architecture_of(session: Session, evaluation_id: int) -> str:
    return session.get_one(SearchEvaluationRecord, evaluation_id).architecture_id


def note_progress(search: SearchRecord, job: JobRecord, stage: str, done: float = 0.0) -> None:
    """How far it is: of the work, or of the budget that is nearer to its end."""
    shares = [done]
    if search.max_evaluations is not None:
        shares.append(search.num_evaluated / search.max_evaluations)
    if search.max_seconds is not None:
        shares.append(search.seconds_before / search.max_seconds)
    job.percent, job.stage = 100.0 * min(1.0, max(shares)), stage
