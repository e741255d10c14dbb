from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.surrogate.standardisation import UNKNOWN_PRIOR, ScalePrior, Standardisation, scale_priors
from predictor.tasks import Metric, Task

ACCURACY = Task("space", "data", Metric("accuracy", "%", "maximize"))
LOSS = Task("space", "data", Metric("loss", "nats", "minimize"))
LATENCY = Task("space", "data", Metric("latency_ms", "ms", "minimize"))
THROUGHPUT = Task("space", "data", Metric("throughput", "images/s", "maximize"))
FRACTION = Task("space", "data", Metric("accuracy", "fraction", "maximize"))
PRIOR = ScalePrior(location=70.0, location_spread=10.0, scale=5.0)

positive = st.floats(0.01, 1e5, allow_nan=False)


@settings(max_examples=60, deadline=None)
@given(support=st.lists(positive, max_size=20), asked=st.lists(positive, min_size=1, max_size=20), which=st.booleans())
def test_going_there_and_back_gives_the_same_values(support, asked, which) -> None:
    task = LATENCY if which else LOSS
    spread = 1.0 if len(support) < 3 else max(float(np.std(np.log(support) if which else support)), 1e-12)
    scale = Standardisation.fit(task, np.array(support))
    values = np.array(asked)

    standardised = scale.forward(values)

    reachable = np.abs(standardised) < 30  # farther away the inverse is bounded on purpose
    if spread > 1e-6:
        np.testing.assert_allclose(scale.inverse(standardised)[reachable], values[reachable], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("task", [ACCURACY, LOSS, LATENCY, THROUGHPUT], ids=lambda task: task.metric.name)
def test_better_values_are_always_higher_however_far_out(task) -> None:
    scale = Standardisation.fit(task, np.array([10.0, 12.0, 15.0, 30.0]))
    values = np.geomspace(0.01, 1e6, 400)

    goodness = scale.forward(values) * task.metric.sign

    assert bool((np.diff(goodness) > 0).all())


def test_beyond_two_spreads_distances_are_compressed() -> None:
    scale = Standardisation(1.0, False, 0.0, 1.0)

    np.testing.assert_allclose(
        scale.forward(np.array([0.5, 2.0, 2.0 + np.e - 1, -101.0])), [0.5, 2, 3, -2 - np.log(100)]
    )


@pytest.mark.parametrize(
    ("task", "compressed"), [(ACCURACY, True), (LOSS, True), (LATENCY, False), (THROUGHPUT, False)],
    ids=lambda one: one.metric.name if isinstance(one, Task) else "",
)  # fmt: skip
def test_of_quality_what_is_worse_than_the_rest_is_compressed_early(task, compressed) -> None:
    scale = Standardisation.fit(task, np.exp(np.linspace(0.0, 2.0, 21)))
    worse, better = (scale.inverse(np.array([side * 1.9]))[0] for side in (-1.0, 1.0))

    goodness = scale.forward(np.array([worse, better]))
    unbent = Standardisation(scale.sign, scale.logarithmic, scale.location, scale.scale).inverse(np.array([-1.9]))[0]

    np.testing.assert_allclose(goodness, [-1.9, 1.9])
    assert (abs(unbent - worse) > 1e-6) == compressed


@pytest.mark.parametrize(
    ("scale", "value", "slope"),
    [
        pytest.param(Standardisation(1.0, False, 70.0, 5.0, 0.5), 71.0, 1 / 5, id="in the middle"),
        pytest.param(Standardisation(1.0, False, 70.0, 5.0, 0.5), 60.0, 1 / 5 / 2.5, id="2 spreads below, knee 0.5"),
        pytest.param(Standardisation(1.0, False, 70.0, 5.0, 0.5), 90.0, 1 / 5 / 3, id="4 spreads above, knee 2"),
        pytest.param(Standardisation(-1.0, False, -3.0, 0.5, 0.5), 3.1, 2.0, id="to be minimised"),
        pytest.param(Standardisation(-1.0, True, -np.log(8.0), 0.25), 9.0, 4 / 9, id="as a logarithm"),
        pytest.param(
            Standardisation(-1.0, True, 0.0, 0.25), np.exp(1.5), 4 / np.exp(1.5) / 5, id="6 spreads of a logarithm"
        ),
    ],
)
def test_a_small_error_is_multiplied_by_the_slope_of_the_scale(scale, value, slope) -> None:
    found = scale.forward_errors(np.array([value]), np.array([1e-6]))

    np.testing.assert_allclose(found, slope * 1e-6, rtol=1e-5)  # second order: a relative 3e-6 at most


@pytest.mark.parametrize("task", [ACCURACY, LOSS], ids=lambda task: task.metric.name)
@pytest.mark.parametrize("std_error", [0.01, 1.0, 10.0, 100.0])
def test_no_error_rules_out_what_it_allows(task, std_error) -> None:
    scale = Standardisation.fit(task, np.array([10.0, 12.0, 15.0, 30.0]))
    values = np.geomspace(0.1, 1e3, 50)

    found = scale.forward_errors(values, np.full(50, std_error))

    for step in (-3, -2, -1, 1, 2, 3):
        moved = np.abs(scale.forward(values + step * std_error) - scale.forward(values))
        assert bool((moved <= abs(step) * found * (1 + 1e-9)).all())


def test_errors_of_logarithms_are_those_of_a_log_normal_value() -> None:
    scale = Standardisation(-1.0, True, -np.log(8.0), 0.25)
    drawn = np.exp(np.log(8.0) + 0.1 * np.random.default_rng(0).normal(size=200_000))

    found = scale.forward_errors(np.array([drawn.mean()]), np.array([drawn.std()]))

    np.testing.assert_allclose(found, 0.1 / 0.25, rtol=0.01)  # three errors are 1.2 spreads: within the straight part


def test_where_the_scale_is_straight_within_the_reach_of_an_error_the_bend_at_the_value_does_not_shrink_it() -> None:
    scale = Standardisation(1.0, False, 0.0, 1.0, 0.5)  # bent below -0.5 and above 2

    (found,) = scale.forward_errors(np.array([-7.0]), np.array([3.0]))

    assert found == pytest.approx((2.0 + 0.5 + np.log(7.5)) / 3)  # -7 is told as -0.5 - ln 7.5; three errors up is 2
    assert found > 1.8 * 3.0 / 7.5  # what the slope at the value would make of it


def test_errors_that_are_not_there_are_exactly_0_and_larger_ones_never_smaller() -> None:
    scale = Standardisation.fit(LATENCY, np.array([1.0, 2.0, 4.0, 8.0]))

    found = scale.forward_errors(np.full(6, 3.0), np.array([0.0, 1e-3, 1.0, 3.0, 30.0, 1e6]))

    assert found[0] == 0.0
    assert bool((np.diff(found) > 0).all())


@pytest.mark.parametrize("scale", [Standardisation(1.0, False, 0.0, 1.0), Standardisation(-1.0, True, 0.0, 1e-12)])
def test_errors_of_absurd_size_stay_finite(scale) -> None:
    found = scale.forward_errors(np.array([1e308, 1.0, 1e-300]), np.array([1e308, 1e308, 1e308]))

    assert bool(((found > 0) & (found <= 1e3)).all())


def test_the_median_becomes_0() -> None:
    assert Standardisation.fit(ACCURACY, np.array([1.0, 70.0, 90.0])).forward(np.array([70.0]))[0] == 0.0
    assert Standardisation.fit(LATENCY, np.array([1.0, 7.0, 900.0])).forward(np.array([7.0]))[0] == pytest.approx(0.0)


def test_metrics_that_differ_by_factors_are_taken_as_logarithms() -> None:
    scale = Standardisation.fit(LATENCY, np.array([1.0, 2.0, 4.0, 8.0]))
    one, two, four = scale.forward(np.array([2.0, 4.0, 8.0]))

    assert two - one == pytest.approx(four - two)
    assert one > two  # faster is better


def test_a_latency_of_zero_or_less_is_no_reason_to_fail() -> None:
    scale = Standardisation.fit(LATENCY, np.array([0.0, 2.0, 4.0]))

    assert not scale.logarithmic
    assert bool(np.isfinite(Standardisation.fit(LATENCY, np.array([1.0, 2.0])).forward(np.array([0.0, -1.0]))).all())


def test_one_diverged_training_does_not_ruin_the_scale() -> None:
    healthy = np.array([88.0, 89.0, 90.0, 91.0, 92.0, 89.5, 90.5, 91.5])
    with_failure = Standardisation.fit(ACCURACY, np.append(healthy, 1.0))

    spread = np.ptp(with_failure.forward(healthy))
    assert spread > 0.5


def test_before_anything_is_measured_the_prior_speaks() -> None:
    scale = Standardisation.fit(ACCURACY, np.array([]), PRIOR)

    np.testing.assert_allclose(scale.inverse(np.array([0.0, 1.0])), [70.0, 75.0])


def test_for_a_metric_to_minimise_the_prior_is_turned_around() -> None:
    scale = Standardisation.fit(LOSS, np.array([]), ScalePrior(3.0, 1.0, 0.5))

    np.testing.assert_allclose(scale.inverse(np.array([0.0, 1.0])), [3.0, 2.5])


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([80.0], 5.0),  # one value has no spread
        ([80.0, 82.0], 2 / 3 * np.sqrt(1 / 1.349) + 5 / 3),  # that of the standard deviation, 1, and the quartiles'
    ],
)
def test_one_observation_leaves_the_scale_to_the_prior_and_two_share_their_say_with_it(values, scale) -> None:
    fitted = Standardisation.fit(ACCURACY, np.array(values), PRIOR)

    assert fitted.scale == pytest.approx(scale)
    assert fitted.location == pytest.approx(np.median(values))
    assert fitted.location_spread == 0.0


def test_before_anything_is_measured_both_the_location_and_a_network_s_place_are_uncertain() -> None:
    scale = Standardisation.fit(ACCURACY, np.array([]), PRIOR)
    center, std = np.array([0.0, 1.0]), np.array([0.5, 0.2])

    np.testing.assert_allclose(scale.quantiles(center, std, 1.0), [70.0 + np.hypot(2.5, 10.0), 75.0 + np.hypot(1, 10)])
    np.testing.assert_allclose(scale.quantiles(center, std, -2.0), [70.0 - np.hypot(5, 20), 75.0 - np.hypot(2, 20)])
    np.testing.assert_allclose(scale.quantiles(center, std, 0.0), [70.0, 75.0])
    np.testing.assert_allclose(scale.quantiles(center, 0.0 * std, 1.0, widening=3.0), [100.0, 105.0])


def test_a_location_far_off_is_no_network_beyond_all_others() -> None:
    """Three spreads of the location are as far as three, not as what three of them are among a task's networks."""
    scale = Standardisation.fit(ACCURACY, np.array([]), ScalePrior(location=70.0, location_spread=25.0, scale=1.0))

    np.testing.assert_allclose(scale.quantiles(np.zeros(1), np.zeros(1), -1.645), [70.0 - 1.645 * 25.0])


@pytest.mark.parametrize("task", [LOSS, LATENCY], ids=lambda task: task.metric.name)
def test_what_is_better_is_lower_for_a_metric_to_minimise(task) -> None:
    scale = Standardisation.fit(task, np.array([]), ScalePrior(3.0, 1.0, 0.5))

    better, worse = (float(scale.quantiles(np.zeros(1), np.ones(1), side)[0]) for side in (1.0, -1.0))

    ends = np.array([3.0 - np.hypot(0.5, 1.0), 3.0 + np.hypot(0.5, 1.0)])
    np.testing.assert_allclose([better, worse], np.exp(ends) if task is LATENCY else ends)


@pytest.mark.parametrize("values", [[], [70.0, 72.0, 75.0, 81.0]], ids=["nothing measured", "something measured"])
@pytest.mark.parametrize("steps", [-1.645, 1.0])
def test_quantiles_have_gradients_and_are_the_same_with_them(values, steps) -> None:
    scale = Standardisation.warped(ACCURACY, np.array(values), PRIOR)
    given = np.array([-1.5, 0.3, 2.4])
    center = torch.from_numpy(given).requires_grad_()

    found = scale.differentiable_quantiles(center, 0.7, steps, widening=1.5)
    found.sum().backward()

    std = np.full(3, 0.7)
    np.testing.assert_allclose(found.detach(), scale.quantiles(given, std, steps, widening=1.5))
    ends = [scale.quantiles(given + side * 1e-6, std, steps, widening=1.5) for side in (-1, 1)]
    np.testing.assert_allclose(center.grad, (ends[1] - ends[0]) / 2e-6, rtol=1e-4)


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(7)


@pytest.mark.parametrize("values", [[], [70.0, 72.0, 75.0, 81.0]], ids=["nothing measured", "something measured"])
def test_a_quadrature_has_gradients_and_is_the_same_with_them(values) -> None:
    scale = Standardisation.warped(ACCURACY, np.array(values), PRIOR)
    places = np.array([[-1.5], [0.3], [2.4]]) + 0.7 * NODES
    given, weights = torch.from_numpy(places).requires_grad_(), torch.from_numpy(WEIGHTS)

    found, counted = scale.differentiable_quadrature(given, weights, torch.from_numpy(NODES), weights, 1.5)
    (found @ counted).sum().backward()

    expected, weights = scale.quadrature(places, WEIGHTS, NODES, WEIGHTS, np.full(3, 1.5))
    np.testing.assert_allclose(found.detach(), expected)
    np.testing.assert_allclose(counted, weights)
    moved = [
        scale.quadrature(places + side * 1e-6, WEIGHTS, NODES, WEIGHTS, np.full(3, 1.5))[0] @ weights
        for side in (-1, 1)
    ]
    np.testing.assert_allclose(given.grad.sum(1), (moved[1] - moved[0]) / 2e-6, rtol=1e-4)


def test_before_anything_is_measured_the_mean_is_over_both_kinds_of_uncertainty() -> None:
    """Of logarithms that are normally distributed, whose mean is known: both variances add."""
    scale = Standardisation.fit(LATENCY, np.array([]), ScalePrior(location=2.0, location_spread=0.8, scale=0.3))
    places = np.array([[0.0], [0.5]]) + 0.4 * NODES

    values, weights = scale.quadrature(places, WEIGHTS, NODES, WEIGHTS, np.ones(2))

    assert values.shape == (2, 49)
    assert weights.sum() == pytest.approx(1.0)
    expected = np.exp(2.0 - 0.3 * np.array([0.0, 0.5]) + (0.12**2 + 0.8**2) / 2.0)
    np.testing.assert_allclose(values @ weights, expected, rtol=0.01)  # the scale is bent beyond two spreads


def test_an_uncertain_location_is_no_reason_to_rank_by_how_uncertain_a_network_is() -> None:
    """It raises the mean of every network's latency by the same factor."""
    prior = ScalePrior(location=2.0, location_spread=2.5, scale=0.3)
    unknown = Standardisation.fit(LATENCY, np.array([]), prior)
    known = Standardisation.fit(LATENCY, np.array([]), ScalePrior(2.0, 0.0, 0.3))
    places = np.array([[0.3], [0.0]]) + np.array([[0.9], [0.5]]) * NODES

    (without, single), (within, double) = (
        one.quadrature(places, WEIGHTS, NODES, WEIGHTS, np.ones(2)) for one in (known, unknown)
    )

    np.testing.assert_allclose((within @ double) / (without @ single), np.exp(2.5**2 / 2.0), rtol=0.01)


def test_once_something_was_measured_quantiles_are_places() -> None:
    scale = Standardisation.warped(ACCURACY, np.array([60.0, 65.0, 71.0, 72.0, 75.0, 81.0]), PRIOR)
    center, std = np.array([-1.0, 0.2]), np.array([0.4, 0.9])

    np.testing.assert_allclose(scale.quantiles(center, std, 1.645), scale.inverse(center + 1.645 * std))
    np.testing.assert_allclose(scale.quantiles(center, std, -1.645, widening=9.0), scale.inverse(center - 1.645 * std))
    places = center[:, None] + std[:, None] * NODES
    np.testing.assert_array_equal(
        scale.quadrature(places, WEIGHTS, NODES, WEIGHTS, np.ones(2))[0], scale.inverse(places)
    )


@pytest.mark.parametrize(("task", "spread"), [(LOSS, 4.0), (LATENCY, 1.0)], ids=["loss", "latency"])
def test_one_task_of_a_family_does_not_tell_how_much_tasks_differ(task, spread) -> None:
    values = np.array([3.8, 3.9, 4.0, 4.1, 4.2])

    (prior,) = scale_priors([(task, values)]).values()

    assert prior.location_spread == pytest.approx(spread)


@pytest.mark.parametrize("value", [0.1, 5.0, 1234567.1, -1e9])
def test_observations_that_are_all_the_same_leave_the_scale_to_the_prior(value) -> None:
    scale = Standardisation.fit(LOSS, np.full(7, value), UNKNOWN_PRIOR)

    assert scale.scale == pytest.approx(1 / 8, rel=1e-3)
    assert float(scale.forward(np.array([value]))[0]) == pytest.approx(0.0, abs=1e-6)


def test_an_accuracy_told_as_a_fraction_gets_the_prior_of_percentages_divided_by_100() -> None:
    prior = PRIOR.in_unit_of(FRACTION.metric)

    assert (prior.location, prior.location_spread, prior.scale) == pytest.approx((0.7, 0.1, 0.05))
    assert PRIOR.in_unit_of(ACCURACY.metric) == PRIOR
    assert PRIOR.in_unit_of(LATENCY.metric) == PRIOR


def test_priors_are_medians_over_the_tasks_of_a_family_with_fractions_as_percentages() -> None:
    rng = np.random.default_rng(0)
    percents = [rng.normal(location, 2.0, 400) for location in (60.0, 80.0)]

    priors = scale_priors(
        [(ACCURACY, percents[0]), (FRACTION, percents[1] / 100), (LATENCY, np.exp(rng.normal(1.0, 0.3, 400)))]
    )

    assert priors["accuracy"].location == pytest.approx(70.0, abs=0.5)
    assert priors["accuracy"].location_spread == pytest.approx(10.0, abs=0.5)
    assert priors["accuracy"].scale == pytest.approx(2.0, rel=0.15)
    assert priors["latency"].location == pytest.approx(1.0, abs=0.1)


def test_percentages_are_kept_between_0_and_100_and_fractions_between_0_and_1() -> None:
    values = np.array([-3.0, 0.5, 50.0, 130.0])

    np.testing.assert_array_equal(ACCURACY.metric.clipped(values), [0.0, 0.5, 50.0, 100.0])
    np.testing.assert_array_equal(FRACTION.metric.clipped(values), [0.0, 0.5, 1.0, 1.0])
    np.testing.assert_array_equal(LOSS.metric.clipped(values), values)


@pytest.mark.parametrize("task", [ACCURACY, LOSS, LATENCY], ids=lambda task: task.metric.name)
def test_the_way_back_that_gradients_pass_through_is_the_same(task) -> None:
    scale = Standardisation.fit(task, np.array([1.0, 2.0, 4.0, 30.0]), PRIOR)
    asked = np.array([-40.0, -6.0, -2.0, -0.5, -0.3, 0.0, 1.0, 2.0, 2.5, 6.0])

    found = scale.differentiable_quantiles(torch.from_numpy(asked).requires_grad_(), 0.0, 0.0)

    np.testing.assert_allclose(found.detach().numpy(), scale.inverse(asked), rtol=1e-12)
