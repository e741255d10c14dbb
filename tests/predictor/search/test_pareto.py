"""Fronts against their definition, volumes against areas that can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from search_problems import ACCURACY, LATENCY, started

from predictor.errors import SearchError
from predictor.search.base import Outcome, SearchProblem
from predictor.search.pareto import crowding_distances, front_numbers, hypervolume, non_dominated, reference_point
from predictor.search_spaces.registry import search_space
from predictor.tasks import Metric

SPACE = search_space("nasbench_macro")
PROBLEM = started(SPACE, (ACCURACY, LATENCY))
RNG = np.random.default_rng(0)
ARCHITECTURES = [SPACE.sample(RNG) for _ in range(40)]


def outcomes(*values: tuple[float, ...], violations: tuple[float, ...] = ()) -> list[Outcome]:
    violations = violations or (0.0,) * len(values)
    return [
        Outcome(architecture, value, violation=violation)
        for architecture, value, violation in zip(ARCHITECTURES, values, violations, strict=False)
    ]


def dominates(one: int, other: int, goodness: NDArray[np.float64], violations: NDArray[np.float64]) -> bool:
    """By definition 1 of section VI of Deb et al."""
    if violations[one] != violations[other] and (violations[one] > 0 or violations[other] > 0):
        return bool(violations[one] < violations[other])
    if violations[one] > 0:
        return False
    return bool((goodness[one] >= goodness[other]).all() and (goodness[one] > goodness[other]).any())


def peeled(goodness: NDArray[np.float64], violations: NDArray[np.float64]) -> list[int]:
    """Fronts one after the other, by comparing everybody with everybody."""
    fronts, left, number = [-1] * len(goodness), set(range(len(goodness))), 0
    while left:
        front = {one for one in left if not any(dominates(other, one, goodness, violations) for other in left)}
        for one in front:
            fronts[one] = number
        left -= front
        number += 1
    return fronts


@pytest.mark.parametrize("num_objectives", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_fronts_are_those_of_the_definition(num_objectives: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    goodness = rng.integers(0, 6, size=(40, num_objectives)).astype(np.float64)  # many ties and twins
    violations = np.maximum(0.0, rng.integers(-3, 3, size=40)).astype(np.float64)

    assert front_numbers(goodness, violations).tolist() == peeled(goodness, violations)


def test_what_violates_less_is_better_whatever_its_values() -> None:
    goodness = np.array([[1.0, 1.0], [9.0, 9.0], [5.0, 5.0]])

    assert front_numbers(goodness, np.array([0.0, 2.0, 1.0])).tolist() == [0, 2, 1]


def test_crowding_is_the_sum_of_the_sides_of_the_box_around() -> None:
    goodness = np.array([[0.0, 10.0], [2.0, 6.0], [3.0, 5.0], [10.0, 0.0]])

    distances = crowding_distances(goodness)

    assert distances.tolist() == [math.inf, pytest.approx(0.3 + 0.5), pytest.approx(0.8 + 0.6), math.inf]


def test_twins_have_no_room() -> None:
    assert crowding_distances(np.ones((3, 2))).tolist() == [math.inf, 0.0, math.inf]


def test_the_front_leaves_out_what_is_dominated_violates_or_failed() -> None:
    told = outcomes((90.0, 5.0), (80.0, 6.0), (70.0, 1.0), (99.0, 1.0), violations=(0.0, 0.0, 0.0, 0.1))
    failed = Outcome(ARCHITECTURES[5], None)
    early = Outcome(ARCHITECTURES[6], (99.0, 0.1), fidelity=0.5)

    front = non_dominated(PROBLEM, [*told, failed, early])

    assert [one.values for one in front] == [(90.0, 5.0), (70.0, 1.0)]
    assert non_dominated(PROBLEM, [failed]) == []


def test_a_volume_is_the_area_between_the_front_and_the_reference() -> None:
    told = outcomes((90.0, 5.0), (70.0, 1.0), (60.0, 3.0))

    # 20 × 5 above accuracy 70 and below latency 10, and 20 × 9 beneath it
    assert hypervolume(PROBLEM, told, (50.0, 10.0)) == pytest.approx(20 * 5 + 20 * 9)


def test_a_volume_of_three_objectives() -> None:
    problem = SearchProblem(SPACE, (ACCURACY, LATENCY, Metric("params", "M", "minimize")))
    told = outcomes((2.0, 1.0, 1.0), (1.0, 1.0, 0.0))

    assert hypervolume(problem, told, (0.0, 3.0, 3.0)) == pytest.approx(2 * 2 * 2 + 1 * 2 * 1)


def test_one_objective_has_a_volume_too() -> None:
    assert hypervolume(started(SPACE, (LATENCY,)), outcomes((4.0,), (7.0,)), (10.0,)) == pytest.approx(6.0)


def test_what_the_reference_dominates_counts_for_nothing() -> None:
    assert hypervolume(PROBLEM, outcomes((40.0, 5.0), (90.0, 11.0)), (50.0, 10.0)) == 0.0


def test_a_better_architecture_makes_the_volume_larger() -> None:
    told = outcomes((90.0, 5.0), (70.0, 1.0), (85.0, 2.0))

    assert hypervolume(PROBLEM, told, (50.0, 10.0)) > hypervolume(PROBLEM, told[:2], (50.0, 10.0))


def test_without_a_reference_one_beyond_the_front_is_taken() -> None:
    told = outcomes((90.0, 5.0), (70.0, 1.0), (10.0, 99.0))

    assert reference_point(PROBLEM, told) == pytest.approx((68.0, 5.4))
    assert hypervolume(PROBLEM, told) == pytest.approx(22 * 0.4 + 2 * 4.0)


def test_a_single_point_has_a_volume() -> None:
    assert hypervolume(PROBLEM, outcomes((90.0, 5.0))) > 0.0


def test_nothing_has_no_volume_and_no_reference() -> None:
    violating = outcomes((90.0, 5.0), violations=(1.0,))

    assert hypervolume(PROBLEM, violating) == 0.0
    assert hypervolume(PROBLEM, [], (50.0, 10.0)) == 0.0
    with pytest.raises(SearchError, match="expected an architecture that violates nothing, got none among 1 outcomes"):
        reference_point(PROBLEM, violating)


@pytest.mark.parametrize("reference", [(50.0,), (50.0, 10.0, 1.0), (50.0, math.nan), (math.inf, 1.0)])
def test_a_reference_of_another_shape_is_refused(reference: tuple[float, ...]) -> None:
    with pytest.raises(SearchError, match="expected a reference of 2 finite numbers"):
        hypervolume(PROBLEM, outcomes((90.0, 5.0)), reference)
