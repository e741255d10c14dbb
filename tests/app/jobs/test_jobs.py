"""Background work over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app import queue
from app.database import Database

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

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
