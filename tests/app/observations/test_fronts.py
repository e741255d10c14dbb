"""The measured Pareto front of several tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

Cells = list[dict[str, str]]
Do = Callable[..., Any]


@pytest.fixture
def measure(client: TestClient, cells: Cells) -> Do:
    """Posts values of the first cells to a task; None: not measured."""

    def post(task: str, values: list[float | None], **fields: Any) -> None:
        rows = [
            {"architecture": cell["genotype"], "value": value, **fields}
            for cell, value in zip(cells, values, strict=False)
            if value is not None
        ]
        assert client.post(f"/v1/tasks/{task}/observations", json={"observations": rows}).status_code == 201

    return post


@pytest.fixture
def two_tasks(post_task: Do) -> None:
    post_task("accuracy")
    post_task("latency", metric={"name": "latency", "unit": "ms", "direction": "minimize"})


@pytest.mark.both_engines
@pytest.mark.usefixtures("two_tasks")
def test_the_front_respects_both_directions(client: TestClient, measure: Do, cells: Cells, engine: str) -> None:
    measure("accuracy", [0.9, 0.8, 0.7, 0.95, 0.99])
    measure("latency", [3.0, 2.0, 2.5, 9.0, None])

    front = client.get("/v1/pareto?tasks=accuracy,latency").json()

    assert [item["architecture_id"] for item in front["items"]] == [cells[i]["id"] for i in (3, 0, 1)]
    assert [value["mean"] for value in front["items"][0]["values"]] == [0.95, 9.0]
    assert front["num_measured"] == 4
    assert [task["direction"] for task in front["tasks"]] == ["maximize", "minimize"]
    assert front["items"][0]["genotype"] == cells[3]["genotype"]


@pytest.mark.usefixtures("two_tasks")
def test_repeated_measurements_count_by_their_mean(client: TestClient, measure: Do, cells: Cells) -> None:
    measure("accuracy", [0.9, 0.85])
    measure("accuracy", [0.7])  # the first cell's mean is 0.8 now
    measure("latency", [3.0, 3.0])

    front = client.get("/v1/pareto?tasks=accuracy,latency").json()

    assert [item["architecture_id"] for item in front["items"]] == [cells[1]["id"]]


@pytest.mark.usefixtures("two_tasks")
def test_without_common_measurements_the_front_is_empty(client: TestClient, measure: Do) -> None:
    measure("accuracy", [0.9])

    assert client.get("/v1/pareto?tasks=accuracy,latency").json()["items"] == []


@pytest.mark.usefixtures("two_tasks")
@pytest.mark.parametrize(
    ("tasks", "status", "said"),
    [
        ("accuracy", 422, "expected 2 to 8 tasks, got 1"),
        ("accuracy,accuracy", 422, "expected different tasks"),
        ("accuracy,other", 422, "tasks of darts and nasbench201"),
        ("accuracy,nowhere", 404, "nowhere"),
        ("accuracy,", 404, "expected the name"),
    ],
)
def test_what_has_no_front_is_refused(client: TestClient, post_task: Do, tasks: str, status: int, said: str) -> None:
    post_task("other", search_space="darts")

    answer = client.get(f"/v1/pareto?tasks={tasks}")

    assert answer.status_code == status
    assert said in answer.json()["detail"]


@pytest.mark.parametrize("num_columns", [2, 3])
def test_the_front_is_what_comparing_all_pairs_says(num_columns: int) -> None:
    from app.observations.fronts import non_dominated

    points = np.random.default_rng(num_columns).integers(0, 8, size=(200, num_columns)).astype(float)  # with many ties

    front = non_dominated(points)

    beaten = [any((q <= p).all() and (q < p).any() for q in points) for p in points]
    assert sorted(front) == [index for index, is_beaten in enumerate(beaten) if not is_beaten]
    assert list(points[front, 0]) == sorted(points[front, 0])
