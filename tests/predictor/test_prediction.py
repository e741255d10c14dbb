from __future__ import annotations

import numpy as np
import pytest

from predictor import Metric, Observation, SupportSet, Task, shipped_champion
from predictor.acquisition import ACQUISITIONS, acquisition_values
from predictor.meta_predictor import MetaPredictor
from predictor.prediction import NORMAL_90, Predictions
from predictor.search_spaces.nasbench201 import NASBench201


class Bent:
    """Goodness of errors: their logarithm, turned."""

    def forward(self, values: np.ndarray) -> np.ndarray:
        return -np.log(values)


def forecasts_of_errors(center: np.ndarray, spread: np.ndarray) -> Predictions:
    """Log-normal: in their own unit they reach far to the worse side."""
    best, worst = np.exp(-(center + NORMAL_90 * spread)), np.exp(-(center - NORMAL_90 * spread))
    mean = np.exp(-center + 0.5 * spread**2)
    std = mean * np.sqrt(np.expm1(spread**2))
    return Predictions(mean, std, best, worst, np.zeros(len(center)), (center, spread), Bent())


def test_forecasts_are_normal_on_their_scale() -> None:
    center, spread = np.array([0.0, 1.0, -2.0]), np.array([0.5, 0.1, 2.0])

    found = forecasts_of_errors(center, spread).normal(-1.0)

    np.testing.assert_allclose(found[0], center, atol=1e-12)
    np.testing.assert_allclose(found[1], spread, atol=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_without_a_scale_goodness_is_the_metric_turned(sign) -> None:
    mean, std = np.array([1.0, 2.0]), np.array([0.5, 0.25])
    plain = Predictions(mean, std, mean - std, mean + std, np.zeros(2))

    np.testing.assert_array_equal(plain.normal(sign)[0], sign * mean)
    np.testing.assert_array_equal(plain.normal(sign)[1], std)
    np.testing.assert_array_equal(plain.placed(mean, sign), sign * mean)


def test_measured_values_lie_on_the_same_scale() -> None:
    predictions = forecasts_of_errors(np.zeros(1), np.ones(1))

    np.testing.assert_allclose(predictions.placed(np.array([1.0, np.e]), -1.0), [0.0, -1.0])
    assert float(predictions.placed(np.array(np.e), -1.0)) == pytest.approx(-1.0)


def test_what_is_promised_lies_within_what_forecasts_reach() -> None:
    predictions = forecasts_of_errors(np.array([0.0]), np.array([2.0]))  # 0.04 to 27, mean 7.4

    assert predictions.promised(-1.0, 0.0) == predictions.mean
    np.testing.assert_allclose(predictions.promised(-1.0, NORMAL_90), predictions.lower)
    np.testing.assert_allclose(predictions.promised(1.0, NORMAL_90), predictions.upper)


def test_parts_are_joined_in_order() -> None:
    whole = forecasts_of_errors(np.arange(5.0), np.ones(5))
    parts = [forecasts_of_errors(np.arange(2.0), np.ones(2)), forecasts_of_errors(np.arange(2.0, 5.0), np.ones(3))]

    found = Predictions.joined(parts)

    np.testing.assert_array_equal(found.mean, whole.mean)
    np.testing.assert_array_equal(found.upper, whole.upper)
    assert found.scale is parts[0].scale


@pytest.mark.parametrize("name", ["ei", "ucb"])
def test_what_may_fail_is_not_worth_more_than_what_is_surely_better(name) -> None:
    """Errors: the best measured one is 0.05. One network is told 0.045 to 0.05, another 0.05 to 2 with little hope below."""
    center, spread = -np.log(np.array([0.0475, 0.3])), np.array([0.03, 1.0])
    told = forecasts_of_errors(center, spread)
    plain = Predictions(told.mean, told.std, told.lower, told.upper, told.ood_score)

    on_scale = acquisition_values(name, told, "minimize", 0.05, np.random.default_rng(0))
    in_unit = acquisition_values(name, plain, "minimize", 0.05, np.random.default_rng(0))

    assert on_scale[0] > on_scale[1]
    if name == "ei":
        assert in_unit[0] < in_unit[1]  # why it is not taken there


def test_the_mean_is_ranked_in_the_metrics_unit() -> None:
    predictions = forecasts_of_errors(np.array([0.0, 0.1]), np.array([0.1, 2.0]))

    found = acquisition_values("mean", predictions, "minimize", None, np.random.default_rng(0))

    np.testing.assert_array_equal(found, -predictions.mean)


@pytest.fixture(scope="module")
def champion() -> MetaPredictor:
    return MetaPredictor.load(shipped_champion())


def observed(metric: Metric, count: int) -> tuple[Task, NASBench201, SupportSet]:
    space, rng = NASBench201(), np.random.default_rng(3)
    cells = [space.sample(rng) for _ in range(count)]
    values = [20.0 + 3.0 * float(rng.uniform()) + 50.0 * (rng.uniform() < 0.7) for _ in cells]  # some fail
    return (
        Task("nasbench201", "invented", metric),
        space,
        SupportSet.of([Observation(*pair) for pair in zip(cells, values, strict=True)]),
    )


@pytest.mark.parametrize(
    "metric",
    [Metric("accuracy", "%", "maximize"), Metric("error", "%", "minimize"), Metric("latency_ms", "ms", "minimize")],
)
def test_an_adaptation_knows_the_scale_on_which_its_forecasts_are_normal(champion, metric) -> None:
    task, space, support = observed(metric, 12)
    adapted = champion.adapt(task, space, support)
    asked = [space.sample(np.random.default_rng(seed)) for seed in range(100, 140)]
    values = np.linspace(15.0, 80.0, len(asked))

    forecasts = adapted.predict(asked)

    mean, std = forecasts.normal(metric.sign)
    off = (forecasts.placed(values, metric.sign) - mean) / std
    np.testing.assert_allclose(off, adapted.errors_in_std(asked, values), rtol=1e-6, atol=1e-6)


def test_before_anything_was_measured_there_is_no_scale(champion) -> None:
    task, space, _ = observed(Metric("accuracy", "%", "maximize"), 1)

    forecasts = champion.adapt(task, space, SupportSet()).predict([space.sample(np.random.default_rng(0))])

    assert forecasts.scale is None
    for name in ACQUISITIONS:
        assert np.isfinite(acquisition_values(name, forecasts, "maximize", None, np.random.default_rng(0))).all()


OBSERVED = {  # really measured on digits; half of them fail
    "|avg_pool_3x3~0|+|none~0|avg_pool_3x3~1|+|avg_pool_3x3~0|nor_conv_1x1~1|avg_pool_3x3~2|": 44.10,
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|": 96.68,
    "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|skip_connect~2|": 47.26,
    "|nor_conv_1x1~0|+|none~0|avg_pool_3x3~1|+|avg_pool_3x3~0|nor_conv_1x1~1|avg_pool_3x3~2|": 67.77,
    "|nor_conv_1x1~0|+|skip_connect~0|avg_pool_3x3~1|+|avg_pool_3x3~0|avg_pool_3x3~1|nor_conv_3x3~2|": 95.61,
    "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|avg_pool_3x3~1|avg_pool_3x3~2|": 96.68,
    "|nor_conv_1x1~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_3x3~2|": 96.14,
    "|skip_connect~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|skip_connect~1|avg_pool_3x3~2|": 49.34,
    "|nor_conv_1x1~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|skip_connect~1|nor_conv_3x3~2|": 95.07,
    "|avg_pool_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|none~0|nor_conv_3x3~1|nor_conv_1x1~2|": 69.38,
}


@pytest.mark.parametrize("name", ["ei", "ucb"])
def test_what_is_proposed_after_ten_measurements_is_foretold_to_be_good(champion, name) -> None:
    """Where upper ends of intervals are cut at 100 %, networks that may fail would come first by them, too."""
    space = NASBench201()
    task = Task("nasbench201", "digits", Metric("accuracy", "%", "maximize"))
    support = SupportSet.of([Observation(space.parse(cell), value) for cell, value in OBSERVED.items()])
    rng = np.random.default_rng(5)
    forecasts = champion.adapt(task, space, support).predict([space.sample(rng) for _ in range(600)])
    assert float((forecasts.upper == 100.0).mean()) > 0.3

    worth = acquisition_values(name, forecasts, "maximize", max(OBSERVED.values()), rng)

    proposed = np.argsort(-worth)[:10]
    assert float(forecasts.mean[proposed].min()) > float(np.quantile(forecasts.mean, 0.8))
