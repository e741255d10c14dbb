"""What is learned from several search spaces, asked in another one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from predictor.architecture import Architecture
from predictor.encoding import COMPLEXITIES, ArchitectureEncoder, work_of
from predictor.meta.episodes import TaskPool, space_reference
from predictor.meta.universal_fitting import fit_universal_mean
from predictor.search_spaces.registry import search_space
from predictor.surrogate.standardisation import normal_scores
from predictor.surrogate.universal_mean import UniversalMean
from predictor.tasks import Direction, Metric, Task

Value = Callable[[Architecture], float]


def pool(space_name: str, metric: Metric, value: Value, encoder: ArchitectureEncoder, count: int = 150) -> TaskPool:
    space = search_space(space_name)
    drawn = [space.sample(np.random.default_rng(number)) for number in range(count)]
    values = np.array([value(one) for one in drawn])
    task = Task(space_name, "toy", metric)
    return TaskPool(task, space_name, encoder.batch(drawn), space_reference(space, encoder), values)


def said(universal: UniversalMean, asked: TaskPool) -> torch.Tensor:
    mean = universal.of(asked.task.metric.family)
    assert mean is not None
    return mean.learned(asked.reference.normal_scores(asked.graphs.globals))


def test_it_ranks_architectures_of_a_space_that_it_never_saw(convolutions: Value) -> None:
    encoder, accuracy = ArchitectureEncoder(), Metric("accuracy", "%", "maximize")
    learned = [pool(name, accuracy, convolutions, encoder) for name in ("nasbench201", "nasbench101")]
    asked = pool("transnas_micro", accuracy, convolutions, encoder)

    universal = fit_universal_mean(learned)

    assert np.corrcoef(said(universal, asked).numpy(), asked.values)[0, 1] > 0.8


def test_it_is_better_that_costs_are_small(convolutions: Value) -> None:
    encoder, latency = ArchitectureEncoder(), Metric("latency_ms", "ms", "minimize")
    learned = [pool(name, latency, convolutions, encoder) for name in ("nasbench201", "nasbench101")]

    universal = fit_universal_mean(learned)

    assert np.corrcoef(said(universal, learned[0]).numpy(), learned[0].values)[0, 1] < -0.8


@pytest.mark.parametrize(
    ("name", "direction", "sign"), [("accuracy", "maximize", 1.0), ("latency_ms", "minimize", -1.0)]
)
def test_by_work_is_the_line_that_errs_least(convolutions: Value, name: str, direction: Direction, sign: float) -> None:
    """Here convolutions are all that counts, and the work of cells."""
    encoder, metric = ArchitectureEncoder(), Metric(name, "", direction)
    learned = [pool(space, metric, convolutions, encoder) for space in ("nasbench201", "nasbench101", "transnas_micro")]

    mean = fit_universal_mean(learned).of(metric.family)

    assert mean is not None
    assert mean.num_spaces == 3
    assert 0.5 < sign * mean.work_weight < 1.0
    scores = torch.cat([one.reference.normal_scores(one.graphs.globals) for one in learned])
    goodness = np.concatenate([normal_scores(sign * one.values) for one in learned])
    work = work_of(scores).double().numpy()
    errors = [
        float(np.square(goodness - weight * work).sum()) for weight in mean.work_weight + np.array([-0.02, 0.0, 0.02])
    ]
    assert errors[1] < min(errors[0], errors[2])


def test_what_work_leaves_over_is_not_learned_from_work(convolutions: Value) -> None:
    encoder, accuracy = ArchitectureEncoder(), Metric("accuracy", "%", "maximize")
    pools = [pool(name, accuracy, convolutions, encoder) for name in ("nasbench201", "nasbench101")]

    mean = fit_universal_mean(pools).of("accuracy")

    assert mean is not None
    asked = pools[0].reference.normal_scores(pools[0].graphs.globals)
    other = asked.clone()
    other[:, COMPLEXITIES] = other[:, COMPLEXITIES].flip(0)
    apart = [mean.learned(scores) - mean.by_work(scores) for scores in (asked, other)]
    torch.testing.assert_close(*apart, atol=1e-5, rtol=1e-5)
    assert float(apart[0].std()) > 0.05


def test_what_one_space_alone_measured_is_not_universal(convolutions: Value) -> None:
    encoder = ArchitectureEncoder()
    accuracy, energy = Metric("accuracy", "%", "maximize"), Metric("energy_mj", "mJ", "minimize")
    pools = [pool(name, accuracy, convolutions, encoder, 40) for name in ("nasbench201", "nasbench101")]
    pools.append(pool("nasbench201", energy, convolutions, encoder, 40))
    progress: list[float] = []

    universal = fit_universal_mean(pools, on_progress=progress.append)

    assert set(universal.sizes) == {"accuracy"}
    assert progress == [0.5, 1.0]
    assert fit_universal_mean([]).sizes == {}


def test_every_space_counts_alike(convolutions: Value) -> None:
    """A hundred tasks of one space that say the opposite do not outvote another."""
    encoder, accuracy = ArchitectureEncoder(), Metric("accuracy", "%", "maximize")
    agreeing = pool("nasbench201", accuracy, convolutions, encoder)
    opposite = pool("nasbench101", accuracy, lambda one: -convolutions(one), encoder)

    few, many = (fit_universal_mean([agreeing, *[opposite] * count]) for count in (1, 20))

    correlations = [float(np.corrcoef(said(one, agreeing).numpy(), agreeing.values)[0, 1]) for one in (few, many)]
    assert correlations[0] == pytest.approx(correlations[1], abs=0.2)
