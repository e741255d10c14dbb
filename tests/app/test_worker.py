"""Running queued work."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text, update

from app import queue
from app.database import Database
from app.errors import ConflictError, NotFoundError, NotReadyError
from app.jobs.progress import Checkpoint, Conclusion, Progress, Work
from app.tables import AdaptationRecord, JobCheckpointRecord, JobRecord
from app.worker import Worker

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("champion")]

Cells = list[dict[str, str]]


def doing(worker: Worker, work: Work) -> Worker:
    """The worker with other work to do."""
    return dataclasses.replace(worker, work={queue.ADAPT: work})


def queued(database: Database) -> int:
    with database.write() as session:
        job_id = queue.enqueue(session, queue.ADAPT, {"task_id": 1})
    assert job_id is not None
    return job_id


def job(database: Database, job_id: int) -> JobRecord:
    with database.read() as session:
        return session.get_one(JobRecord, job_id)


def test_a_job_is_done_with_what_its_conclusion_says(worker: Worker, database: Database) -> None:
    job_id = queued(database)

    assert doing(worker, lambda payload, _: lambda _session: {"seen": payload["task_id"]}).run_one([queue.ADAPT])

    done = job(database, job_id)
    assert (done.state, done.result, done.percent) == ("done", {"seen": 1}, 100.0)


def test_there_is_nothing_to_run_in_an_empty_queue(worker: Worker) -> None:
    assert not worker.run_one(queue.KINDS)


@pytest.mark.parametrize(
    ("error", "state"),
    [(NotFoundError("no such task"), "failed"), (NotReadyError("no champion"), "queued"), (KeyError("bug"), "queued")],
)
def test_only_errors_that_may_go_away_are_tried_again(
    worker: Worker, database: Database, error: Exception, state: str
) -> None:
    def broken(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        raise error

    job_id = queued(database)

    doing(worker, broken).run_one([queue.ADAPT])

    assert job(database, job_id).state == state
    assert type(error).__name__ in (job(database, job_id).error or "")


def test_a_conclusion_that_fails_leaves_no_trace_and_the_job_unfinished(worker: Worker, database: Database) -> None:
    def conclusion(session: Any) -> dict[str, Any]:
        queue.enqueue(session, queue.ADAPT, {"task_id": 99})
        raise RuntimeError("the disk is full")

    job_id = queued(database)

    with pytest.raises(RuntimeError):
        doing(worker, lambda _payload, _progress: conclusion).run_one([queue.ADAPT])

    with database.read() as session:
        assert [one.id for one in session.scalars(select(JobRecord))] == [job_id]


def test_a_conclusion_that_is_refused_fails_the_job_for_good(worker: Worker, database: Database) -> None:
    def conclusion(session: Any) -> dict[str, Any]:
        queue.enqueue(session, queue.ADAPT, {"task_id": 99})
        raise ConflictError("the key is taken")

    job_id = queued(database)

    doing(worker, lambda _payload, _progress: conclusion).run_one([queue.ADAPT])

    with database.read() as session:
        assert [one.id for one in session.scalars(select(JobRecord))] == [job_id]
    assert (job(database, job_id).state, job(database, job_id).error) == ("failed", "ConflictError: the key is taken")


def test_what_was_said_before_an_error_is_in_the_log(worker: Worker, database: Database) -> None:
    def broken(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        progress.report(10.0, "reading, row 1 of 9")
        progress.report(20.0, "reading, row 2 of 9")
        progress.note("row 3 looks odd")
        raise KeyError("bug")

    job_id = queued(database)

    doing(worker, broken).run_one([queue.ADAPT])

    lines = [line.partition(" ")[2] for line in job(database, job_id).log_tail.splitlines()]
    assert lines == ["reading, row 1 of 9", "row 3 looks odd", "attempt 1: KeyError: 'bug'"]
    assert job(database, job_id).percent == 20.0


def test_a_worker_that_lost_its_job_stops_at_its_next_checkpoint(worker: Worker, database: Database) -> None:
    reached: list[str] = []

    def robbed(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        progress.save({"step": 1})
        with database.write() as session:
            session.execute(update(JobRecord).values(lease_number=JobRecord.lease_number + 1))
        reached.append("before")
        progress.save({"step": 2})
        reached.append("after")
        return lambda _session: {"kept": True}

    job_id = queued(database)

    doing(worker, robbed).run_one([queue.ADAPT])

    with database.read() as session:
        assert session.get_one(JobCheckpointRecord, job_id).details == {"step": 1}
    assert (reached, job(database, job_id).state) == (["before"], "running")


def test_the_next_attempt_has_what_the_last_one_saved(worker: Worker, database: Database) -> None:
    seen: list[Any] = []

    def saves_and_breaks(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        seen.append(progress.store.checkpoint())
        progress.save({"step": 1}, b"weights")
        raise KeyError("bug")

    job_id = queued(database)
    for _ in range(2):
        doing(worker, saves_and_breaks).run_one([queue.ADAPT])
        with database.write() as session:
            session.execute(update(JobRecord).values(lease_expires_at=None))

    assert seen == [None, Checkpoint({"step": 1}, b"weights")]
    assert job(database, job_id).attempts == 1


def test_a_cancelled_job_ends_as_cancelled_and_keeps_nothing(worker: Worker, database: Database) -> None:
    def until_told(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        with database.write() as session:
            queue.cancel(session, job_id)
        while not progress.should_stop():
            threading.Event().wait(0.01)
        return lambda _session: {"kept": True}

    job_id = queued(database)
    impatient = dataclasses.replace(worker, settings=worker.settings.model_copy(update={"lease_seconds": 0.3}))

    doing(impatient, until_told).run_one([queue.ADAPT])

    assert (job(database, job_id).state, job(database, job_id).result) == ("cancelled", None)


def test_a_job_is_given_back_when_the_worker_ends(
    worker: Worker, database: Database, stopping: threading.Event
) -> None:
    def told(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        stopping.set()
        assert progress.should_stop()
        raise RuntimeError("stopped in the middle")

    job_id = queued(database)

    doing(worker, told).run_one([queue.ADAPT])

    given_back = job(database, job_id)
    assert (given_back.state, given_back.attempts, given_back.error) == ("queued", 0, None)


def test_a_result_is_dropped_when_another_worker_took_the_job_over(worker: Worker, database: Database) -> None:
    def robbed(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        with database.write() as session:
            session.execute(update(JobRecord).values(lease_owner="other"))
        return lambda _session: {"kept": True}

    job_id = queued(database)

    doing(worker, robbed).run_one([queue.ADAPT])

    assert (job(database, job_id).state, job(database, job_id).result) == ("running", None)


def test_observations_become_one_kept_adaptation(
    client: TestClient,
    database: Database,
    post_task: Any,
    cells: Cells,
    observe: Any,
    run_adaptations: Callable[[], int],
) -> None:
    post_task()
    for number in range(6):
        observe("digits", [cells[number]], [0.1 * number])

    assert run_adaptations() == 1

    with database.read() as session:
        (adaptation,) = session.scalars(select(AdaptationRecord)).all()
    assert (adaptation.num_observations, adaptation.task_revision) == (6, 6)
    assert client.get("/v1/tasks/digits").json()["adaptation"]["is_fresh"]


def test_repeated_and_lower_fidelity_measurements_are_told_apart(
    database: Database, post_task: Any, cells: Cells, observe: Any, run_adaptations: Callable[[], int]
) -> None:
    post_task(max_fidelity=20)
    observe("digits", [cells[0], cells[0], cells[1]], [0.5, 0.6, 0.7], fidelity=20)
    observe("digits", [cells[2]], [0.1], fidelity=5)

    run_adaptations()

    with database.read() as session:
        (adaptation,) = session.scalars(select(AdaptationRecord)).all()
    assert adaptation.num_observations == 3


def test_an_adaptation_of_an_older_support_set_replaces_no_newer_one(
    worker: Worker, database: Database, post_task: Any, cells: Cells, observe: Any
) -> None:
    from app.inference import Relations, Versions, adapt_task

    task = post_task()
    observe("digits", cells[:2], [0.5, 0.6])
    older = adapt_task(database, Versions(database), Relations(), task["id"])
    observe("digits", cells[2:4], [0.5, 0.6])
    newer = adapt_task(database, Versions(database), Relations(), task["id"])

    with database.write() as session:
        assert newer.keep(session)["is_kept"]
        assert not older.keep(session)["is_kept"]

    with database.read() as session:
        assert session.scalars(select(AdaptationRecord.num_observations)).all() == [4]


def test_a_running_worker_outlives_what_the_database_refuses(
    worker: Worker, database: Database, stopping: threading.Event
) -> None:
    def refused(session: Any) -> dict[str, Any]:
        session.execute(text("INSERT INTO notations VALUES ('no such architecture', 'no such space', '')"))
        return {}

    def last(session: Any) -> dict[str, Any]:
        stopping.set()
        return {"is_last": True}

    conclusions = [refused, last]
    first, second = queued(database), queued(database)

    doing(worker, lambda _payload, _progress: conclusions.pop(0)).run([queue.ADAPT])

    assert [job(database, one).state for one in (first, second)] == ["running", "done"]


def test_a_running_worker_ends_when_it_is_told(worker: Worker, stopping: threading.Event) -> None:
    thread = threading.Thread(target=worker.run, args=(queue.KINDS,))
    thread.start()

    stopping.set()
    thread.join(timeout=30.0)

    assert not thread.is_alive()
