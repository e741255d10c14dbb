from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from predictor.scoring import PairedComparison, kendall_tau, score_episode, score_episodes
from predictor.tasks import MeasuredTask


@pytest.mark.parametrize("seed", range(5))
def test_kendalls_tau_with_ties_equals_scipys(seed) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 5, 30).astype(float), rng.integers(0, 5, 30).astype(float)

    assert kendall_tau(first, second) == pytest.approx(kendalltau(first, second).statistic)


def test_kendalls_tau_of_a_constant_is_0() -> None:
    assert kendall_tau(np.ones(5), np.arange(5.0)) == 0.0
    assert kendall_tau(np.zeros(0), np.zeros(0)) == 0.0


def test_paired_gains_and_their_standard_error() -> None:
    comparison = PairedComparison.of([1.0, 2.0, 3.0], [2.0, 2.0, 5.0])

    assert comparison.num_pairs == 3
    assert (comparison.champion, comparison.candidate, comparison.difference) == pytest.approx((2.0, 3.0, 1.0))
    assert comparison.standard_error == pytest.approx(1.0 / math.sqrt(3))


def test_one_pair_proves_nothing_and_none_even_less() -> None:
    assert PairedComparison.of([1.0], [2.0]).standard_error == math.inf
    assert PairedComparison.of([], []).num_pairs == 0


@pytest.fixture(scope="module")
def measured(accuracy_task, space, cells, support_of, convolutions) -> MeasuredTask:
    return MeasuredTask(accuracy_task, space, support_of(cells[:60], convolutions))


def test_an_episode_scores_only_what_was_not_adapted_to(tiny_meta, measured) -> None:
    score = score_episode(tiny_meta, measured, 20, 100, np.random.default_rng(0))

    assert len(score.errors_in_std) == 40
    assert score.num_observations == 20
    assert -1.0 <= score.kendall_tau <= 1.0
    assert 0.0 <= score.coverage <= 1.0
    assert math.isfinite(score.nll)


def test_the_same_seed_draws_the_same_episodes_so_that_versions_can_be_paired(tiny_meta, measured) -> None:
    first, again = (score_episodes(tiny_meta, [measured], (0, 5), num_repeats=2) for _ in range(2))
    other = score_episodes(tiny_meta, [measured], (0, 5), num_repeats=2, seed=1)

    assert [one.nll for one in first] == [one.nll for one in again]
    assert [one.nll for one in first] != [one.nll for one in other]
    assert [one.num_observations for one in first] == [0, 0, 5, 5]


def test_tasks_with_too_few_measurements_for_an_episode_are_passed_over(tiny_meta, measured) -> None:
    fractions: list[float] = []

    scores = score_episodes(tiny_meta, [measured], (5, 55), num_repeats=1, on_progress=fractions.append)

    assert [one.num_observations for one in scores] == [5]
    assert fractions == [1.0]
