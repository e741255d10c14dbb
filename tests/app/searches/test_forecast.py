"""Searches by forecasts: alone, and with what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("champion")]

Document = dict[str, Any]


def evaluations(client: TestClient, search_id: int) -> list[Document]:
    items: list[Document] = client.get(f"/v1/searches/{search_id}/evaluations").json()["items"]
    return items


def forecasts(client: TestClient, genotypes: list[str]) -> list[float]:
    answer = client.post("/v1/tasks/digits/predictions", json={"architectures": genotypes}).json()
    return [one["mean"] for one in answer["predictions"]]


def test_a_search_on_forecasts_finds_what_is_forecast_to_be_best_and_measures_nothing(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, run_adaptations: Any
) -> None:
    some = sorted(table.genotypes)[:20]
    client.post("/v1/tasks/digits/observations", json=table.observations(table.accuracy, some))
    run_adaptations()

    search_id = start(mode="forecast", budget={"evaluations": 64})
    work()

    document, found = show(search_id), evaluations(client, search_id)
    means = forecasts(client, list(table.genotypes.values()))
    assert (document["state"], document["evaluator"], document["num_evaluated"]) == ("done", "forecast", 64)
    assert [one["value"] for one in sorted(found, key=lambda one: one["architecture_id"])] == pytest.approx(means)
    assert document["best"]["value"] == pytest.approx(max(means))
    assert {one["source"] for one in found} == {"forecast"}
    assert client.get("/v1/tasks/digits").json()["num_observations"] == 20
    assert client.get("/v1/tasks/digits/trials").json()["items"] == []


def test_a_task_whose_adaptation_is_stale_is_adapted_by_the_search_itself(
    client: TestClient, table: Any, tasks: Any, start: Any, work: Any
) -> None:
    client.post("/v1/tasks/digits/observations", json=table.observations(table.accuracy))
    assert not client.get("/v1/tasks/digits").json()["adaptation"]["is_fresh"]

    start(mode="forecast", budget={"evaluations": 1})
    work()

    adaptation = client.get("/v1/tasks/digits").json()["adaptation"]
    assert (adaptation["is_fresh"], adaptation["num_observations"]) == (True, 64)


def test_a_guided_search_measures_and_its_next_forecast_knows_what_came_out(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    some = sorted(table.genotypes)[:8]
    client.post("/v1/tasks/digits/observations", json=table.observations(table.accuracy, some))

    search_id = start(mode="guided", budget={"evaluations": 9}, parallel=3)
    known = []
    while work():
        known.append(client.get("/v1/tasks/digits").json()["adaptation"]["num_observations"])
        measure(table.accuracy)

    document, found = show(search_id), evaluations(client, search_id)
    assert (document["state"], document["num_evaluated"]) == ("done", 9)
    assert known[:3] == [8, 11, 14]
    assert {one["source"] for one in found} == {"trial"}
    assert "on the forecast" in found[0]["origin"]
    assert not {one["architecture_id"] for one in found} & set(some)


def test_a_guided_search_of_a_table_knows_only_what_it_looked_up(
    client: TestClient, observed: Any, start: Any, show: Any, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from predictor import MetaPredictor

    adapt, sizes = MetaPredictor.adapt, []

    def adapted(self: Any, task: Any, space: Any, support: Any, *rest: Any) -> Any:
        if task.metric.name == "accuracy":
            sizes.append(len(support.values))
        return adapt(self, task, space, support, *rest)

    monkeypatch.setattr(MetaPredictor, "adapt", adapted)
    search_id = start(mode="guided", evaluator="table", budget={"evaluations": 6}, parallel=2)
    work()

    assert show(search_id)["num_evaluated"] == 6
    assert sizes[-3:] == [0, 2, 4]


def test_constraints_of_a_forecast_search_go_by_forecasts_where_nothing_is_measured(
    client: TestClient, table: Any, tasks: Any, start: Any, work: Any, run_adaptations: Any
) -> None:
    some = sorted(table.genotypes)[:10]
    client.post("/v1/tasks/latency/observations", json=table.observations(table.latency_ms, some))
    run_adaptations()

    search_id = start(mode="forecast", budget={"evaluations": 64}, constraints=["latency<=8"])
    work()

    predicted = client.post(
        "/v1/tasks/latency/predictions", json={"architectures": list(table.genotypes.values())}
    ).json()["predictions"]
    means = {one["architecture_id"]: one["mean"] for one in predicted}
    for one in evaluations(client, search_id):
        id_ = one["architecture_id"]
        value = table.latency_ms(id_) if id_ in some else means[id_]
        assert one["violation"] == pytest.approx(max(0.0, value / 8 - 1), abs=1e-6)
