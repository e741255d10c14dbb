"""The queue of durable work."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app import queue
from app.database import Database
from app.settings import Settings
from app.tables import JobRecord, utc_now

pytestmark = pytest.mark.both_engines

LEASE = 30.0


@pytest.fixture
def opened(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url)
    yield database
    database.close()


def enqueued(database: Database, kind: str = queue.ADAPT, **payload: Any) -> int:
    with database.write() as session:
        job_id = queue.enqueue(session, kind, payload)
    assert job_id is not None
    return job_id


def claimed(database: Database, owner: str = "me", kinds: tuple[str, ...] = queue.KINDS) -> queue.ClaimedJob | None:
    with database.write() as session:
        return queue.claim(session, owner, kinds, LEASE)


def record(database: Database, job_id: int) -> JobRecord:
    with database.read() as session:
        return session.get_one(JobRecord, job_id)


def let_lease_run_out(database: Database) -> None:
    with database.write() as session:
        session.execute(update(JobRecord).values(lease_expires_at=utc_now() - timedelta(seconds=1)))


def test_many_posts_make_one_adaptation(opened: Database) -> None:
    with opened.write() as session:
        ids = [queue.enqueue_adaptation(session, 7) for _ in range(5)]

    with opened.read() as session:
        jobs = session.scalars(select(JobRecord)).all()
    assert [job.payload for job in jobs] == [{"task_id": 7}]
    assert ids == [jobs[0].id, None, None, None, None]


def test_a_post_after_the_claim_makes_another_adaptation(opened: Database) -> None:
    with opened.write() as session:
        first = queue.enqueue_adaptation(session, 7)
    claimed(opened)

    with opened.write() as session:
        second = queue.enqueue_adaptation(session, 7)

    assert second is not None
    assert second != first


def test_the_oldest_job_of_the_wanted_kinds_comes_first(opened: Database) -> None:
    enqueued(opened, queue.FINE_TUNE)
    first, second = enqueued(opened), enqueued(opened)

    taken = [claimed(opened, kinds=(queue.ADAPT,)) for _ in range(3)]

    assert [job and job.id for job in taken] == [first, second, None]


def test_what_somebody_waits_for_goes_before_what_runs_in_the_background(opened: Database) -> None:
    with opened.write() as session:
        queue.enqueue_adaptation(session, 1, queue.IN_THE_BACKGROUND)
        queue.enqueue_adaptation(session, 2, queue.IN_THE_BACKGROUND)
        queue.enqueue_adaptation(session, 3)
        queue.enqueue_adaptation(session, 2)  # waits in the background already: now somebody waits for it

    order = [job.payload["task_id"] for _ in range(3) if (job := claimed(opened)) is not None]

    assert order == [2, 3, 1]


def test_each_job_is_claimed_by_one_worker_only(opened: Database) -> None:
    for _ in range(20):
        enqueued(opened)

    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda number: claimed(opened, f"worker {number}"), range(30)))

    ids = [job.id for job in taken if job is not None]
    assert len(ids) == len(set(ids)) == 20


def test_a_dead_workers_job_is_taken_over(opened: Database) -> None:
    job_id = enqueued(opened)
    claimed(opened, "dead")
    let_lease_run_out(opened)

    job = claimed(opened, "alive")

    assert job is not None
    assert (job.id, job.attempt) == (job_id, 2)


def test_a_worker_that_lost_its_job_can_end_it_no_more(opened: Database) -> None:
    job_id = enqueued(opened)
    claimed(opened, "slow")
    let_lease_run_out(opened)
    claimed(opened, "other")

    with opened.write() as session:
        beat = queue.progress(session, job_id, "slow", LEASE, 50.0)
        assert not queue.finish(session, job_id, "slow", {})
        assert not queue.fail(session, job_id, "slow", "broken")

    assert not beat.is_held
    assert record(opened, job_id).lease_owner == "other"


def test_a_job_whose_workers_die_again_and_again_fails(opened: Database) -> None:
    job_id = enqueued(opened)
    for number in range(queue.MAX_ATTEMPTS):
        assert claimed(opened, f"worker {number}") is not None
        let_lease_run_out(opened)

    assert claimed(opened) is None
    job = record(opened, job_id)
    assert (job.state, job.error) == ("failed", "the worker stopped answering in 3 attempts")


def test_a_failed_job_waits_before_its_next_attempt(opened: Database) -> None:
    job_id = enqueued(opened)
    claimed(opened)

    with opened.write() as session:
        queue.fail(session, job_id, "me", "broken")

    assert record(opened, job_id).state == "queued"
    assert claimed(opened) is None
    let_lease_run_out(opened)
    job = claimed(opened)
    assert job is not None
    assert job.attempt == 2


def test_the_last_attempts_failure_is_final(opened: Database) -> None:
    job_id = enqueued(opened)
    for _ in range(queue.MAX_ATTEMPTS):
        assert claimed(opened) is not None
        with opened.write() as session:
            queue.fail(session, job_id, "me", "broken")
        let_lease_run_out(opened)

    job = record(opened, job_id)
    assert (job.state, job.error, job.attempts) == ("failed", "broken", 3)
    assert "attempt 2: broken" in job.log_tail


def test_what_will_not_go_away_is_not_tried_again(opened: Database) -> None:
    job_id = enqueued(opened)
    claimed(opened)

    with opened.write() as session:
        queue.fail(session, job_id, "me", "no such task", is_retryable=False)

    assert record(opened, job_id).state == "failed"


def test_progress_is_shown_and_extends_the_lease(opened: Database) -> None:
    job_id = enqueued(opened)
    claimed(opened)
    let_lease_run_out(opened)

    with opened.write() as session:
        beat = queue.progress(session, job_id, "me", LEASE, 40.0, "training", "step 4")

    job = record(opened, job_id)
    assert beat == queue.Heartbeat(is_held=True, is_cancelled=False)
    assert (job.percent, job.stage) == (40.0, "training")
    assert job.log_tail.endswith("step 4\n")
    assert claimed(opened, "other") is None


def test_a_queued_job_is_cancelled_at_once(opened: Database) -> None:
    with opened.write() as session:
        job_id = queue.enqueue_adaptation(session, 7)
        assert job_id is not None
        assert queue.cancel(session, job_id) == "cancelled"

    assert claimed(opened) is None
    with opened.write() as session:
        assert queue.enqueue_adaptation(session, 7) is not None


def test_the_worker_of_a_running_job_is_told_to_stop(opened: Database) -> None:
    job_id = enqueued(opened)
    claimed(opened)

    with opened.write() as session:
        assert queue.cancel(session, job_id) == "running"
        beat = queue.progress(session, job_id, "me", LEASE)
        queue.end_cancelled(session, job_id, "me")

    assert beat.is_cancelled
    assert record(opened, job_id).state == "cancelled"


def test_a_job_that_is_given_back_has_lost_no_attempt(opened: Database) -> None:
    job_id = enqueued(opened)
    claimed(opened)

    with opened.write() as session:
        queue.give_back(session, job_id, "me")

    job = claimed(opened)
    assert job is not None
    assert (job.id, job.attempt) == (job_id, 1)


def test_nobody_is_kept_from_work_by_a_look(opened: Database) -> None:
    enqueued(opened)

    with opened.write(), opened.read() as session:
        assert queue.has_work(session, [queue.ADAPT])
        assert not queue.has_work(session, [queue.FINE_TUNE])
