"""Replicas whose clocks differ by minutes, on one PostgreSQL: what one of them decides, the others decide alike.

`fast` is ten minutes before the database, `slow` as many behind it. On SQLite there is but one machine, and one clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, update

from app import clock, queue
from app.access import callers, keyring, keys, rate_limits
from app.access.schemas import KeyIn
from app.database import Database
from app.errors import InvalidTokenError, KeyInFlightError
from app.fine_tunes import schedule
from app.idempotency.service import IdempotencyService
from app.tables import (
    ApiKeyRecord,
    IdempotencyKeyRecord,
    JobRecord,
    ScheduleRecord,
    Table,
    TrialEventRecord,
    TrialRecord,
    UtcDateTime,
)
from app.trials.sweeper import TrialSweeper

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi.testclient import TestClient
    from wrong_clocks import ClockOffBy

    from app.settings import Settings

pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)

FAST, SLOW = 10.0, -10.0  # minutes
BOTH = (FAST, SLOW)
LEASE = 60.0
TRIALS = "/v1/tasks/digits/trials"


def told(database: Database) -> datetime:
    """What time it is, by the database."""
    with database.read() as session:
        return session.scalars(select(func.clock_timestamp())).one().astimezone(UTC)


def later(session: Any, seconds: float) -> Any:
    return clock.now(session) + timedelta(seconds=seconds)


def test_the_clocks_of_these_tests_are_wrong(client: TestClient, database: Database, clock_off_by: ClockOffBy) -> None:
    from app import tables

    for minutes in BOTH:
        with clock_off_by(minutes):
            apart = (tables.utc_now() - told(database)).total_seconds() / 60.0
        assert apart == pytest.approx(minutes, abs=1.0)


def test_nothing_is_stamped_by_a_replicas_own_clock(
    champion: Path,
    client: TestClient,
    database: Database,
    clock_off_by: ClockOffBy,
    post_task: Any,
    cells: list[dict[str, str]],
    observe: Any,
    run_adaptations: Callable[[], int],
    eventually: Callable[..., None],
) -> None:
    began = told(database)
    there = set().union(*stamped(database).values())  # what the migration and the start made, whenever that was
    with clock_off_by(FAST):
        post_task()
        client.post("/v1/webhooks", json={"url": "https://example.com/hook", "events": ["fine_tune.finished"]})
        client.post("/v1/api-keys", json={"name": "ci", "role": "reader"})
        client.post("/v1/projects", json={"name": "vision"})
        observe("digits", cells[:6], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        run_adaptations()
        client.post("/v1/fine-tunes", json={"reason": "wanted"})
    with clock_off_by(SLOW):
        client.post("/v1/tasks/digits/predictions", json={"architectures": [cell["genotype"] for cell in cells[:20]]})
        trial = client.post(f"{TRIALS}:suggest", json={"worker_id": "w", "lease_seconds": LEASE}).json()["trials"][0]
        client.post(
            f"{TRIALS}/{trial['id']}:complete",
            json={"lease_token": trial["lease_token"], "observations": [{"value": 0.5}]},
        )
        client.post("/v1/jobs/2:cancel")
        eventually(lambda: "predictions.created_at" in stamped(database))  # they are logged in the background

    stamps = {name: moments - there for name, moments in stamped(database).items()}
    ended = told(database)

    assert {"observations", "predictions", "jobs", "adaptations", "trial_events", "audit_entries"} <= {
        name.partition(".")[0] for name in stamps
    }
    wrong = {name: moments for name, moments in stamps.items() if not all(began <= one <= ended for one in moments)}
    assert wrong == {}


def stamped(database: Database) -> dict[str, set[datetime]]:
    """For every column with a moment at which something happened, those moments."""
    planned = ("lease_expires_at", "due_at", "expires_at")
    columns = [
        column
        for table in Table.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, UtcDateTime) and column.name not in planned
    ]
    with database.read() as session:
        found = {str(one): set(session.scalars(select(one).where(one.is_not(None)))) for one in columns}
    return {name: moments for name, moments in found.items() if moments}


def test_a_lease_ends_when_the_database_says_so_whoever_looks(
    client: TestClient, database: Database, settings: Settings, clock_off_by: ClockOffBy, post_task: Any, cells: Any
) -> None:
    post_task()
    client.post(TRIALS, json={"architectures": [cells[0]["genotype"]]})
    with clock_off_by(FAST):
        asked = {"worker_id": "w", "lease_seconds": LEASE}
        trial = client.post(f"{TRIALS}:suggest", json=asked).json()["trials"][0]
    with clock_off_by(SLOW):
        beat = client.post(f"{TRIALS}/{trial['id']}:heartbeat", json={"lease_token": trial["lease_token"]})
    left = datetime.fromisoformat(beat.json()["lease_expires_at"]) - told(database)
    assert 0.0 < left.total_seconds() <= LEASE

    sweeper = TrialSweeper(settings, database)
    for minutes in BOTH:
        with clock_off_by(minutes):
            assert sweeper.sweep() == 0
    with database.write() as session:
        session.execute(update(TrialRecord).values(lease_expires_at=later(session, -1.0)))
    swept = []
    for minutes in (SLOW, FAST):
        with clock_off_by(minutes):
            swept.append(sweeper.sweep())

    assert swept == [1, 0]
    with database.read() as session:
        moments = session.scalars(select(TrialEventRecord.created_at).order_by(TrialEventRecord.id)).all()
    assert list(moments) == sorted(moments)


def test_a_key_in_flight_is_taken_over_when_its_lease_is_over_and_not_before(
    client: TestClient, database: Database, settings: Settings, clock_off_by: ClockOffBy
) -> None:
    from starlette.responses import Response

    service = IdempotencyService(settings, database)
    with database.write() as session:
        lease = {"lease_expires_at": later(session, LEASE), "created_at": clock.now(session)}
        session.add(IdempotencyKeyRecord(caller="me", key="k", fingerprint="f", attempt="of another", **lease))

    for minutes in BOTH:
        with clock_off_by(minutes), pytest.raises(KeyInFlightError):
            service.answer("me", "k", "f", lambda: Response(b"early"))
    with database.write() as session:
        session.execute(update(IdempotencyKeyRecord).values(lease_expires_at=later(session, -1.0)))
    with clock_off_by(SLOW):
        taken_over = service.answer("me", "k", "f", lambda: Response(b"late"))

    assert bytes(taken_over.body) == b"late"
    with clock_off_by(FAST):
        assert service.sweep() == 0


def test_a_job_is_its_workers_until_the_lease_is_over(
    client: TestClient, database: Database, clock_off_by: ClockOffBy
) -> None:
    def claimed(owner: str) -> queue.ClaimedJob | None:
        with database.write() as session:
            return queue.claim(session, owner, [queue.ADAPT], LEASE)

    with clock_off_by(SLOW), database.write() as session:
        queue.enqueue_adaptation(session, 7)
    with clock_off_by(FAST):
        job = claimed("fast")
    assert job is not None

    with clock_off_by(SLOW):
        assert claimed("slow") is None
    with clock_off_by(FAST):
        assert claimed("another") is None
    with clock_off_by(SLOW), database.write() as session:
        assert queue.fail(session, job, "out of luck")  # due again after a pause
    for minutes in BOTH:
        with clock_off_by(minutes):
            assert claimed("early") is None
    with database.write() as session:
        session.execute(update(JobRecord).values(lease_expires_at=later(session, -1.0)))
    with clock_off_by(SLOW):
        again = claimed("slow")
    assert again is not None
    with clock_off_by(FAST), database.write() as session:
        assert queue.finish(session, again, {})

    with database.read() as session:
        record = session.get_one(JobRecord, job.id)
        assert record.created_at <= record.started_at <= record.finished_at <= clock.now(session)  # type: ignore[operator]


def test_a_rate_holds_whichever_replica_is_asked(
    client: TestClient, database: Database, clock_off_by: ClockOffBy
) -> None:
    limit, given = rate_limits.Limit(per_minute=60), 0.0
    began = told(database)
    for minutes in BOTH * 10:
        with clock_off_by(minutes), database.write() as session:
            given += rate_limits.take(session, "key:1", limit, 5.0).tokens
    seconds = (told(database) - began).total_seconds()

    assert limit.capacity <= given <= limit.capacity + seconds * limit.per_second


def test_a_key_is_valid_for_as_long_as_the_database_says(
    client: TestClient, database: Database, settings: Settings, clock_off_by: ClockOffBy
) -> None:
    with database.write() as session:
        ends_at = later(session, 300.0)
        made = keys.create(session, settings, callers.SYSTEM, KeyIn(name="ci", role="reader", expires_at=ends_at))

    def caller() -> callers.Caller:
        ring = keyring.KeyRing(settings, database)
        ring.refresh()
        try:
            return asyncio.run(ring.caller(made.key))
        finally:
            ring.stop()

    with clock_off_by(FAST):
        assert caller().name == "ci"
    with database.write() as session:
        session.execute(update(ApiKeyRecord).values(expires_at=later(session, -300.0)))
    with clock_off_by(SLOW), pytest.raises(InvalidTokenError, match="expired"):
        caller()


def test_a_schedule_is_the_databases(
    client: TestClient,
    database: Database,
    settings: Settings,
    clock_off_by: ClockOffBy,
    post_task: Any,
    cells: Any,
    observe: Any,
) -> None:
    post_task()
    observe("digits", cells[:3], [0.1, 0.2, 0.3])
    soon = told(database) + timedelta(minutes=5)
    wanted = settings.model_copy(
        update={"fine_tune_after": 0, "fine_tune_cron": f"{soon:%M %H} * * *", "fine_tune_on_drift": False}
    )

    def started(minutes: float) -> int | None:
        with clock_off_by(minutes), database.write() as session:
            return schedule.start_if_due(session, wanted)

    assert [started(minutes) for minutes in (*BOTH, FAST)] == [
        None
    ] * 3  # one begins to watch, the others see nothing due
    due = soon - timedelta(minutes=7)
    wanted = wanted.model_copy(update={"fine_tune_cron": f"{due:%M %H} * * *"})
    with database.write() as session:
        record = session.get_one(ScheduleRecord, "fine_tune")
        record.expression, record.acted_at = wanted.fine_tune_cron, due - timedelta(days=1)

    first, second = started(SLOW), started(FAST)

    assert first is not None
    assert second is None
