"""Model versions that leave the service and come from elsewhere, are compared, and answer for pinned tasks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from app import queue
from app.database import Database
from app.inference import packed
from app.model_versions import service
from app.tables import JobRecord, ModelVersionRecord
from app.worker import Worker

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("champion")]

Cells = list[dict[str, str]]
PATH = "/v1/model-versions"
ZIP = {"content-type": "application/zip"}


@pytest.fixture
def add_version(client: TestClient, database: Database, make_champion: Any) -> Callable[[int], str]:
    """Stores a model version made from a seed; answers its id."""

    def add(seed: int) -> str:
        made = make_champion(seed)
        with database.write() as session:
            service.add(session, made.version, None, "fine_tune", dict(made.manifest), made.to_bytes())
        version: str = made.version
        return version

    return add


def forecast(client: TestClient, cells: Cells) -> dict[str, Any]:
    body = {"architectures": [cell["genotype"] for cell in cells]}
    document: dict[str, Any] = client.post("/v1/tasks/digits/predictions", json=body).json()
    return document


def pin(client: TestClient, version: str) -> Any:
    return client.post("/v1/tasks/digits:pin", json={"model_version": version, "reason": "the paper"})


def unpin(client: TestClient) -> Any:
    return client.post("/v1/tasks/digits:unpin", json={"reason": "it is out"})


def test_what_was_downloaded_is_known_when_it_is_uploaded(client: TestClient, add_version: Any) -> None:
    version = add_version(2)

    downloaded = client.get(f"{PATH}/{version}/archive")
    uploaded = client.post(PATH, content=downloaded.content, headers=ZIP)

    assert (downloaded.status_code, downloaded.headers["content-type"]) == (200, "application/zip")
    assert downloaded.headers["content-disposition"] == f'attachment; filename="archcast-{version}.zip"'
    assert (uploaded.status_code, uploaded.json()["id"]) == (200, version)


def test_a_version_from_elsewhere_is_stored_and_answers_nobody(
    client: TestClient, database: Database, make_champion: Any
) -> None:
    made = make_champion(5)
    content = packed(made)

    first, again = (client.post(PATH, content=content, headers=ZIP) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 200)
    document = client.get(first.headers["location"]).json()
    assert (document["id"], document["origin"], document["aliases"]) == (made.version, "uploaded", [])
    assert document["manifest"] == json.loads(json.dumps(made.manifest))
    assert client.get(f"{PATH}/{made.version}/archive").content == content


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_version_is_refused_and_nothing_is_stored(
    client: TestClient, database: Database, content: bytes
) -> None:
    answer = client.post(PATH, content=content, headers=ZIP)

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-content")
    assert "expected a ZIP archive, got" in answer.json()["detail"]
    with database.read() as session:
        assert len(session.scalars(select(ModelVersionRecord.id)).all()) == 1


def test_another_media_type_is_refused(client: TestClient) -> None:
    assert client.post(PATH, content=b"{}", headers={"content-type": "application/json"}).status_code == 415


def test_an_unknown_version_cannot_be_downloaded_or_pinned(client: TestClient, post_task: Any) -> None:
    post_task()

    assert client.get(f"{PATH}/none/archive").status_code == 404
    assert pin(client, "none").status_code == 404
    assert client.get("/v1/tasks/digits/pin").json()["history"] == []


def test_a_pinned_task_stays_with_its_version_whatever_becomes_champion(
    app: FastAPI,
    client: TestClient,
    database: Database,
    add_version: Any,
    post_task: Any,
    cells: Cells,
    observe: Any,
    run_adaptations: Callable[[], int],
) -> None:
    post_task()
    observe("digits", cells[:8], [0.1 * number for number in range(8)])
    run_adaptations()
    first = forecast(client, cells[:2])
    pinned, newer = add_version(2), add_version(3)

    assert pin(client, pinned).status_code == 200
    assert not client.get("/v1/tasks/digits").json()["adaptation"]["is_fresh"]
    run_adaptations()
    on_pinned = forecast(client, cells[:2])
    client.post(f"{PATH}/{newer}:promote", json={"reason": "better"})
    with database.read() as session:
        queued = session.scalars(select(JobRecord.payload).where(JobRecord.state == "queued")).all()
    observe("digits", cells[8:10], [0.1, 0.2])
    run_adaptations()
    still = forecast(client, cells[:2])
    task = client.get("/v1/tasks/digits").json()

    assert on_pinned["model_version"] == still["model_version"] == task["pinned_version"] == pinned
    assert (on_pinned["num_observations"], still["num_observations"]) == (8, 10)
    assert on_pinned["is_fresh"]
    assert still["is_fresh"]
    assert task["adaptation"]["is_fresh"]
    assert queued == []  # nothing to adapt to the new champion
    assert first["predictions"] != on_pinned["predictions"]


def test_an_unpinned_task_goes_back_to_the_champion(
    app: FastAPI,
    client: TestClient,
    add_version: Any,
    post_task: Any,
    cells: Cells,
    observe: Any,
    run_adaptations: Callable[[], int],
) -> None:
    post_task()
    observe("digits", cells[:4], [0.1, 0.2, 0.3, 0.4])
    run_adaptations()
    before = forecast(client, cells[:2])
    pinned = add_version(2)
    pin(client, pinned)
    run_adaptations()

    assert unpin(client).status_code == 200
    run_adaptations()

    after = forecast(client, cells[:2])
    shown = client.get("/v1/tasks/digits/pin").json()
    assert after["model_version"] == before["model_version"]
    assert (shown["pinned_version"], shown["effective_version"]) == (None, before["model_version"])
    assert [(one["model_version"], one["reason"]) for one in shown["history"]] == [
        (None, "it is out"),
        (pinned, "the paper"),
    ]
    assert unpin(client).status_code == 409


def test_a_task_without_observations_is_answered_by_what_it_is_pinned_to(
    app: FastAPI, client: TestClient, add_version: Any, post_task: Any, cells: Cells
) -> None:
    post_task()
    forecast(client, cells[:1])
    pinned = add_version(2)

    pin(client, pinned)
    app.state.inference.refresh()

    answered = forecast(client, cells[:1])
    assert (answered["model_version"], answered["is_fresh"]) == (pinned, True)


def test_pinning_to_the_same_version_again_changes_nothing(
    client: TestClient, add_version: Any, post_task: Any
) -> None:
    post_task()
    version = add_version(2)

    answers = [pin(client, version).json() for _ in range(2)]

    assert answers[0] == answers[1]
    assert len(client.get("/v1/tasks/digits/pin").json()["history"]) == 1


def test_two_versions_are_compared_as_a_job(
    client: TestClient, worker: Worker, add_version: Any, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    observe("digits", cells, [0.01 * number for number in range(len(cells))])
    first, second = add_version(2), add_version(3)

    queued = client.post(f"{PATH}:compare", json={"task": "digits", "first": first, "second": second})
    worker.run_one([queue.COMPARE])

    result = client.get(queued.headers["location"]).json()["result"]
    assert queued.status_code == 202
    assert (result["task"], result["first"], result["second"]) == ("digits", first, second)
    assert set(result["comparison"]) == {"episodes_log_likelihood", "episodes_kendall_tau", "logged_log_likelihood"}
    assert set(result["comparison"]["episodes_kendall_tau"]) == {
        "num_pairs", "first", "second", "difference", "standard_error"
    }  # fmt: skip


def test_what_cannot_be_compared_is_refused(client: TestClient, add_version: Any, post_task: Any) -> None:
    post_task()
    first, second = add_version(2), add_version(3)

    def compare(**changes: str) -> int:
        body = {"task": "digits", "first": first, "second": second, **changes}
        return int(client.post(f"{PATH}:compare", json=body).status_code)

    assert compare(second=first) == 422
    assert compare(second="none") == 404
    assert compare(task="none") == 404
