"""What happened since the database was made, counted in the transaction in which it happened: the same for all replicas, and
no process has to be asked for it. A scrape reads one row of each, however much there was."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.tables import JobRecord, TallyRecord

LEASE_EXPIRIES = "trial_lease_expiries"
JOB_SECONDS, JOB_BUCKETS = "job_seconds", "job_seconds_bucket"
SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
"""Upper ends of the buckets of durations; longer ones fall into one more, `+Inf`."""


def add(session: Session, name: str, amounts: Mapping[str, float]) -> None:
    """Adds to the tallies of these labels. Their rows are locked until the transaction ends, so it comes late in it."""
    if not amounts:
        return
    dialects: dict[str, Any] = {"sqlite": sqlite, "postgresql": postgresql}
    insert = dialects[session.get_bind().dialect.name].insert(TallyRecord)
    more = {"value": TallyRecord.value + insert.excluded.value}
    statement = insert.on_conflict_do_update(index_elements=[TallyRecord.name, TallyRecord.label], set_=more)
    rows = [{"name": name, "label": label, "value": value} for label, value in sorted(amounts.items())]
    session.execute(statement, rows)


def add_job(session: Session, job: JobRecord) -> None:
    """Counts a job that has ended, with how long its last attempt took."""
    label = f"{job.kind}/{job.state}"
    ended, began = job.finished_at, job.started_at
    seconds = 0.0 if ended is None or began is None else max(0.0, (ended - began).total_seconds())
    add(session, JOB_BUCKETS, {f"{label}/{bucket_of(seconds)}": 1.0})
    add(session, JOB_SECONDS, {label: seconds})


def bucket_of(seconds: float) -> str:
    """The upper end of the bucket that holds it, as it is labelled."""
    index = bisect_left(SECONDS, seconds)
    return str(SECONDS[index]) if index < len(SECONDS) else "+Inf"


def read(session: Session) -> dict[str, dict[str, float]]:
    """Every tally: by name, then by label."""
    found: dict[str, dict[str, float]] = {}
    for record in session.scalars(select(TallyRecord)):
        found.setdefault(record.name, {})[record.label] = record.value
    return found
