"""What may be asked for, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

both_engines = pytest.mark.both_engines

Document = dict[str, Any]


@pytest.mark.parametrize(
    ("changes", "location", "message"),
    [
        ({"strategy": "simulated_annealing"}, ["body", "strategy"], "expected one of the strategies"),
        ({"settings": {"population": 3}}, ["body", "strategy"], "got also population"),
        ({"strategy": "bayesian"}, ["body", "strategy"], "expected a strategy that needs no forecasts"),
        ({"budget": {"evaluations": 0}}, ["body", "budget", "evaluations"], "greater than or equal to 1, got 0"),
        ({"budget": {"seconds": 0.0}}, ["body", "budget", "seconds"], "greater than 0, got 0.0"),
        ({"budget": {}}, ["body", "budget"], "expected evaluations, seconds or both, got neither"),
        ({"objectives": []}, ["body", "objectives"], "at least 1 item"),
        ({"objectives": [{"task": "faces"}]}, ["body", "objectives", 0, "task"], "got 'faces'"),
        ({"objectives": [{"task": "digits"}, {"task": "1"}]}, ["body", "objectives"], "expected different tasks"),
        ({"objectives": [{"task": "digits"}, {"task": "cells"}]}, ["body", "objectives"], "of one search space"),
        ({"evaluator": "forecast"}, ["body", "evaluator"], "expected trials or table with the mode measured"),
        ({"mode": "forecast", "evaluator": "table"}, ["body", "evaluator"], "expected forecast with the mode forecast"),
        ({"start": ["{}", "{}"]}, ["body", "start", 0], ""),
        ({"seed": -1}, ["body", "seed"], "greater than or equal to 0, got -1"),
        ({"parallel": 0}, ["body", "parallel"], "greater than or equal to 1, got 0"),
        ({"colour": "red"}, ["body", "colour"], "Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_stored(
    client: TestClient,
    tasks: Any,
    post_task: Any,
    post_search: Any,
    changes: Document,
    location: list[Any],
    message: str,
) -> None:
    post_task("cells")
    answer = post_search(**changes)

    assert answer.status_code == 422, answer.text
    errors = answer.json()["errors"]
    assert errors[0]["location"] == location
    assert message in errors[0]["message"]
    assert client.get("/v1/searches").json()["items"] == []
    assert client.get("/v1/jobs?kind=search").json()["items"] == []


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ("latency_ms", "expected a constraint such as"),
        ("latency_ms<=much", "expected a constraint such as"),
        ("energy<=1", "got 'energy'"),
    ],
)
def test_a_wrong_constraint_is_named(
    champion: Any, tasks: Any, post_search: Any, constraint: str, message: str
) -> None:
    answer = post_search(constraints=["latency_ms<=9", constraint])

    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["location"] == ["body", "constraints", 1]
    assert message in answer.json()["errors"][0]["message"]


def test_what_is_not_a_number_is_refused(client: TestClient, tasks: Any) -> None:
    body = '{"objectives": [{"task": "digits"}], "strategy": "random", "budget": {"seconds": NaN}}'
    answer = client.post("/v1/searches", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400


def test_without_a_champion_there_are_no_forecasts_to_search_by(tasks: Any, post_search: Any) -> None:
    answer = post_search(mode="forecast")

    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")


def test_several_tasks_of_one_metric_are_different_objectives(tasks: Any, post_task: Any, post_search: Any) -> None:
    post_task("faces", search_space="tiny", dataset="faces")

    assert post_search("digits", "faces").status_code == 201


def test_an_open_space_has_to_be_begun_somewhere(
    client: TestClient, table: Any, post_task: Any, start: Any, show: Any, work: Any
) -> None:
    post_task("graphs", search_space="graph")
    conv = {"kind": "conv", "attributes": {"kernel_size": 3}}
    graph = {"nodes": [{"kind": "input"}, conv, {"kind": "output"}], "edges": [[0, 1], [1, 2]]}

    nowhere, somewhere = start("graphs"), start("graphs", start=[graph], parallel=3)
    work()

    assert show(nowhere)["state"] == "failed"
    assert "expected architectures to begin with" in show(nowhere)["error"]
    assert show(somewhere)["state"] == "waiting"
    first = client.get(f"/v1/searches/{somewhere}/evaluations").json()["items"][0]
    assert first["genotype"] == show(somewhere)["start"][0]
    assert first["origin"] == "to begin with"


@both_engines
def test_the_same_request_under_one_key_makes_one_search(client: TestClient, tasks: Any, post_search: Any) -> None:
    first = post_search(headers={"Idempotency-Key": "k1"}, seed=None)
    again = post_search(headers={"Idempotency-Key": "k1"}, seed=None)

    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"] == f"/v1/searches/{first.json()['id']}"
    assert len(client.get("/v1/searches").json()["items"]) == 1


def test_what_has_not_changed_is_not_sent_again(client: TestClient, tasks: Any, start: Any, work: Any) -> None:
    search_id = start()
    work()
    first = client.get(f"/v1/searches/{search_id}")
    seen = {"If-None-Match": first.headers["etag"]}

    assert client.get(f"/v1/searches/{search_id}", headers=seen).status_code == 304
    client.post(f"/v1/searches/{search_id}:pause")
    assert client.get(f"/v1/searches/{search_id}", headers=seen).status_code == 200


@both_engines
def test_searches_are_listed_by_what_is_asked_for(
    client: TestClient, observed: Any, post_task: Any, start: Any, work: Any
) -> None:
    done = start(evaluator="table", description="first")
    paused = start("latency")
    client.post(f"/v1/searches/{paused}:pause")
    work()
    queued = start("latency", "digits")

    def listed(query: str) -> list[int]:
        items = client.get(f"/v1/searches?{query}").json()["items"]
        return [one["id"] for one in items]

    assert listed("") == [queued, paused, done]
    assert listed("task=latency") == [queued, paused]
    assert [listed(f"state={one}") for one in ("done", "paused", "queued", "running")] == [
        [done],
        [paused],
        [queued],
        [],
    ]
    assert listed("strategy=random&limit=1") == [queued]
    assert listed("strategy=nsga2") == []
    shown = client.get("/v1/searches?sort=id&limit=1").json()["items"][0]
    assert (shown["description"], shown["tasks"], shown["num_evaluated"]) == ("first", ["digits"], 8)
    assert shown["best_value"] == client.get(f"/v1/searches/{done}").json()["best"]["value"]


@both_engines
def test_evaluations_are_listed_page_by_page(client: TestClient, observed: Any, start: Any, work: Any) -> None:
    search_id = start(evaluator="table", budget={"evaluations": 10})
    work()
    found, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/v1/searches/{search_id}/evaluations?limit=3&sort=-value{cursor}").json()
        found += page["items"]
        cursor = None if page["next_cursor"] is None else f"&cursor={page['next_cursor']}"

    values = [one["value"] for one in found]
    assert values == sorted(values, reverse=True)
    assert len({one["number"] for one in found}) == 10


def test_strategies_say_what_they_are_and_what_can_be_set(client: TestClient) -> None:
    listed = {one["name"]: one for one in client.get("/v1/search-strategies").json()["items"]}

    assert {"random", "guided", "bayesian"} <= set(listed)
    assert listed["guided"]["needs_forecasts"]
    assert "Neural Predictor" in listed["guided"]["source"]
    assert listed["guided"]["settings"]["properties"]["num_forecasts"]["minimum"] == 1
    for one in listed.values():
        assert one["description"]
        assert one["source"]
        assert all(setting["description"] for setting in one["settings"]["properties"].values())


def test_the_best_is_exported_in_every_form(
    client: TestClient, post_task: Any, cells: Any, observe: Any, start: Any, show: Any, work: Any
) -> None:
    import torch

    post_task("cells")
    observe("cells", cells, [0.01 * number for number in range(len(cells))])
    search_id = start(
        "cells", evaluator="table", start=[one["genotype"] for one in cells[:4]], budget={"evaluations": 4}
    )
    work()

    def exported(query: str) -> Document:
        answer = client.get(f"/v1/searches/{search_id}/best?{query}")
        assert answer.status_code == 200, answer.text
        document: Document = answer.json()
        return document

    genotype, dag, pytorch = (exported(f"format={one}") for one in ("genotype", "dag", "pytorch"))
    again = client.post("/v1/search-spaces/nasbench201/validate", json={"architectures": [dag["dag"]]}).json()
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(compile(pytorch["pytorch"], "exported.py", "exec"), namespace)
    answer = namespace["Network"]().eval()(torch.zeros(2, 3, 32, 32))
    assert genotype["genotype"] == show(search_id)["best"]["genotype"] == cells[3]["genotype"]
    assert (genotype["dag"], genotype["pytorch"], dag["pytorch"]) == (None, None, None)
    assert cells[3]["id"] in str(again)
    assert answer.shape == (2, 10)
    assert exported("number=1")["architecture_id"] == cells[0]["id"]
    assert client.get(f"/v1/searches/{search_id}/best?number=5").status_code == 404


def test_what_cannot_be_built_says_so(client: TestClient, observed: Any, start: Any, work: Any) -> None:
    search_id = start(evaluator="table")
    work()
    answer = client.get(f"/v1/searches/{search_id}/best?format=pytorch")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == ["query", "format"]


@both_engines
def test_a_reference_has_one_number_for_each_objective(
    client: TestClient, observed: Any, start: Any, work: Any
) -> None:
    search_id = start("digits", "latency", evaluator="table")
    work()
    answer = client.get(f"/v1/searches/{search_id}/pareto?reference=0.5")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == ["query", "reference"]
    assert client.get(f"/v1/searches/{search_id}/pareto").json()["hypervolume"] > 0.0


def test_nobody_hears_of_searches_that_are_not_there(client: TestClient) -> None:
    for path in ("", "/evaluations", "/events", "/best", "/pareto"):
        assert client.get(f"/v1/searches/7{path}").status_code == 404


@both_engines
def test_a_webhook_hears_of_the_end(
    client: TestClient, database: Any, observed: Any, start: Any, show: Any, work: Any
) -> None:
    import orjson
    from sqlalchemy import select

    from app.tables import WebhookDeliveryRecord

    hook = {"url": "https://example.com/hook", "events": ["search.finished"]}
    client.post("/v1/webhooks", json=hook)
    search_id = start(evaluator="table")
    work()

    with database.read() as session:
        (body,) = session.scalars(select(WebhookDeliveryRecord.body)).all()
    told, best = orjson.loads(body)["data"], show(search_id)["best"]
    assert (told["job_id"], told["state"]) == (search_id, "done")
    assert (told["result"]["num_evaluated"], told["result"]["best_value"]) == (8, best["value"])
    assert told["result"]["best_architecture_id"] == best["architecture_id"]
