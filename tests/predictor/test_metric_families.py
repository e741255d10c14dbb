"""One thing told as different metrics: the shipped version forecasts it alike, in the metric's own direction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.registry import read_all
from predictor.champion import shipped_champion
from predictor.meta_predictor import MetaPredictor
from predictor.scoring import kendall_tau
from predictor.surrogate.surrogate import task_context
from predictor.tasks import Metric, SupportSet, Task

NUM_ASKED = 200


@pytest.fixture(scope="module")
def champion() -> MetaPredictor:
    return MetaPredictor.load(shipped_champion())


@pytest.fixture(scope="module")
def digits() -> BenchmarkTask:
    """300 cells that were really trained; they took no part in meta-training."""
    tasks = read_all(None, max_architectures_per_task=300)
    return next(one for one in tasks if one.task.name == "nasbench201/digits/accuracy")


def forecasts(
    champion: MetaPredictor, digits: BenchmarkTask, metric: Metric, values: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    known = range(NUM_ASKED, NUM_ASKED + count)
    support = SupportSet(
        tuple(digits.architectures[row] for row in known), tuple(float(values[row]) for row in known), (1,) * count
    )
    task = replace(digits.task, metric=metric)
    return champion.adapt(task, digits.space, support).predict(digits.architectures[:NUM_ASKED]).mean


@pytest.mark.parametrize("count", [0, 5, 20])
@pytest.mark.parametrize(
    ("metric", "sign"),
    [
        (Metric("test_error", "%", "minimize"), -1.0),
        (Metric("validation_loss", "nats", "minimize"), -1.0),
        (Metric("goodness_of_my_own", "", "maximize"), 1.0),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_quality_told_in_other_words_is_ranked_as_accuracy_is(champion, digits, metric, sign, count) -> None:
    accuracy = forecasts(champion, digits, digits.task.metric, digits.values, count)

    told = forecasts(champion, digits, metric, sign * digits.values + 100.0, count)

    assert kendall_tau(sign * told, accuracy) > 0.97
    assert (
        kendall_tau(sign * told, digits.values[:NUM_ASKED]) > 0.45
    )  # whatever is told, it is right about what is good


def test_an_unknown_metric_that_is_minimised_is_told_as_what_it_is() -> None:
    """Nobody knows whether it is an error or a cost."""
    unknown = Metric("power_w", "W", "minimize")

    context = task_context(Task("s", "d", unknown), 5)

    assert unknown.told_as == unknown.family == "other"
    for name, direction in (("accuracy", "maximize"), ("latency_ms", "minimize")):
        assert not torch.equal(context, task_context(Task("s", "d", Metric(name, "", direction)), 5))


def test_how_large_a_network_is_is_told_as_what_it_takes() -> None:
    size, latency = Metric("params", "M", "minimize"), Metric("latency_ms", "ms", "minimize")

    first, second = (task_context(Task("nasbench201", "toy", metric), 5) for metric in (size, latency))

    assert torch.equal(first, second)


def test_families_that_many_tasks_have_are_told_apart() -> None:
    names = ("accuracy", "latency_ms", "energy_mj", "throughput", "train_seconds")

    told = {tuple(task_context(Task("s", "d", Metric(name, "", "maximize")), 5).tolist()) for name in names}

    assert len(told) == len(names)
