from __future__ import annotations

import json
from types import ModuleType

import httpx
import numpy as np
import pytest
from script_modules import load_script

from predictor.benchmarks.base import BenchmarkTask
from predictor.search_spaces.registry import declared_search_space, search_space
from predictor.tasks import Metric, Task


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("import_benchmark")


def macro_task(num_architectures: int = 3, dataset: str = "cifar10") -> BenchmarkTask:
    return BenchmarkTask(
        task=Task("nasbench_macro", dataset, Metric("accuracy", "%", "maximize")),
        group="nasbench_macro",
        space=search_space("nasbench_macro"),
        notations=tuple(np.base_repr(number, 3).zfill(8) for number in range(num_architectures)),
        rows=np.arange(num_architectures) + 100,
        values=np.linspace(80.0, 90.0, num_architectures),
        max_fidelity=50.0,
    )


class RecordingService:
    """Answers like the service and keeps what was posted."""

    def __init__(self, statuses: dict[str, int] | None = None) -> None:
        self.posted: list[tuple[str, dict]] = []
        self._statuses = statuses or {}

    def client(self) -> httpx.Client:
        return httpx.Client(base_url="http://service", transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.posted.append((request.url.path, json.loads(request.content)))
        return httpx.Response(self._statuses.get(request.url.path, 201), json={"detail": "as told"})


def test_a_task_and_its_observations_are_posted(script) -> None:
    service = RecordingService()

    with service.client() as client:
        posted = script.import_tasks(client, [macro_task()], show_progress=False)

    assert posted == 3
    (task_path, task), (observations_path, body) = service.posted
    assert task_path == "/v1/tasks"
    assert task == {
        "name": "nasbench_macro.cifar10.accuracy",
        "search_space": "nasbench_macro",
        "dataset": "cifar10",
        "metric": {"name": "accuracy", "unit": "%", "direction": "maximize"},
        "device": None,
        "max_fidelity": 50.0,
        "metadata": {"benchmark": "nasbench_macro"},
    }
    assert observations_path == "/v1/tasks/nasbench_macro.cifar10.accuracy/observations"
    assert body["observations"][1] == {
        "architecture": "00000001",
        "value": 85.0,
        "client_key": "nasbench_macro/101",
    }


def test_batches_hold_at_most_5000_observations_and_all_of_them_once(script) -> None:
    task = macro_task(6_561)

    batches = list(script.observation_batches(task))

    assert [len(batch) for batch in batches] == [5_000, 1_561]
    assert len({observation["client_key"] for batch in batches for observation in batch}) == 6_561


def test_a_task_that_is_there_already_gets_its_observations_all_the_same(script) -> None:
    service = RecordingService({"/v1/tasks": 409})

    with service.client() as client:
        script.import_tasks(client, [macro_task()], show_progress=False)

    assert [path for path, _ in service.posted][-1] == "/v1/tasks/nasbench_macro.cifar10.accuracy/observations"


def test_observations_that_are_refused_end_the_import_with_the_answer(script) -> None:
    service = RecordingService({"/v1/tasks/nasbench_macro.cifar10.accuracy/observations": 409})

    with service.client() as client, pytest.raises(httpx.HTTPStatusError, match=r"answered with 409: .*as told"):
        script.import_tasks(client, [macro_task()], show_progress=False)


def test_a_declared_space_is_posted_before_its_task(script) -> None:
    definition = {"version": 1, "decisions": [{"name": "depth", "type": "integer", "low": 1, "high": 4}]}
    task = BenchmarkTask(
        task=Task("towers", "digits", Metric("accuracy", "%", "maximize")),
        group="towers",
        space=declared_search_space("towers", definition),
        notations=('{"depth": 2}',),
        rows=np.array([0]),
        values=np.array([50.0]),
        definition=definition,
    )
    service = RecordingService()

    with service.client() as client:
        script.import_tasks(client, [task], show_progress=False)

    assert service.posted[0] == ("/v1/search-spaces", {"name": "towers", "definition": definition})
    assert service.posted[1][0] == "/v1/tasks"


def test_tasks_are_chosen_by_either_name(script) -> None:
    tasks = [macro_task(), macro_task(dataset="svhn")]

    assert script.chosen_tasks(tasks, None) == tasks
    assert script.chosen_tasks(tasks, ["nasbench_macro.svhn.accuracy"]) == [tasks[1]]
    assert script.chosen_tasks(tasks, ["nasbench_macro/cifar10/accuracy"]) == [tasks[0]]


def test_a_task_that_the_table_does_not_have_ends_the_script(script) -> None:
    with pytest.raises(SystemExit, match=r"expected tasks among nasbench_macro\.cifar10\.accuracy, got svhn"):
        script.chosen_tasks([macro_task()], ["svhn"])
