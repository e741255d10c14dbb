from __future__ import annotations

import numpy as np
import pytest

from predictor.acquisition import ACQUISITIONS, acquisition_values, select_diverse
from predictor.errors import AcquisitionError
from predictor.prediction import Predictions


def predictions(mean: list[float], std: list[float]) -> Predictions:
    center, spread = np.array(mean), np.array(std)
    return Predictions(center, spread, center - spread, center + spread, np.zeros(len(mean)))


def scores(name: str, mean: list[float], std: list[float], direction="maximize", best=None, kappa=1.0, seed=0):
    return acquisition_values(name, predictions(mean, std), direction, best, np.random.default_rng(seed), kappa=kappa)


@pytest.mark.parametrize(("mean", "std", "best"), [(1.0, 0.5, 0.8), (0.0, 1.0, 3.0), (5.0, 0.1, 1.0), (2.0, 2.0, 2.0)])
def test_expected_improvement_equals_the_integral_over_the_improvement(mean, std, best) -> None:
    values = np.linspace(mean - 12 * std, mean + 12 * std, 400_001)
    density = np.exp(-0.5 * ((values - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    integral = np.trapezoid(np.maximum(values - best, 0.0) * density, values)

    assert scores("ei", [mean], [std], best=best)[0] == pytest.approx(integral, rel=1e-6, abs=1e-9)


def test_expected_improvement_is_never_negative_and_0_where_nothing_can_be_gained() -> None:
    found = scores("ei", [-1e6, -50.0, -30.0, 0.0], [1.0, 1.0, 1.0, 0.0], best=0.0)

    assert bool((found >= 0).all())
    assert found[0] == 0.0
    assert found[3] == pytest.approx(0.0, abs=1e-11)


def test_expected_improvement_without_a_measurement_is_over_the_best_forecast() -> None:
    np.testing.assert_allclose(scores("ei", [1.0, 2.0], [1.0, 1.0]), scores("ei", [1.0, 2.0], [1.0, 1.0], best=2.0))


def test_the_upper_confidence_bound_adds_kappa_spreads() -> None:
    np.testing.assert_allclose(scores("ucb", [1.0, 2.0], [0.5, 0.1], kappa=2.0), [2.0, 2.2])
    np.testing.assert_allclose(scores("ucb", [1.0, 2.0], [0.5, 0.1], kappa=0.0), scores("mean", [1.0, 2.0], [0.5, 0.1]))


def test_thompson_draws_depend_on_the_generator_alone() -> None:
    mean, std = [0.0] * 4000, [2.0] * 4000

    first, again, other = (scores("thompson", mean, std, seed=seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert float(first.std()) == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_minimising_is_maximising_with_the_sign_turned(name) -> None:
    mean, std = [3.0, 1.0, 2.0], [0.2, 0.3, 0.4]

    down = scores(name, mean, std, "minimize", best=1.5)
    up = scores(name, [-value for value in mean], std, "maximize", best=-1.5)

    np.testing.assert_allclose(down, up)
    if name != "thompson":
        assert int(np.argmax(down)) == 1


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
def test_nothing_predicted_gives_no_scores(name) -> None:
    assert scores(name, [], []).shape == (0,)


def test_unknown_acquisitions_and_negative_kappas_are_refused() -> None:
    with pytest.raises(AcquisitionError, match="ucb, ei, thompson, mean, got 'greed'"):
        scores("greed", [1.0], [1.0])
    for kappa in (-0.1, np.nan, np.inf):
        with pytest.raises(AcquisitionError, match="kappa"):
            scores("ucb", [1.0], [1.0], kappa=kappa)


def two_clusters() -> tuple[np.ndarray, np.ndarray]:
    """Ten rows: the better half all alike, the other half alike among themselves."""
    values = np.array([1.0, 0.99, 0.98, 0.97, 0.96, 0.9, 0.89, 0.88, 0.87, 0.86])
    features = np.repeat(np.array([[0.0, 0.0], [10.0, 10.0]], np.float32), 5, axis=0)
    return values, features + np.random.default_rng(0).normal(0, 0.01, (10, 2)).astype(np.float32)


def test_without_diversity_the_best_scores_are_taken_in_order() -> None:
    values, features = two_clusters()
    shuffled = np.random.default_rng(1).permutation(10)

    chosen = select_diverse(values[shuffled], features[shuffled], 4, strength=0.0)

    np.testing.assert_array_equal(values[shuffled][chosen], [1.0, 0.99, 0.98, 0.97])


def test_with_diversity_both_clusters_are_represented_and_the_best_comes_first() -> None:
    values, features = two_clusters()

    chosen = select_diverse(values, features, 2, strength=2.0)

    assert chosen.tolist() == [0, 5]


@pytest.mark.parametrize("strength", [0.0, 1.0])
@pytest.mark.parametrize("k", [0, 1, 10, 50])
def test_as_many_different_rows_as_asked_for_or_all_there_are(k, strength) -> None:
    values, features = two_clusters()

    chosen = select_diverse(values, features, k, strength).tolist()

    assert len(chosen) == len(set(chosen)) == min(k, 10)


def test_architectures_that_are_all_alike_can_be_selected_too() -> None:
    chosen = select_diverse(np.ones(6), np.ones((6, 3), np.float32), 3, strength=1.0)

    assert len(set(chosen.tolist())) == 3


def test_what_is_taken_counts_as_chosen_already() -> None:
    values, features = two_clusters()

    chosen = select_diverse(values, features, 2, strength=2.0, taken=features[:1])

    assert chosen[0] == 5


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_nobody_is_chosen_who_is_too_like_what_is_taken_or_chosen(strength) -> None:
    values, features = two_clusters()

    apart = select_diverse(values, features, 10, strength, max_likeness=0.9)
    beside = select_diverse(values, features, 10, strength, taken=features[3:4], max_likeness=0.9)
    nobody = select_diverse(values, features, 1, strength, taken=features[[3, 8]], max_likeness=0.9)

    assert apart.tolist() == [0, 5]
    assert beside.tolist() == [5]
    assert nobody.tolist() == []


def test_without_near_likes_the_best_scores_are_taken_in_order() -> None:
    values, features = np.array([0.1, 0.3, 0.2]), np.array([[0.0], [5.0], [10.0]], np.float32)

    assert select_diverse(values, features, 3, 0.0, max_likeness=0.9).tolist() == [1, 2, 0]


def test_selection_refuses_what_makes_no_sense() -> None:
    values, features = two_clusters()
    with pytest.raises(AcquisitionError, match="strength"):
        select_diverse(values, features, 2, strength=-1.0)
    with pytest.raises(AcquisitionError, match="got 9 for 10"):
        select_diverse(values, features[:9], 2, strength=1.0)
    with pytest.raises(AcquisitionError, match="k to be 0 or more, got -1"):
        select_diverse(values, features, -1, strength=0.0)
