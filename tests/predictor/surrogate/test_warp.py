from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, norm

from predictor.surrogate.standardisation import Standardisation
from predictor.surrogate.warp import LEAST_OBSERVATIONS, Warp
from predictor.tasks import Metric, Task

ACCURACY = Task("space", "data", Metric("accuracy", "%", "maximize"))
LATENCY = Task("space", "data", Metric("latency_ms", "ms", "minimize"))


def crowded(count: int, seed: int = 0) -> np.ndarray:
    """As accuracies are: a narrow crowd, and a fifth that failed."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(count) < 0.2, rng.normal(-2.0, 0.5, count), rng.normal(0.1, 0.05, count))


@settings(max_examples=60, deadline=None)
@given(observed=st.lists(st.floats(-30, 30), min_size=4, max_size=80), asked=st.lists(st.floats(-40, 40), min_size=1))
def test_going_there_and_back_gives_the_same_values_in_the_same_order(observed, asked) -> None:
    warp = Warp.fit(np.array(observed))
    values = np.sort(np.array(asked))
    if warp is None:
        assert np.ptp(observed) < 1e-7
        return

    warped = warp.forward(values)

    np.testing.assert_allclose(warp.inverse(warped), values, atol=1e-6)
    assert bool((np.diff(warped) >= -1e-9).all())  # rounding between neighbours


def test_many_values_are_spread_like_a_normal_distribution() -> None:
    observed, others = crowded(1_000), crowded(1_000, seed=1)

    warped = Warp.fit(observed).forward(others)

    quantiles = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(np.quantile(warped, quantiles), norm.ppf(quantiles), atol=0.2)


def test_few_values_change_little() -> None:
    places = np.linspace(-2.0, 2.0, 41)

    moved = [np.abs(Warp.fit(crowded(count)).forward(places) - places).max() for count in (4, 200)]

    assert moved[0] < 0.75 < moved[1]


def test_what_a_normal_distribution_gave_is_left_nearly_as_it_is() -> None:
    observed = norm.ppf((np.arange(200) + 0.5) / 200)

    places = np.linspace(-2.0, 2.0, 41)

    np.testing.assert_allclose(Warp.fit(observed).forward(places), places, atol=0.1)


def test_far_out_it_goes_on_with_slope_one() -> None:
    warp = Warp.fit(crowded(30))

    far = warp.forward(np.array([-25.0, -24.0, 24.0, 25.0]))

    np.testing.assert_allclose(np.diff(far)[[0, 2]], 1.0)
    np.testing.assert_allclose(warp.inverse(far), [-25.0, -24.0, 24.0, 25.0])


@pytest.mark.parametrize("observed", [np.zeros(0), np.zeros(LEAST_OBSERVATIONS - 1), np.full(50, 3.0)])
def test_too_few_or_equal_values_are_not_warped(observed) -> None:
    assert Warp.fit(observed) is None


def test_gradients_pass_backwards_through_it() -> None:
    warp = Warp.fit(crowded(40))
    asked = torch.linspace(-9, 9, 37, dtype=torch.float64).add(0.01).requires_grad_()

    found = warp.differentiable_inverse(asked)
    found.sum().backward()

    np.testing.assert_allclose(found.detach(), warp.inverse(asked.detach().numpy()))
    ends = [warp.inverse(asked.detach().numpy() + side * 1e-7) for side in (-1, 1)]
    np.testing.assert_allclose(asked.grad, (ends[1] - ends[0]) / 2e-7, rtol=1e-3)


@pytest.mark.parametrize(
    ("places", "scores", "reason"),
    [
        ((0.0,), (0.0,), "2 or more"),
        ((0.0, 1.0), (0.0,), "as many scores as places"),
        ((0.0, 0.0), (0.0, 1.0), "ascend"),
        ((0.0, 1.0), (1.0, 0.0), "ascend"),
        ((0.0, float("nan")), (0.0, 1.0), "ascend"),
    ],
)
def test_malformed_knots_are_refused(places, scores, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        Warp(places, scores)


def test_standardisation_warps_quality_and_leaves_costs_alone() -> None:
    values = 70.0 + 5.0 * crowded(60)

    accuracy, latency = (Standardisation.warped(task, values) for task in (ACCURACY, LATENCY))

    assert accuracy.warp is not None
    assert latency == Standardisation.fit(LATENCY, values)
    np.testing.assert_allclose(accuracy.inverse(accuracy.forward(values)), values)
    assert float(kendalltau(accuracy.forward(values), values)[0]) == 1.0


def test_a_warped_standardisation_is_kept_as_json() -> None:
    scale = Standardisation.warped(ACCURACY, 70.0 + 5.0 * crowded(60))
    plain = Standardisation.fit(ACCURACY, np.array([70.0, 71.0, 75.0]))
    of_before = {name: value for name, value in asdict(plain).items() if name != "warp"}

    assert Standardisation.from_json(json.loads(json.dumps(asdict(scale)))) == scale
    assert Standardisation.from_json(of_before) == plain


@pytest.mark.parametrize(
    "warp", [{"places": [0.0, 1.0]}, {"places": 3, "scores": 4}, {"places": ["a", "b"], "scores": [0, 1]}]
)
def test_a_malformed_kept_warp_is_refused(warp) -> None:
    stored = asdict(Standardisation.fit(ACCURACY, np.array([70.0, 71.0, 75.0]))) | {"warp": warp}

    with pytest.raises((ValueError, TypeError, KeyError)):
        Standardisation.from_json(stored)


def test_a_known_error_in_the_crowd_is_large_in_warped_units() -> None:
    values, error = 70.0 + 5.0 * crowded(60), np.full(60, 0.3)
    plain = Standardisation.fit(ACCURACY, values)

    in_crowd = np.argsort(values)[40]

    warped = Standardisation.warped(ACCURACY, values).forward_errors(values, error)
    assert warped[in_crowd] > 1.5 * plain.forward_errors(values, error)[in_crowd]
