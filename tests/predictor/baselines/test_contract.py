"""What every baseline keeps, whatever it does inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from predictor.baselines.base import Baseline
from predictor.benchmarks.base import BenchmarkTask
from predictor.errors import InvalidSupportSetError
from predictor.prediction import Predictions
from predictor.scoring import kendall_tau
from predictor.search_spaces.registry import search_space
from predictor.tasks import Metric, SupportSet, Task

from .conftest import drawn

SINGLE_TASK = ("ridge", "random_forest", "xgboost", "gaussian_process", "wl_process", "bananas")
FROM_NOTHING = ("parameters", "source_mean", "source_ridge", "universal_prior", "maml", "meta_sgd", "anil")
EVERY = (*SINGLE_TASK, "fsbo", *FROM_NOTHING)


@pytest.fixture(params=EVERY)
def baseline(request: pytest.FixtureRequest, baselines: Mapping[str, Baseline]) -> Baseline:
    return baselines[request.param]


def assert_sound(found: Predictions, count: int) -> None:
    for name in ("mean", "std", "lower", "upper", "ood_score"):
        values = getattr(found, name)
        assert values.shape == (count,)
        assert np.isfinite(values).all()
    assert (found.lower <= found.mean).all()
    assert (found.mean <= found.upper).all()
    assert (found.std >= 0).all()


def test_the_list_is_complete(baselines: Mapping[str, Baseline]) -> None:
    assert set(EVERY) == set(baselines)


def test_forecasts_are_finite_and_inside_their_intervals(baseline: Baseline, target: BenchmarkTask) -> None:
    support, asked = drawn(target, 15)

    found = baseline.adapt(target.task, target.space, support).predict([target.architectures[row] for row in asked])

    assert_sound(found, len(asked))
    assert ((found.lower < found.upper) | (found.lower == 100)).all()  # all of it may lie beyond what is possible
    assert (found.lower >= 0).all()
    assert (found.upper <= 100).all()


def test_two_observations_are_enough(baseline: Baseline, target: BenchmarkTask) -> None:
    support, asked = drawn(target, 2)

    found = baseline.adapt(target.task, target.space, support).predict([target.architectures[row] for row in asked])

    assert_sound(found, len(asked))


def test_too_few_observations_are_refused(baseline: Baseline, target: BenchmarkTask) -> None:
    too_few = SupportSet() if baseline.min_observations else None
    if too_few is None:
        assert_sound(baseline.adapt(target.task, target.space, SupportSet()).predict(target.architectures[:5]), 5)
        return

    with pytest.raises(InvalidSupportSetError, match=f"{baseline.name}: expected at least 2 observations, got 0"):
        baseline.adapt(target.task, target.space, too_few)


def test_constant_values_are_forecast_as_they_are(baseline: Baseline, target: BenchmarkTask) -> None:
    support, asked = drawn(target, 12)
    constant = replace(support, values=(50.0,) * len(support))

    found = baseline.adapt(target.task, target.space, constant).predict([target.architectures[row] for row in asked])

    assert_sound(found, len(asked))
    assert (found.lower <= 50.0 + 1e-6).all()
    assert (found.upper >= 50.0 - 1e-6).all()


def test_an_architecture_may_be_measured_twice(baseline: Baseline, target: BenchmarkTask) -> None:
    support, asked = drawn(target, 6)
    twice = support.select([0, 0, 0, 1, 2, 3, 4, 5, 5])

    found = baseline.adapt(target.task, target.space, twice).predict([target.architectures[row] for row in asked])

    assert_sound(found, len(asked))


def test_the_order_of_questions_does_not_matter(baseline: Baseline, target: BenchmarkTask) -> None:
    support, asked = drawn(target, 10)
    architectures = [target.architectures[row] for row in asked]
    adapted = baseline.adapt(target.task, target.space, support)

    forwards, backwards = adapted.predict(architectures), adapted.predict(architectures[::-1])

    np.testing.assert_allclose(forwards.mean, backwards.mean[::-1], rtol=1e-4)
    np.testing.assert_allclose(forwards.upper, backwards.upper[::-1], rtol=1e-4)


def test_nobody_asked_nobody_answered(baseline: Baseline, target: BenchmarkTask) -> None:
    support, _ = drawn(target, 5)

    assert len(baseline.adapt(target.task, target.space, support).predict([])) == 0


def test_the_same_observations_give_the_same_forecasts(baseline: Baseline, target: BenchmarkTask) -> None:
    support, asked = drawn(target, 10)
    architectures = [target.architectures[row] for row in asked]
    other, _ = drawn(target, 20, seed=1)

    first = baseline.adapt(target.task, target.space, support).predict(architectures)
    baseline.adapt(target.task, target.space, other).predict(architectures[:3])
    second = baseline.adapt(target.task, target.space, support).predict(architectures)

    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.std, second.std)


def test_forecasts_of_measured_cells_are_better_than_chance(baseline: Baseline, target: BenchmarkTask) -> None:
    taus = []
    for seed in range(2):
        support, asked = drawn(target, 50, seed)
        adapted = baseline.adapt(target.task, target.space, support)
        found = adapted.predict([target.architectures[row] for row in asked])
        taus.append(kendall_tau(found.mean, target.values[asked]))

    assert np.mean(taus) > 0.15  # chance over twice a hundred cells stays below .1


def test_a_minimised_metric_is_forecast_as_the_mirror_image_of_a_maximised_one(
    baseline: Baseline, target: BenchmarkTask
) -> None:
    support, asked = drawn(target, 15)
    architectures = [target.architectures[row] for row in asked]
    gap = replace(target.task, metric=Metric("accuracy_gap", "%", "minimize"))
    gaps = replace(support, values=tuple(100.0 - value for value in support.values))

    accuracy = baseline.adapt(target.task, target.space, support).predict(architectures)
    mirrored = baseline.adapt(gap, target.space, gaps).predict(architectures)

    rounding = (
        2.0 if baseline.name == "random_forest" else 1e-3
    )  # last digits decide which of two equal splits a tree takes
    np.testing.assert_allclose(mirrored.mean, 100.0 - accuracy.mean, atol=rounding)
    np.testing.assert_allclose(mirrored.lower, 100.0 - accuracy.upper, atol=rounding)


def test_times_are_forecast_above_zero(baseline: Baseline, cells: Mapping[str, BenchmarkTask]) -> None:
    seconds = cells["nasbench201/digits/train_seconds/cpu"]
    support, asked = drawn(seconds, 15)

    adapted = baseline.adapt(seconds.task, seconds.space, support)
    found = adapted.predict([seconds.architectures[row] for row in asked])

    assert_sound(found, len(asked))
    assert (found.lower > 0).all()


@pytest.mark.parametrize("name", ["graph", "fbnet", "nasbench101"])
def test_any_search_space_can_be_asked_about(baseline: Baseline, target: BenchmarkTask, name: str) -> None:
    space, rng = search_space(name), np.random.default_rng(0)
    architectures = tuple(space.sample(rng) for _ in range(25))
    support = SupportSet(architectures[:20], tuple(rng.uniform(80, 90, 20).tolist()), (1,) * 20)

    found = baseline.adapt(Task(name, "anything", target.task.metric), space, support).predict(architectures[10:])

    assert_sound(found, 15)
