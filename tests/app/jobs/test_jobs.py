"""Background work over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from app import queue
from app.database import Database

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.settings import Settings

pytestmark = pytest.mark.both_engines


@pytest.fixture
def job_ids(client: TestClient, database: Database) -> list[int]:
    """Three queued jobs: adapt, fine_tune, adapt."""
    with database.write() as session:
        kinds = (queue.ADAPT, queue.FINE_TUNE, queue.ADAPT)
        return [queue.enqueue(session, kind, {"task_id": 1}) or 0 for kind in kinds]


def test_jobs_are_listed_newest_first_page_by_page(client: TestClient, job_ids: list[int]) -> None:
    first = client.get("/v1/jobs?limit=2").json()
    second = client.get("/v1/jobs", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [job["id"] for job in first["items"] + second["items"]] == job_ids[::-1]
    assert second["next_cursor"] is None


def test_jobs_are_filtered_by_kind_and_state(client: TestClient, job_ids: list[int]) -> None:
    client.post(f"/v1/jobs/{job_ids[0]}:cancel")

    items = client.get("/v1/jobs?kind=adapt&state=queued").json()["items"]

    assert [job["id"] for job in items] == [job_ids[2]]


def test_a_queued_job_is_cancelled_and_again_is_harmless(client: TestClient, job_ids: list[int]) -> None:
    answers = [client.post(f"/v1/jobs/{job_ids[0]}:cancel") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.json()["state"] for answer in answers] == ["cancelled", "cancelled"]


def test_a_job_that_is_done_cannot_be_cancelled(client: TestClient, database: Database, job_ids: list[int]) -> None:
    with database.write() as session:
        job = queue.claim(session, "me", [queue.ADAPT], 30.0)
        assert job is not None
        queue.finish(session, job, {"seconds": 1.0})

    assert client.post(f"/v1/jobs/{job_ids[0]}:cancel").status_code == 409
    assert client.get(f"/v1/jobs/{job_ids[0]}").json()["result"] == {"seconds": 1.0}


@pytest.mark.parametrize(("path", "status"), [("/v1/jobs/99", 404), ("/v1/jobs/0", 422), ("/v1/jobs/x", 422)])
def test_a_job_that_is_not_there_is_not_shown(client: TestClient, path: str, status: int) -> None:
    assert client.get(path).status_code == status


def test_kinds_are_the_same_in_the_queue_in_the_documents_and_in_the_worker(
    settings: Settings, database: Database
) -> None:
    from app.inference import Versions
    from app.jobs.schemas import JobKind
    from app.work import services

    assert set(get_args(JobKind)) == set(queue.KINDS) == set(services(settings, database, Versions(database)))


def test_a_job_that_failed_is_tried_again_when_asked_to(
    client: TestClient, database: Database, job_ids: list[int]
) -> None:
    with database.write() as session:
        job = queue.claim(session, "me", [queue.ADAPT], 30.0)
        assert job is not None
        queue.fail(session, job, "no such task", is_retryable=False)

    answers = [client.post(f"/v1/jobs/{job.id}:retry") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 409]
    assert (answers[0].json()["state"], answers[0].json()["attempts"]) == ("queued", 0)
    assert client.post("/v1/jobs/99:retry").status_code == 404


def test_a_job_that_failed_once_says_what_went_wrong_and_when_it_is_tried_again(
    client: TestClient, database: Database, job_ids: list[int]
) -> None:
    with database.write() as session:
        job = queue.claim(session, "me", [queue.ADAPT], 30.0)
        assert job is not None
        queue.fail(session, job, "too busy")

    shown = client.get(f"/v1/jobs/{job.id}").json()

    assert (shown["state"], shown["attempts"], shown["max_attempts"]) == ("queued", 1, queue.MAX_ATTEMPTS)
    assert shown["error"] == "too busy"
    assert shown["next_attempt_at"] is not None


def test_the_log_has_a_line_for_everything_that_was_said(
    client: TestClient, database: Database, job_ids: list[int]
) -> None:
    with database.write() as session:
        job = queue.claim(session, "me", [queue.ADAPT], 30.0)
        assert job is not None
        queue.progress(session, job, 30.0, lines=["first", "second\nstill second"])

    log = client.get(f"/v1/jobs/{job.id}/log").json()

    assert [line["text"] for line in log["lines"]] == ["first", "second", "still second"]
    assert [line["at"] is None for line in log["lines"]] == [False, False, True]
    assert log["is_whole"]
    assert client.get("/v1/jobs/99/log").status_code == 404


def test_a_long_log_keeps_its_end_and_says_so(client: TestClient, database: Database, job_ids: list[int]) -> None:
    with database.write() as session:
        job = queue.claim(session, "me", [queue.ADAPT], 30.0)
        assert job is not None
        queue.progress(session, job, 30.0, lines=[f"line {number}" for number in range(2_000)])

    log = client.get(f"/v1/jobs/{job.id}/log").json()

    assert not log["is_whole"]
    assert log["lines"][-1]["text"] == "line 1999"
    assert all(line["text"].startswith("line ") and line["at"] for line in log["lines"])
