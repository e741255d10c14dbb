"""Forecasts over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from app.database import Database
from app.predictions.schemas import PredictionsReply
from app.tables import PredictionRecord

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.usefixtures("champion")
both_engines = pytest.mark.both_engines

Cells = list[dict[str, str]]
PATH = "/v1/tasks/digits/predictions"


def ask(client: TestClient, *architectures: Any) -> dict[str, Any]:
    answer = client.post(PATH, json={"architectures": list(architectures)})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def logged(database: Database) -> list[PredictionRecord]:
    with database.read() as session:
        return list(session.scalars(select(PredictionRecord).order_by(PredictionRecord.id)))


@both_engines
def test_every_architecture_is_forecast_in_the_order_of_the_request(
    client: TestClient, post_task: Any, cells: Cells
) -> None:
    post_task()

    document = ask(client, *(cell["genotype"] for cell in cells[:5]))

    assert [one["architecture_id"] for one in document["predictions"]] == [cell["id"] for cell in cells[:5]]
    assert [one["index"] for one in document["predictions"]] == [0, 1, 2, 3, 4]
    assert all(one["lower"] <= one["mean"] <= one["upper"] and one["std"] > 0 for one in document["predictions"])
    assert (document["task"], document["metric"], document["unit"]) == ("digits", "accuracy", "fraction")


def test_the_reply_is_what_its_documentation_says(client: TestClient, post_task: Any, cells: Cells) -> None:
    post_task()

    document = ask(client, cells[0]["genotype"], "no cell")

    PredictionsReply.model_validate(document, extra="forbid")


@pytest.mark.parametrize(("direction", "sign"), [("maximize", -1), ("minimize", 1)])
def test_ranks_follow_the_metrics_direction(
    client: TestClient, post_task: Any, cells: Cells, direction: str, sign: int
) -> None:
    post_task(metric={"name": "accuracy", "unit": "fraction", "direction": direction})

    predictions = ask(client, *(cell["genotype"] for cell in cells))["predictions"]

    by_mean = sorted(predictions, key=lambda one: (sign * one["mean"], one["index"]))
    assert [one["rank"] for one in by_mean] == list(range(1, len(cells) + 1))


def test_equal_architectures_are_ranked_by_their_place(client: TestClient, post_task: Any, cells: Cells) -> None:
    post_task()

    predictions = ask(client, *[cells[0]["genotype"]] * 3)["predictions"]

    assert [one["rank"] for one in predictions] == [1, 2, 3]


@pytest.mark.parametrize("number", [3, 30])  # answered in a batch, and in a thread
def test_a_bad_architecture_is_reported_at_its_index_and_the_rest_is_answered(
    client: TestClient, post_task: Any, cells: Cells, number: int
) -> None:
    post_task()

    predictions = ask(client, *(cell["genotype"] for cell in cells[: number - 1]), "|conv_9x9~0|")["predictions"]

    assert predictions[-1]["index"] == number - 1
    assert predictions[-1]["rank"] is None
    assert predictions[-1]["error"]["type"] == "/problems/invalid-content"
    assert "expected" in predictions[-1]["error"]["detail"]
    assert sorted(one["rank"] for one in predictions[:-1]) == list(range(1, number))


@both_engines
def test_text_a_dag_and_an_id_of_the_same_architecture_are_forecast_alike(
    client: TestClient, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    observe("digits", cells[:1], [0.9])
    graph = client.get(f"/v1/architectures/{cells[0]['id']}").json()["graph"]

    predictions = ask(client, cells[0]["genotype"], graph, {"id": cells[0]["id"]})["predictions"]

    assert {one["architecture_id"] for one in predictions} == {cells[0]["id"]}
    assert len({one["mean"] for one in predictions}) == 1


def test_an_id_that_was_never_posted_is_reported_at_its_index(client: TestClient, post_task: Any) -> None:
    post_task()

    (prediction,) = ask(client, {"id": "0" * 32})["predictions"]

    assert "posted before" in prediction["error"]["detail"]


@pytest.mark.parametrize(
    "body",
    [[], {}, {"architectures": "x"}, {"architectures": []}, {"architectures": ["x"], "k": 1}, {"architectures": None}],
)
def test_a_body_that_is_no_request_for_forecasts_is_refused(client: TestClient, post_task: Any, body: Any) -> None:
    post_task()

    answer = client.post(PATH, json=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["location"] == ["body", "architectures"]


def test_more_architectures_than_allowed_are_refused(client: TestClient, post_task: Any) -> None:
    post_task()

    answer = client.post(PATH, json={"architectures": ["x"] * 10_001})

    assert answer.status_code == 422
    assert "1 to 10000 architectures, got 10001" in answer.json()["detail"]


def test_an_unknown_task_is_not_found(client: TestClient) -> None:
    assert client.post(PATH, json={"architectures": ["x"]}).status_code == 404


def test_a_body_that_is_not_declared_as_json_is_refused(client: TestClient, post_task: Any) -> None:
    post_task()

    assert client.post(PATH, content=b'{"architectures": ["x"]}').status_code == 415


@both_engines
def test_a_task_may_be_named_by_its_id(client: TestClient, post_task: Any, cells: Cells) -> None:
    task = post_task()
    body = {"architectures": [cells[0]["genotype"]]}

    by_id = client.post(f"/v1/tasks/{task['id']}/predictions", json=body).json()

    assert by_id == client.post(PATH, json=body).json()


@both_engines
def test_old_forecasts_are_answered_and_called_stale_until_the_new_adaptation_is_there(
    app: FastAPI, client: TestClient, post_task: Any, cells: Cells, observe: Any, run_adaptations: Callable[[], int]
) -> None:
    post_task()
    before = ask(client, cells[20]["genotype"])
    observe("digits", cells[:20], [0.5 + 0.01 * number for number in range(20)])
    app.state.inference.refresh()

    meanwhile = ask(client, cells[20]["genotype"])
    run_adaptations()
    after = ask(client, cells[20]["genotype"])

    assert (before["is_fresh"], before["num_observations"]) == (True, 0)
    assert (meanwhile["is_fresh"], meanwhile["num_observations"]) == (False, 0)
    assert meanwhile["predictions"] == before["predictions"]
    assert (after["is_fresh"], after["num_observations"]) == (True, 20)
    assert after["predictions"] != before["predictions"]


@both_engines
def test_answered_forecasts_are_logged_once_for_each_adaptation_when_the_service_stops(
    app: FastAPI, client: TestClient, database: Database, post_task: Any, cells: Cells
) -> None:
    post_task()
    for _ in range(3):
        ask(client, *(cell["genotype"] for cell in cells[:4]), "no cell")

    app.state.predictions.stop()

    assert [record.architecture_id for record in logged(database)] == [cell["id"] for cell in cells[:4]]


def test_what_was_loaded_for_a_request_is_not_loaded_again(
    app: FastAPI, client: TestClient, post_task: Any, cells: Cells, observe: Any, run_adaptations: Callable[[], int]
) -> None:
    inference = app.state.inference
    inference.refresh()
    post_task()
    ask(client, cells[0]["genotype"])
    first = inference.load("digits").serial
    inference.refresh()
    assert inference.load("digits").serial == first

    observe("digits", cells[:8], [0.1 * number for number in range(8)])
    run_adaptations()

    assert inference.load("digits").serial > first


@both_engines
def test_the_log_says_what_was_known(
    app: FastAPI,
    client: TestClient,
    database: Database,
    post_task: Any,
    cells: Cells,
    observe: Any,
    run_adaptations: Callable[[], int],
) -> None:
    post_task()
    posted = observe("digits", cells[:8], [0.1 * number for number in range(8)])
    run_adaptations()

    answered = ask(client, cells[9]["genotype"])["predictions"][0]
    app.state.predictions.stop()

    (record,) = logged(database)
    assert record.last_observation_id == posted["observations"][-1]["id"]
    assert (record.num_observations, record.mean, record.std) == (8, answered["mean"], answered["std"])


@both_engines
def test_openapi_describes_the_body_and_the_reply(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/v1/tasks/{task}/predictions"]["post"]

    body = operation["requestBody"]["content"]["application/json"]
    assert body["schema"]["required"] == ["architectures"]
    assert body["example"]["architectures"]
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("PredictionsReply")
    assert operation["responses"]["200"]["content"]["application/json"]["example"]["predictions"]
