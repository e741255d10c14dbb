"""/v1/tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from app.tables import AdaptationRecord, AliasRecord, ModelVersionRecord

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.database import Database

both_engines = pytest.mark.both_engines

TASK: dict[str, Any] = {
    "name": "digits",
    "search_space": "nasbench201",
    "dataset": "digits",
    "metric": {"name": "latency_ms", "unit": "ms", "direction": "minimize"},
    "device": "a phone",
    "max_fidelity": 200,
    "metadata": {"owner": "vision", "nested": [1, {"two": None}]},
}
CHAMPION, OLDER = "c" * 32, "0" * 32


@both_engines
def test_a_task_is_shown_by_name_and_by_id_as_it_was_created(client: TestClient) -> None:
    posted = client.post("/v1/tasks", json=TASK)

    document = posted.json()
    assert posted.status_code == 201
    assert {name: document[name] for name in TASK} == TASK
    assert (document["num_observations"], document["revision"]) == (0, 0)
    assert client.get("/v1/tasks/digits").json() == document
    assert client.get(f"/v1/tasks/{document['id']}").json() == document


@both_engines
def test_creating_the_same_task_again_is_harmless(client: TestClient) -> None:
    first = client.post("/v1/tasks", json=TASK)
    again = client.post("/v1/tasks", json=TASK)

    assert (again.status_code, again.json()) == (200, first.json())


@both_engines
@pytest.mark.parametrize(
    "change", [{"dataset": "mnist"}, {"metadata": {}}, {"device": None}, {"metric": {**TASK["metric"], "unit": "s"}}]
)
def test_a_different_task_under_a_taken_name_is_a_conflict(client: TestClient, change: dict[str, Any]) -> None:
    client.post("/v1/tasks", json=TASK)

    answer = client.post("/v1/tasks", json={**TASK, **change})

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"name": "42"}, id="a number as name"),
        pytest.param({"name": ""}, id="no name"),
        pytest.param({"name": "a/b"}, id="slash in the name"),
        pytest.param({"name": "x" * 129}, id="long name"),
        pytest.param({"name": None}, id="null name"),
        pytest.param({"search_space": "unknown"}, id="unknown search space"),
        pytest.param({"dataset": ""}, id="no data set"),
        pytest.param({"metric": "accuracy"}, id="metric is text"),
        pytest.param({"metric": {"name": "a", "unit": "b", "direction": "sideways"}}, id="unknown direction"),
        pytest.param({"max_fidelity": 0}, id="no fidelity"),
        pytest.param({"max_fidelity": "200"}, id="fidelity is text"),
        pytest.param({"max_fidelity": True}, id="fidelity is a truth value"),
        pytest.param({"metadata": []}, id="metadata is a list"),
        pytest.param({"directon": "maximize"}, id="unknown member"),
    ],
)
def test_a_wrong_task_is_refused(client: TestClient, change: dict[str, Any]) -> None:
    answer = client.post("/v1/tasks", json={**TASK, **change})

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-content")
    assert answer.json()["errors"][0]["location"][:2] == ["body", next(iter(change))]
    assert client.get("/v1/tasks").json()["items"] == []


@pytest.mark.parametrize("task", ["unknown", "77", "9" * 40, "%00", "a%20b", "٣", "x" * 2000])
def test_an_unknown_task_is_not_found(client: TestClient, task: str) -> None:
    answer = client.get(f"/v1/tasks/{task}")

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


@both_engines
def test_pages_neither_repeat_nor_skip_when_tasks_are_added_meanwhile(
    client: TestClient, post_task: Callable[..., dict[str, Any]]
) -> None:
    for number in range(4):
        post_task(f"before-{number}")

    first = client.get("/v1/tasks?limit=3").json()
    post_task("meanwhile")
    second = client.get("/v1/tasks", params={"limit": 3, "cursor": first["next_cursor"]}).json()

    names = [task["name"] for task in first["items"] + second["items"]]
    assert names == ["before-0", "before-1", "before-2", "before-3", "meanwhile"]
    assert second["next_cursor"] is None


def test_the_list_can_be_limited_to_a_search_space(
    client: TestClient, post_task: Callable[..., dict[str, Any]]
) -> None:
    post_task("cells")
    post_task("graphs", search_space="graph")

    assert [task["name"] for task in client.get("/v1/tasks?search_space=graph").json()["items"]] == ["graphs"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "cursor=nonsense", "search_space=%00"])
def test_a_wrong_page_is_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"/v1/tasks?{query}")

    assert (answer.status_code, answer.json()["errors"][0]["location"][0]) == (422, "query")


def _adapted(database: Database, task_id: int, version: str, revision: int) -> None:
    with database.write() as session:
        if session.get(ModelVersionRecord, version) is None:
            session.add(ModelVersionRecord(id=version, origin="shipped", manifest={}, weights=b""))
            session.flush()
        if session.get(AliasRecord, "champion") is None:
            session.add(AliasRecord(name="champion", model_version_id=version))
        session.add(
            AdaptationRecord(
                task_id=task_id,
                model_version_id=version,
                support_hash="",
                num_observations=revision,
                task_revision=revision,
                payload=b"",
                seconds=0.1,
            )
        )


@both_engines
def test_a_task_without_observations_is_fresh(post_task: Callable[..., dict[str, Any]]) -> None:
    assert post_task()["adaptation"] == {
        "num_observations": 0,
        "model_version": None,
        "adapted_at": None,
        "is_fresh": True,
        "is_pending": False,
    }


@both_engines
def test_an_observation_makes_the_adaptation_stale_and_pending(
    client: TestClient, post_task: Callable[..., dict[str, Any]], cells: list[dict[str, str]], database: Database
) -> None:
    task = post_task()
    _adapted(database, task["id"], CHAMPION, revision=0)

    client.post("/v1/tasks/digits/observations", json={"architecture": cells[0]["genotype"], "value": 0.5})

    shown = client.get("/v1/tasks/digits").json()
    assert (shown["num_observations"], shown["revision"]) == (1, 1)
    assert (shown["adaptation"]["is_fresh"], shown["adaptation"]["is_pending"]) == (False, True)


@both_engines
def test_an_adaptation_to_all_observations_is_fresh(
    client: TestClient, post_task: Callable[..., dict[str, Any]], cells: list[dict[str, str]], database: Database
) -> None:
    task = post_task()
    client.post("/v1/tasks/digits/observations", json={"architecture": cells[0]["genotype"], "value": 0.5})

    _adapted(database, task["id"], CHAMPION, revision=1)

    shown = client.get("/v1/tasks/digits").json()["adaptation"]
    assert (shown["is_fresh"], shown["num_observations"], shown["model_version"]) == (True, 1, CHAMPION)


@both_engines
def test_the_champions_adaptation_answers_before_a_newer_one_of_another_version(
    client: TestClient, post_task: Callable[..., dict[str, Any]], database: Database
) -> None:
    task = post_task()
    _adapted(database, task["id"], CHAMPION, revision=0)
    _adapted(database, task["id"], OLDER, revision=0)

    shown = client.get("/v1/tasks").json()["items"][0]["adaptation"]

    assert (shown["model_version"], shown["is_fresh"]) == (CHAMPION, True)
