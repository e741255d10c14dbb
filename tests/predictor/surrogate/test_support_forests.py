"""Forests on a support set: what they find, what they say of what they have not seen, and how much a correction counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from predictor.surrogate.support_forests import SupportForests, corrected_share, grown

NUM_COLUMNS = 8


def drawn(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows, and targets that an interaction of two columns decides; the other columns are noise."""
    rows = torch.randn(count, NUM_COLUMNS, generator=torch.Generator().manual_seed(seed))
    return rows, ((rows[:, 0] > 0) & (rows[:, 1] > 0)).double() * 2.0 - 1.0


def known(count: int, counts: float = 1.0, variance: float = 0.0) -> tuple[Tensor, Tensor]:
    return torch.full((count,), counts), torch.full((count,), variance).double()


def agreement(first: Tensor, second: Tensor) -> float:
    return float(np.corrcoef(first.numpy(), second.numpy())[0, 1])


def test_a_forest_finds_an_interaction_that_no_sum_tells() -> None:
    rows, targets = drawn(200)
    asked, truth = drawn(300, seed=1)
    best_sum = np.linalg.lstsq(np.c_[asked.numpy(), np.ones(300)], truth.numpy(), rcond=None)[0]  # knows the answers

    trees, _ = grown(rows, targets, *known(200))

    summed = torch.from_numpy(np.c_[asked.numpy(), np.ones(300)] @ best_sum)
    assert agreement(trees(asked), truth) > agreement(summed, truth) + 0.1


def test_of_an_observation_trees_speak_that_were_grown_without_it() -> None:
    """Of noise, trees that have seen it know much and those that have not know nothing."""
    rows, _ = drawn(60)
    noise = torch.randn(60, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    trees, left_out = grown(rows, noise, *known(60))

    assert agreement(trees(rows), noise) > 0.7
    assert abs(agreement(left_out, noise)) < 0.4


def test_observations_that_are_known_to_be_uncertain_count_for_less() -> None:
    rows, targets = drawn(80)
    wrong = torch.arange(80) % 2 == 0
    told = torch.where(wrong, -targets, targets)
    asked, truth = drawn(300, seed=1)
    errors = torch.where(wrong, 9.0, 0.0).double()

    informed, _ = grown(rows, told, torch.ones(80), errors)
    blind, _ = grown(rows, told, *known(80))

    assert agreement(informed(asked), truth) > agreement(blind(asked), truth) + 0.3


def test_repeated_measurements_count_for_more() -> None:
    rows, targets = drawn(80)
    wrong = torch.arange(80) % 2 == 0
    told = torch.where(wrong, -targets, targets)
    asked, truth = drawn(300, seed=1)

    trees, _ = grown(rows, told, torch.where(wrong, 1.0, 50.0), known(80)[1])

    assert agreement(trees(asked), truth) > 0.5


def test_the_same_observations_grow_the_same_trees() -> None:
    rows, targets = drawn(40)

    (first, said), (second, again) = grown(rows, targets, *known(40)), grown(rows, targets, *known(40))

    assert torch.equal(first.nodes, second.nodes)
    assert torch.equal(said, again)


def test_thousands_of_observations_leave_trees_small_enough_to_keep() -> None:
    rows, targets = drawn(2_000)

    trees, left_out = grown(rows, targets, *known(2_000))

    assert trees.nodes.numel() * 4 <= 1_100_000
    assert agreement(left_out, targets) > 0.9


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_targets_that_are_all_the_same_are_believed(value: float) -> None:
    rows, _ = drawn(12)

    trees, left_out = grown(rows, torch.full((12,), value).double(), *known(12))

    assert torch.allclose(trees(rows), torch.full((12,), value), atol=1e-6)
    assert torch.allclose(left_out, torch.full((12,), value).double())


def test_forests_come_back_from_tensors() -> None:
    rows, targets = drawn(20)
    trees, _ = grown(rows, targets, *known(20))
    forests = SupportForests(trees, trees, 0.25)

    again = SupportForests.from_tensors(forests.tensors(), NUM_COLUMNS)

    assert torch.equal(again.opinion(rows), trees(rows))
    assert torch.equal(again.correction(rows), trees(rows))
    assert again.share == 0.25


def test_damaged_tensors_are_refused() -> None:
    rows, targets = drawn(20)
    trees, _ = grown(rows, targets, *known(20))
    tensors = SupportForests(trees, trees, 0.25).tensors()

    with pytest.raises(KeyError, match="correction"):
        SupportForests.from_tensors({name: one for name, one in tensors.items() if name != "correction"}, NUM_COLUMNS)
    with pytest.raises(ValueError, match="expected trees to ask for features below 1"):
        SupportForests.from_tensors(tensors, 1)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="expected a share of the corrected blend from 0 to 1"):
            SupportForests.from_tensors(tensors | {"share": torch.tensor(share)}, NUM_COLUMNS)


@pytest.mark.parametrize(
    ("right", "lowest", "highest"),
    [(1.0, 0.3, 0.6), (0.0, 0.0, 0.3), (-1.0, 0.0, 0.0)],
    ids=["right", "noise", "wrong"],
)
def test_a_correction_counts_as_far_as_left_out_observations_speak_for_it(
    right: float, lowest: float, highest: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    missed, other = torch.randn(2, 200, dtype=torch.float64, generator=generator)

    share = corrected_share(missed, right * missed + 0.5 * other)

    assert lowest <= share <= highest


def test_few_observations_leave_the_share_near_where_it_starts() -> None:
    missed, other = torch.randn(2, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    assert corrected_share(missed, other) == pytest.approx(0.3, abs=0.05)
    assert corrected_share(missed[:0], other[:0]) == 0.3
    assert corrected_share(torch.zeros(10), torch.zeros(10)) == 0.0
