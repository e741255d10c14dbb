"""What to measure next, over HTTP: on a declared space of 64 architectures, scored as a whole, and on searched ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from app.worker import Worker

pytestmark = pytest.mark.usefixtures("champion")

Cells = list[dict[str, str]]
Ask = Callable[..., dict[str, Any]]

DEFINITION = {
    "version": 1,
    "decisions": [{"name": name, "type": "ordinal", "values": [1, 2, 4, 8]} for name in ("width", "depth", "heads")],
}
PATH = "/v1/tasks/digits/candidates"


@pytest.fixture
def small_space(client: TestClient) -> Cells:
    """Declares a space of 64 architectures; answers all of them."""
    answer = client.post("/v1/search-spaces", json={"name": "tiny", "definition": DEFINITION})
    assert answer.status_code == 201, answer.text
    assert answer.json()["size"] == 64
    drawn = client.get("/v1/search-spaces/tiny/sample?count=1000&seed=1").json()["architectures"]
    return sorted({one["id"]: one for one in drawn}.values(), key=lambda one: one["id"])


@pytest.fixture
def latency_task(post_task: Any, small_space: Cells) -> None:
    """Two tasks on the small space: accuracy (digits) and latency."""
    post_task(search_space="tiny")
    post_task(
        "digits-latency",
        search_space="tiny",
        metric={"name": "latency_ms", "unit": "ms", "direction": "minimize"},
    )


@pytest.fixture
def ask(client: TestClient) -> Ask:
    def asked(path: str = PATH, **query: Any) -> dict[str, Any]:
        answer = client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    return asked


def ids(document: dict[str, Any]) -> list[str]:
    return [one["architecture_id"] for one in document["candidates"]]


def test_the_whole_of_a_small_space_is_scored(small_space: Cells, post_task: Any, ask: Ask) -> None:
    post_task(search_space="tiny")

    document = ask(k=100)

    assert (document["method"], document["num_considered"]) == ("enumerated", 64)
    assert sorted(ids(document)) == [one["id"] for one in small_space]


def test_what_was_tried_is_not_suggested_again(small_space: Cells, post_task: Any, observe: Any, ask: Ask) -> None:
    post_task(search_space="tiny")
    observe("digits", small_space[:20], [0.5] * 20)
    observe("digits", small_space[20:30], [None] * 10, status="failed", reason="out of memory")

    document = ask(k=100)

    assert sorted(ids(document)) == [one["id"] for one in small_space[30:]]


def test_what_was_retracted_may_be_suggested_again(
    client: TestClient, small_space: Cells, post_task: Any, observe: Any, ask: Ask
) -> None:
    post_task(search_space="tiny")
    posted = observe("digits", small_space[:1], [0.5])["observations"][0]
    client.post(f"/v1/tasks/digits/observations/{posted['id']}/retraction", json={"reason": "wrong data"})

    assert small_space[0]["id"] in ids(ask(k=100))


def test_without_diversity_the_best_forecasts_come_first(small_space: Cells, post_task: Any, ask: Ask) -> None:
    post_task(search_space="tiny")

    means = [one["mean"] for one in ask(k=64, acquisition="mean", diversity=0)["candidates"]]

    assert means == sorted(means, reverse=True)


def test_the_best_of_a_metric_to_be_minimized_are_the_smallest(latency_task: None, ask: Ask) -> None:
    document = ask("/v1/tasks/digits-latency/candidates", k=64, acquisition="mean", diversity=0)

    means = [one["mean"] for one in document["candidates"]]
    assert means == sorted(means)


def test_optimism_counts_standard_deviations(small_space: Cells, post_task: Any, ask: Ask) -> None:
    post_task(search_space="tiny")

    for one in ask(k=5, acquisition="ucb", kappa=2.0, diversity=0)["candidates"]:
        assert one["acquisition_value"] == pytest.approx(one["mean"] + 2.0 * one["std"])


@pytest.mark.parametrize("acquisition", ["ucb", "ei", "thompson", "mean"])
def test_the_same_seed_gives_the_same_answer(
    small_space: Cells, post_task: Any, observe: Any, ask: Ask, acquisition: str
) -> None:
    post_task(search_space="tiny")
    observe("digits", small_space[:8], [0.1 * number for number in range(8)])

    first = ask(acquisition=acquisition)

    assert ask(acquisition=acquisition, seed=first["seed"]) == first


def test_different_seeds_draw_differently(small_space: Cells, post_task: Any, ask: Ask) -> None:
    post_task(search_space="tiny")

    assert ids(ask(acquisition="thompson", seed=1)) != ids(ask(acquisition="thompson", seed=2))


def test_measured_values_decide_about_a_constraint(
    small_space: Cells, latency_task: None, observe: Any, ask: Ask
) -> None:
    observe("digits-latency", small_space, [float(number) for number in range(64)])

    document = ask(k=10, constraint="latency_ms < 10")

    assert sorted(ids(document)) == sorted(one["id"] for one in small_space[:10])
    assert document["num_feasible"] == 10
    for one in document["candidates"]:
        (constraint,) = one["constraints"]
        assert (constraint["task"], constraint["is_measured"], constraint["std"]) == ("digits-latency", True, 0.0)
        assert constraint["probability"] == 1.0


def test_forecasts_decide_where_nothing_was_measured(small_space: Cells, latency_task: None, ask: Ask) -> None:
    document = ask(k=64, constraint=["latency_ms <= 1000000", "digits-latency > 0"])

    for one in document["candidates"]:
        assert [constraint["is_measured"] for constraint in one["constraints"]] == [False, False]
        assert all(0.0 <= constraint["probability"] <= 1.0 for constraint in one["constraints"])


def test_the_most_probable_follow_when_too_few_are_feasible(
    small_space: Cells, latency_task: None, observe: Any, ask: Ask
) -> None:
    observe("digits-latency", small_space, [float(number) for number in range(64)])

    candidates = ask(k=5, constraint="latency_ms<2")["candidates"]

    assert [one["constraints"][0]["probability"] for one in candidates] == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_an_unknown_metric_is_refused_with_those_that_are_known(client: TestClient, latency_task: None) -> None:
    answer = client.get(PATH, params={"constraint": "energy_mj<=3"})

    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert "accuracy, digits, digits-latency, latency_ms" in detail
    assert "got 'energy_mj'" in detail


def test_a_metric_of_several_tasks_has_to_be_named(client: TestClient, latency_task: None, post_task: Any) -> None:
    metric = {"name": "latency_ms", "unit": "ms", "direction": "minimize"}
    post_task("phone-latency", search_space="tiny", metric=metric, device="phone")
    post_task("other-latency", search_space="tiny", metric=metric, device="other", dataset="wine")

    chosen = client.get(PATH, params={"constraint": "latency_ms<=3"})  # the one without a device, as the task itself
    refused = client.get("/v1/tasks/other-latency/candidates", params={"constraint": "accuracy<=3"})

    assert chosen.json()["candidates"][0]["constraints"][0]["task"] == "digits-latency"
    assert refused.status_code == 200


@pytest.mark.parametrize(
    "query", [{"k": 0}, {"acquisition": "luck"}, {"kappa": -1}, {"diversity": -1}, {"constraint": "x"}, {"pool": 1}]
)
def test_wrong_questions_are_refused(
    client: TestClient, small_space: Cells, post_task: Any, query: dict[str, Any]
) -> None:
    post_task(search_space="tiny")

    assert client.get(PATH, params=query).status_code == 422


def test_while_a_new_adaptation_is_scored_the_one_before_answers(
    app: FastAPI, small_space: Cells, post_task: Any, observe: Any, ask: Ask, run_adaptations: Any, worker: Worker
) -> None:
    post_task(search_space="tiny")
    observe("digits", small_space[:4], [0.1, 0.2, 0.3, 0.4])
    run_adaptations()
    assert ask()["num_observations"] == 4
    service, is_scoring, may_go_on = app.state.candidates, threading.Event(), threading.Event()
    scored = service._pools.scored

    def slowly(served: Any) -> Any:
        if served.num_observations == 5:
            is_scoring.set()
            assert may_go_on.wait(60.0)
        return scored(served)

    service._pools.scored = slowly
    observe("digits", small_space[4:5], [0.5])
    while worker.run_one(["adapt"]):
        pass
    with ThreadPoolExecutor(1) as thread:
        noticed = thread.submit(app.state.inference.refresh)
        assert is_scoring.wait(60.0)
        meanwhile = ask()
        may_go_on.set()
        noticed.result(60.0)

    assert (meanwhile["num_observations"], meanwhile["is_fresh"]) == (4, False)
    assert small_space[4]["id"] not in ids(meanwhile)  # what was measured is known at once
    afterwards = ask()
    assert (afterwards["num_observations"], afterwards["is_fresh"]) == (5, True)


def test_an_unknown_task_is_not_found(client: TestClient) -> None:
    assert client.get(PATH).status_code == 404


def test_a_large_space_is_searched(post_task: Any, cells: Cells, observe: Any, ask: Ask) -> None:
    post_task(search_space="nasbench201")
    observe("digits", cells[:10], [0.1 * number for number in range(10)])

    document = ask(k=8, pool=50, seed=1)

    assert document["method"] == "searched"
    assert document["best_measured"] == pytest.approx(0.9)
    assert len(set(ids(document))) == 8
    assert not set(ids(document)) & {cell["id"] for cell in cells[:10]}


def test_the_search_finds_better_forecasts_than_sampling(
    client: TestClient, post_task: Any, cells: Cells, observe: Any, ask: Ask
) -> None:
    post_task(search_space="nasbench201")
    drawn = client.get("/v1/search-spaces/nasbench201/sample?count=50&seed=5").json()["architectures"]
    body = {"architectures": [one["genotype"] for one in drawn]}
    sampled = client.post("/v1/tasks/digits/predictions", json=body).json()["predictions"]

    found = ask(k=1, pool=50, acquisition="mean", diversity=0, seed=1)["candidates"][0]

    assert found["mean"] >= max(one["mean"] for one in sampled)
