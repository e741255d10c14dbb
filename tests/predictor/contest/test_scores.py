from __future__ import annotations

import math

import numpy as np
import pytest

from predictor.contest.scores import regret, score
from predictor.prediction import Predictions
from predictor.tasks import Metric

ACCURACY = Metric("accuracy", "%", "maximize")
LATENCY = Metric("latency_ms", "ms", "minimize")
TRUTH = np.array([1.0, 2.0, 3.0, 4.0])


def forecasts(mean: np.ndarray, std: float = 1.0, half_width: float = 1.0) -> Predictions:
    mean = np.asarray(mean, float)
    ones = np.ones(len(mean))
    return Predictions(mean, std * ones, mean - half_width, mean + half_width, 0 * ones)


def test_a_perfect_ranking_has_a_correlation_of_1_and_its_reverse_of_minus_1() -> None:
    right, wrong = score(forecasts(10 * TRUTH), TRUTH, ACCURACY), score(forecasts(-TRUTH), TRUTH, ACCURACY)

    assert (right.kendall_tau, right.spearman_rho) == pytest.approx((1.0, 1.0))
    assert (wrong.kendall_tau, wrong.spearman_rho) == pytest.approx((-1.0, -1.0))


def test_one_swap_of_neighbours_costs_what_the_definitions_say() -> None:
    found = score(forecasts(np.array([2.0, 1.0, 3.0, 4.0])), TRUTH, ACCURACY)

    assert found.kendall_tau == pytest.approx(1 - 2 / 6)  # one of six pairs is wrong
    assert found.spearman_rho == pytest.approx(1 - 6 * 2 / (4 * 15))


def test_a_forecast_that_tells_nothing_apart_ranks_nothing() -> None:
    found = score(forecasts(np.full(4, 7.0)), TRUTH, ACCURACY)

    assert (found.kendall_tau, found.spearman_rho) == (0.0, 0.0)


def test_the_log_density_is_that_of_a_normal_distribution_in_standardised_units() -> None:
    spread = TRUTH.std()
    found = score(forecasts(TRUTH + spread, std=2 * spread), TRUTH, ACCURACY)

    assert found.nll == pytest.approx(0.5 * 0.5**2 + math.log(2.0) + 0.5 * math.log(2 * math.pi))


def test_scores_do_not_depend_on_the_unit() -> None:
    here = score(forecasts(TRUTH + 0.3, std=0.5, half_width=0.4), TRUTH, ACCURACY)
    there = score(forecasts(1000 * (TRUTH + 0.3), std=500.0, half_width=400.0), 1000 * TRUTH, ACCURACY)

    for name in ("kendall_tau", "nll", "coverage", "width", "width_at_90", "regret_top1"):
        assert getattr(here, name) == pytest.approx(getattr(there, name)), name


def test_coverage_and_width_of_intervals_with_a_quarter_of_the_values_outside() -> None:
    found = score(forecasts(TRUTH + np.array([0.0, 0.5, -0.9, 3.0])), TRUTH, ACCURACY)

    assert found.coverage == 0.75
    assert found.width == pytest.approx(2.0 / TRUTH.std())


def test_intervals_scaled_to_hold_the_promise_are_as_wide_as_their_errors_ask() -> None:
    truth = np.linspace(0.0, 1.0, 101)
    errors = np.linspace(-1.0, 1.0, 101)  # nine tenths of them are at most 0.9 in size
    narrow = score(forecasts(truth + errors, half_width=0.1), truth, ACCURACY)
    wide = score(forecasts(truth + errors, half_width=3.0), truth, ACCURACY)

    assert narrow.width_at_90 == pytest.approx(1.8 / truth.std())
    assert wide.width_at_90 == pytest.approx(narrow.width_at_90)


def test_a_contestant_without_spread_or_interval_has_no_such_scores() -> None:
    nothing = np.full(4, np.nan)
    found = score(Predictions(TRUTH, nothing, nothing, nothing, np.zeros(4)), TRUTH, ACCURACY)

    assert all(map(math.isnan, (found.nll, found.coverage, found.width, found.width_at_90)))
    assert found.kendall_tau == pytest.approx(1.0)


@pytest.mark.parametrize(("metric", "expected"), [(ACCURACY, (3.0, 1.0)), (LATENCY, (0.0, 0.0))])
def test_regret_is_measured_in_the_metrics_direction(metric, expected) -> None:
    mean = np.array([9.0, 8.0, 7.0, 6.0]) * metric.sign  # chooses in this order: 1, 2, 3, 4

    assert (regret(mean, TRUTH, metric.sign, 1), regret(mean, TRUTH, metric.sign, 3)) == expected


def test_more_first_choices_than_architectures_leave_no_regret() -> None:
    assert score(forecasts(-TRUTH), TRUTH, ACCURACY).regret_top10 == 0.0
    assert score(forecasts(-TRUTH), TRUTH, ACCURACY).regret_top1 == pytest.approx(3.0 / TRUTH.std())


def test_constant_values_divide_by_one_instead_of_nothing() -> None:
    found = score(forecasts(TRUTH), np.ones(4), ACCURACY)

    assert (found.kendall_tau, found.regret_top1) == (0.0, 0.0)
    assert math.isfinite(found.nll)


def test_warnings_that_grow_with_errors_have_an_association_of_1_and_the_reverse_of_minus_1() -> None:
    errors = np.array([0.1, -0.5, 2.0, -0.2])
    nothing = np.full(4, np.nan)
    predictions = Predictions(TRUTH + errors, np.abs(errors) ** 3, nothing, nothing, np.exp(-np.abs(errors)))

    found = score(predictions, TRUTH, ACCURACY)

    assert (found.std_error_rho, found.ood_error_rho) == pytest.approx((1.0, -1.0))


def test_what_tells_nothing_apart_or_is_not_told_warns_of_nothing() -> None:
    errors = np.array([0.1, -0.5, 2.0, -0.2])
    nothing = np.full(4, np.nan)
    constant, untold = (
        score(Predictions(TRUTH + errors, std, nothing, nothing, np.zeros(4)), TRUTH, ACCURACY)
        for std in (np.ones(4), nothing)
    )
    no_errors = score(Predictions(TRUTH, TRUTH, nothing, nothing, TRUTH), TRUTH, ACCURACY)

    for found in (constant, untold, no_errors):
        assert math.isnan(found.std_error_rho)
        assert math.isnan(found.ood_error_rho)
