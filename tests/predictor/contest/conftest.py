"""A task with cells that are the same network in several notations, and contestants that can be counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from predictor.architecture import Architecture
from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.protocols import Case
from predictor.contest.contestants import Contestant
from predictor.contest.results import Result
from predictor.prediction import Predictions
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.tasks import Metric, SupportSet, Task

TASK = Task("nasbench201", "toy", Metric("accuracy", "%", "maximize"))


class Counted:
    """Forecasts the mean of what it saw, a little more for every node, and counts how often it adapted."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._mean = 0.0

    def adapt(self, task: Task, space: SearchSpace, support: SupportSet) -> Counted:
        self.sizes.append(len(support))
        self._mean = float(np.mean(support.targets)) if len(support) else 50.0
        return self

    def predict(self, architectures: Sequence[Architecture]) -> Predictions:
        mean = np.array([self._mean + one.num_nodes for one in architectures])
        ones = np.ones(len(mean))
        return Predictions(mean, ones, mean - 1.645, mean + 1.645, 0 * ones)


@pytest.fixture(scope="session")
def measured() -> BenchmarkTask:
    """600 random cells, many of them the same network."""
    space, rng = NASBench201(), np.random.default_rng(0)
    notations = tuple(dict.fromkeys(space.format(space.sample(rng)) for _ in range(600)))
    values = np.array([60.0 + 2.0 * text.count("3x3") + rng.normal() for text in notations])
    early = values / 2 + rng.normal(size=len(values))
    return BenchmarkTask(
        TASK,
        "toys",
        space,
        notations,
        np.arange(len(notations)),
        values,
        fidelities={"accuracy_1_epochs": early / 2, "accuracy_3_epochs": early},
        fidelity_levels={"accuracy_1_epochs": 1.0, "accuracy_3_epochs": 3.0},
        max_fidelity=9.0,
        params=np.arange(1.0, len(notations) + 1.0),
    )


@pytest.fixture
def case() -> Case:
    return Case("toy", TASK.name, None, ("*",), ("toys",), sizes=(0, 5, 10))


@pytest.fixture
def contestant() -> Callable[..., tuple[Contestant, Counted]]:
    """A contestant and what counts its adaptations."""

    def build(name: str = "counted", fingerprint: str = "1", least: int = 0) -> tuple[Contestant, Counted]:
        counted = Counted()
        return Contestant(name, "single-task", fingerprint, least, lambda: counted), counted

    return build


@pytest.fixture
def result() -> Callable[..., Result]:
    """A result with some fields replaced."""

    def build(**changes: object) -> Result:
        fields: dict[str, object] = {
            "protocol": "P1", "case": "a", "task": "a", "groups": "g", "contestant": "Archcast", "kind": "ours",
            "selection": "random", "seed": 0, "num_observations": 5, "num_query": 100, "fingerprint": "1",
            "kendall_tau": 0.5, "spearman_rho": 0.6, "nll": 1.0, "coverage": 0.9, "width": 2.0, "width_at_90": 2.0,
            "regret_top1": 0.1, "regret_top10": 0.0, "seconds_to_adapt": 0.1, "seconds_to_forecast": 0.01,
            "std_error_rho": 0.2, "ood_error_rho": 0.1,
        }  # fmt: skip
        return Result(**{**fields, **changes})  # type: ignore[arg-type]

    return build
