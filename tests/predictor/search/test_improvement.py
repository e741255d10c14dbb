from __future__ import annotations

import math

import numpy as np
import pytest

from predictor.errors import SearchError
from predictor.search.improvement import (
    _joint_gain,
    boxes_above,
    hypervolume_gain,
    non_dominated,
    reference_point,
    select_by_hypervolume,
)

FRONT = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
ORIGIN = np.zeros(2)


def covered(points: np.ndarray, samples: np.ndarray) -> float:
    """Share of samples that some point dominates."""
    return float((points[:, None] >= samples[None]).all(-1).any(0).mean())


def test_only_what_nobody_beats_is_a_front_and_equal_points_count_once() -> None:
    points = np.array([[1.0, 1.0], [2.0, 2.0], [2.0, 2.0], [3.0, 0.0]])

    assert non_dominated(points).tolist() == [[2.0, 2.0], [3.0, 0.0]]


def test_the_gain_of_a_point_beside_a_staircase_is_the_area_it_adds() -> None:
    boxes = boxes_above(FRONT, ORIGIN)
    points = np.array([[3.0, 3.0], [2.0, 2.0], [4.0, 0.5], [2.5, 1.5], [-1.0, 9.0]])

    # [3, 3] adds the corners (1..3 × 3..3 minus steps): 9 - 6 = 3; a point on the front adds nothing; 1 × 0.5; 0.5 × 0.5
    assert hypervolume_gain(points, boxes) == pytest.approx([3.0, 0.0, 0.5, 0.25, 0.0])


def test_boxes_do_not_overlap_and_fill_what_three_objectives_leave_above_a_front() -> None:
    rng = np.random.default_rng(0)
    front = non_dominated(rng.random((6, 3)))
    samples = rng.random((20_000, 3))
    lower, upper = boxes_above(front, np.zeros(3))
    inside = ((samples[:, None] > lower) & (samples[:, None] <= upper)).all(-1).sum(1)

    is_above = ~(front[:, None] >= samples[None]).all(-1).any(0)
    assert np.array_equal(inside, is_above.astype(int))


def test_the_gain_of_a_point_in_three_objectives_is_what_sampling_says() -> None:
    rng = np.random.default_rng(1)
    front, point = non_dominated(rng.random((5, 3))), np.array([[0.8, 0.7, 0.9]])
    samples = rng.random((400_000, 3))
    sampled = covered(np.concatenate([front, point]), samples) - covered(front, samples)

    # three standard errors of a share of 0.2 of 400,000 samples are 0.002
    assert hypervolume_gain(point, boxes_above(front, np.zeros(3)))[0] == pytest.approx(sampled, abs=0.003)


def test_what_a_batch_adds_together_is_the_sum_of_what_each_adds_beside_those_before() -> None:
    rng = np.random.default_rng(2)
    draws = 3.5 * rng.random((4, 5, 2))
    boxes = boxes_above(FRONT, ORIGIN)
    chosen, total = list[int](), np.zeros(4)
    for row in (3, 0, 4):
        total += _joint_gain(draws, chosen, boxes)[:, row]
        chosen.append(row)

    for draw, expected in zip(draws, total, strict=True):
        front, alone = FRONT, 0.0
        for row in chosen:
            alone += float(hypervolume_gain(draw[row], boxes_above(front, ORIGIN)))
            front = non_dominated(np.concatenate([front, draw[row : row + 1]]))
        assert expected == pytest.approx(alone)


def test_expected_improvement_over_an_empty_front_is_the_product_of_two_expected_excesses() -> None:
    """E[(Y1 - r1)+ (Y2 - r2)+] of independent normals, each factor in closed form."""
    mean, std, reference = np.array([0.3, -0.2]), np.array([0.5, 1.0]), np.array([0.0, 0.0])
    z = (mean - reference) / std
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * (1 + math.erf(one / math.sqrt(2))) for one in z])
    expected = float(np.prod(std * (z * below + density)))
    draws = mean + std * np.random.default_rng(3).standard_normal((200_000, 1, 2))

    sampled = _joint_gain(draws, [], boxes_above(np.zeros((0, 2)), reference)).mean()

    assert sampled == pytest.approx(expected, rel=0.02)  # about three standard errors


def test_a_batch_spreads_over_the_front_instead_of_taking_the_same_gain_twice() -> None:
    mean = np.array([[4.0, 4.0], [3.99, 3.99], [6.0, 1.5], [0.5, 0.5]])

    chosen = select_by_hypervolume(mean, np.full((4, 2), 1e-6), FRONT, 2, np.random.default_rng(0))

    assert chosen == [0, 2]


def test_what_is_probably_infeasible_is_chosen_late() -> None:
    mean = np.array([[4.0, 4.0], [3.5, 3.5]])
    probability = np.array([0.01, 1.0])

    assert select_by_hypervolume(
        mean, np.full((2, 2), 1e-6), FRONT, 2, np.random.default_rng(0), probability=probability
    ) == [1, 0]


def test_more_than_there_are_cannot_be_chosen_and_each_is_chosen_once() -> None:
    rng = np.random.default_rng(4)
    mean = rng.random((7, 2)) * 4

    assert sorted(select_by_hypervolume(mean, np.ones((7, 2)), FRONT, 99, rng, num_draws=8)) == list(range(7))


def test_a_reference_point_lies_a_tenth_of_the_range_below_the_worst() -> None:
    assert reference_point(FRONT) == pytest.approx([0.8, 0.8])


def test_without_a_front_a_reference_point_is_asked_for() -> None:
    with pytest.raises(SearchError, match="reference point"):
        select_by_hypervolume(np.ones((1, 2)), np.ones((1, 2)), np.zeros((0, 2)), 1, np.random.default_rng(0))
