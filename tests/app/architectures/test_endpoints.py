"""/v1/architectures/{id}."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from app.errors import NotReadyError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

both_engines = pytest.mark.both_engines

PostTask = Callable[..., dict[str, Any]]
Cells = list[dict[str, str]]


class ForecastsOf:
    """Stands for inference: one forecast for every task, or none at all."""

    def __init__(self, client: TestClient, forecast: object | None) -> None:
        self._client, self._forecast = client, forecast
        self.forecaster = self

    def refresh(self) -> None:
        """Nothing ever changes here."""

    def load(self, task_name: str) -> Any:
        from types import SimpleNamespace

        from app.inference import search_space

        if self._forecast is None:
            raise NotReadyError("expected a champion, got none")
        task = self._client.get(f"/v1/tasks/{task_name}").json()
        return SimpleNamespace(
            name=task["name"],
            space=search_space(task["search_space"]),
            task=SimpleNamespace(metric=SimpleNamespace(**task["metric"])),
            model_version="v" * 32,
            num_observations=task["num_observations"],
            is_fresh=True,
        )

    def forecast(self, served: object, parsed: list[Any]) -> list[Any]:
        return [self._forecast] * len(parsed)


@pytest.fixture
def with_forecasts(client: TestClient, replace_state: Callable[[str, object], None]) -> Callable[[object | None], None]:
    return lambda forecast: replace_state("inference", ForecastsOf(client, forecast))


@both_engines
def test_an_architecture_shows_its_graph_and_its_notations(
    client: TestClient, post_task: PostTask, cells: Cells, with_forecasts: Callable[[object | None], None]
) -> None:
    with_forecasts(None)
    post_task()
    client.post("/v1/tasks/digits/observations", json={"architecture": cells[0]["genotype"], "value": 0.9})

    shown = client.get(f"/v1/architectures/{cells[0]['id']}").json()

    assert shown["id"] == cells[0]["id"]
    assert shown["notations"] == [{"search_space": "nasbench201", "genotype": cells[0]["genotype"]}]
    valid = client.post("/v1/search-spaces/nasbench201/validate", json={"architectures": [shown["graph"]]}).json()
    assert valid["results"][0]["id"] == cells[0]["id"]


@both_engines
def test_an_architecture_shows_its_current_observations_over_all_tasks(
    client: TestClient, post_task: PostTask, cells: Cells, with_forecasts: Callable[[object | None], None]
) -> None:
    with_forecasts(None)
    post_task("first")
    post_task("second")
    ids = []
    for task, value in [("first", 0.1), ("first", 0.2), ("second", 0.3)]:
        body = {"architecture": cells[0]["genotype"], "value": value}
        ids.append(client.post(f"/v1/tasks/{task}/observations", json=body).json()["observations"][0]["id"])
    client.post(f"/v1/tasks/first/observations/{ids[0]}/retraction", json={"reason": "r"})

    shown = client.get(f"/v1/architectures/{cells[0]['id']}").json()["observations"]

    assert [(one["task"], one["value"]) for one in shown] == [("second", 0.3), ("first", 0.2)]


@both_engines
def test_an_architecture_shows_its_forecasts_over_the_tasks_of_its_search_spaces(
    client: TestClient, post_task: PostTask, cells: Cells, with_forecasts: Callable[[object | None], None]
) -> None:
    from app.inference import Forecast

    with_forecasts(Forecast(0.5, 0.1, 0.3, 0.7, 0.2, 0.0, 1.0))
    post_task("measured")
    post_task("unmeasured")
    post_task("elsewhere", search_space="graph")
    client.post("/v1/tasks/measured/observations", json={"architecture": cells[0]["genotype"], "value": 0.9})

    forecasts = client.get(f"/v1/architectures/{cells[0]['id']}").json()["forecasts"]

    assert [one["task"] for one in forecasts] == ["unmeasured", "measured"]
    assert [(one["mean"], one["lower"], one["upper"], one["ood_score"]) for one in forecasts] == [
        (0.5, 0.3, 0.7, 0.2)
    ] * 2


@both_engines
def test_what_was_measured_is_shown_without_a_champion(
    client: TestClient, post_task: PostTask, cells: Cells, with_forecasts: Callable[[object | None], None]
) -> None:
    with_forecasts(None)
    post_task()
    client.post("/v1/tasks/digits/observations", json={"architecture": cells[0]["genotype"], "value": 0.9})

    answer = client.get(f"/v1/architectures/{cells[0]['id']}")

    assert (answer.status_code, answer.json()["forecasts"], len(answer.json()["observations"])) == (200, [], 1)


@pytest.mark.parametrize("architecture", ["f" * 32, "x", "%00", "F" * 32, "1" * 5000])
def test_an_unknown_architecture_is_not_found(client: TestClient, architecture: str) -> None:
    answer = client.get(f"/v1/architectures/{architecture}")

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
