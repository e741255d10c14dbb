"""The queue of durable work."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app import queue
from app.database import Database
from app.errors import InvalidContentError
from app.settings import Settings
from app.tables import JobCheckpointRecord, JobRecord, utc_now

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


def claimed(
    database: Database, owner: str = "me", kinds: Collection[str] = tuple(queue.KINDS)
) -> queue.ClaimedJob | None:
    with database.write() as session:
        return queue.claim(session, owner, kinds, LEASE)


def held(database: Database, owner: str = "me") -> queue.ClaimedJob:
    """A job that must be there."""
    job = claimed(database, owner)
    assert job is not None
    return job


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


@pytest.mark.parametrize("other", ["other", "slow"])
def test_a_worker_that_lost_its_job_can_end_it_no_more(opened: Database, other: str) -> None:
    job_id = enqueued(opened)
    slow = held(opened, "slow")
    let_lease_run_out(opened)
    held(opened, other)

    with opened.write() as session:
        beat = queue.progress(session, slow, LEASE, 50.0)
        assert not queue.save_checkpoint(session, slow, {})
        assert not queue.finish(session, slow, {})
        assert not queue.fail(session, slow, "broken")
        assert not queue.give_back(session, slow)
        assert not queue.end_cancelled(session, slow)

    assert not beat.is_held
    assert (record(opened, job_id).lease_owner, record(opened, job_id).state) == (other, "running")


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
    mine = held(opened)

    with opened.write() as session:
        queue.fail(session, mine, "broken")

    assert record(opened, job_id).state == "queued"
    assert claimed(opened) is None
    let_lease_run_out(opened)
    job = claimed(opened)
    assert job is not None
    assert job.attempt == 2


def test_the_last_attempts_failure_is_final(opened: Database) -> None:
    job_id = enqueued(opened)
    for _ in range(queue.MAX_ATTEMPTS):
        mine = held(opened)
        with opened.write() as session:
            queue.fail(session, mine, "broken")
        let_lease_run_out(opened)

    job = record(opened, job_id)
    assert (job.state, job.error, job.attempts) == ("failed", "broken", 3)
    assert "attempt 2: broken" in job.log_tail


def test_what_will_not_go_away_is_not_tried_again(opened: Database) -> None:
    job_id = enqueued(opened)
    mine = held(opened)

    with opened.write() as session:
        queue.fail(session, mine, "no such task", is_retryable=False)

    assert record(opened, job_id).state == "failed"


def test_progress_is_shown_and_extends_the_lease(opened: Database) -> None:
    job_id = enqueued(opened)
    mine = held(opened)
    let_lease_run_out(opened)

    with opened.write() as session:
        beat = queue.progress(session, mine, LEASE, 40.0, "training", ["step 4"])

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
    mine = held(opened)

    with opened.write() as session:
        assert queue.cancel(session, job_id) == "running"
        beat = queue.progress(session, mine, LEASE)
        queue.end_cancelled(session, mine)

    assert beat.is_cancelled
    assert record(opened, job_id).state == "cancelled"


def test_a_job_that_is_given_back_has_lost_no_attempt(opened: Database) -> None:
    job_id = enqueued(opened)
    mine = held(opened)

    with opened.write() as session:
        queue.give_back(session, mine)

    job = claimed(opened)
    assert job is not None
    assert (job.id, job.attempt) == (job_id, 1)


def test_nobody_is_kept_from_work_by_a_look(opened: Database) -> None:
    enqueued(opened)

    with opened.write(), opened.read() as session:
        assert queue.has_work(session, [queue.ADAPT])
        assert not queue.has_work(session, [queue.FINE_TUNE])


def checkpoint(database: Database, job_id: int) -> JobCheckpointRecord | None:
    with database.read() as session:
        return session.get(JobCheckpointRecord, job_id)


def test_of_a_kind_with_a_limit_no_more_run_at_once_however_many_workers_claim(opened: Database) -> None:
    for _ in range(6):
        enqueued(opened)

    def claim(number: int) -> queue.ClaimedJob | None:
        with opened.write() as session:
            return queue.claim(session, f"worker {number}", [queue.ADAPT], LEASE, {queue.ADAPT: 2})

    with ThreadPoolExecutor(6) as threads:
        taken = [job for job in threads.map(claim, range(6)) if job is not None]
    with opened.write() as session:
        had_work = queue.has_work(session, [queue.ADAPT], {queue.ADAPT: 2})
        queue.finish(session, taken[0], {})
        has_work = queue.has_work(session, [queue.ADAPT], {queue.ADAPT: 2})

    assert len(taken) == 2
    assert (had_work, has_work) == (False, True)
    assert claim(7) is not None


def test_a_limit_for_one_kind_keeps_no_other_from_running(opened: Database) -> None:
    enqueued(opened, queue.FINE_TUNE), enqueued(opened, queue.FINE_TUNE), enqueued(opened)

    def claim() -> queue.ClaimedJob | None:
        with opened.write() as session:
            return queue.claim(session, "me", tuple(queue.KINDS), LEASE, {queue.FINE_TUNE: 1})

    assert [job and job.kind for job in (claim(), claim(), claim())] == [queue.FINE_TUNE, queue.ADAPT, None]


def test_a_dead_workers_job_counts_towards_no_limit(opened: Database) -> None:
    enqueued(opened)
    held(opened, "dead")
    let_lease_run_out(opened)

    with opened.write() as session:
        assert queue.claim(session, "alive", [queue.ADAPT], LEASE, {queue.ADAPT: 1}) is not None


def test_a_limit_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidContentError, match=r"expected limits for kinds among adapt, .* got 'adap'"):
        queue.limits({"adap": 1})


def test_limits_are_those_of_the_kinds_but_for_what_is_changed() -> None:
    assert queue.limits({"adapt": 3, "fine_tune": 0}) == {"adapt": 3, "score": 4, "import": 2, "compare": 1}


def test_what_was_saved_is_there_for_the_next_worker_and_gives_the_job_all_its_attempts_again(opened: Database) -> None:
    job_id = enqueued(opened)
    for number in range(5):  # more than a job without checkpoints may have
        mine = held(opened, f"worker {number}")
        with opened.write() as session:
            assert queue.save_checkpoint(session, mine, {"step": number}, bytes([number]))
        let_lease_run_out(opened)

    last = checkpoint(opened, job_id)
    assert last is not None
    assert (last.details, last.content) == ({"step": 4}, b"\x04")
    assert held(opened).attempt == 2


@pytest.mark.parametrize(("how", "is_kept"), [("done", False), ("cancelled", False), ("failed", True)])
def test_only_a_job_that_failed_keeps_its_checkpoint(opened: Database, how: str, is_kept: bool) -> None:
    job_id = enqueued(opened)
    mine = held(opened)

    with opened.write() as session:
        queue.save_checkpoint(session, mine, {"step": 1})
        if how == "done":
            queue.finish(session, mine, {})
        elif how == "failed":
            queue.fail(session, mine, "broken", is_retryable=False)
        else:
            queue.end_cancelled(session, mine)

    assert record(opened, job_id).state == how
    assert (checkpoint(opened, job_id) is not None) == is_kept


@pytest.mark.parametrize("how", ["failed", "cancelled"])
def test_a_job_that_did_not_end_well_is_tried_again_when_asked_to(opened: Database, how: str) -> None:
    job_id = enqueued(opened)
    mine = held(opened)
    with opened.write() as session:
        if how == "failed":
            queue.fail(session, mine, "broken", is_retryable=False)
        else:
            queue.end_cancelled(session, mine)

    with opened.write() as session:
        assert queue.retry(session, job_id) == how
        assert queue.retry(session, job_id) == "queued"

    again = held(opened)
    assert (again.id, again.attempt) == (job_id, 1)
    with opened.write() as session:
        assert not queue.progress(session, again, LEASE).is_cancelled


def test_a_job_that_is_given_back_after_it_was_cancelled_is_cancelled(opened: Database) -> None:
    job_id = enqueued(opened)
    mine = held(opened)

    with opened.write() as session:
        queue.cancel(session, job_id)
        queue.give_back(session, mine)

    assert record(opened, job_id).state == "cancelled"
