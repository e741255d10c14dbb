"""What the universal mean says, from what, and what is told of its files."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from predictor.encoding import COMPLEXITIES, NUM_GLOBAL_FEATURES
from predictor.graph_statistics.complexity import KEPT_WORK, PARAMETERS, WORK
from predictor.surrogate.trees import Trees
from predictor.surrogate.universal_mean import FamilyMean, UniversalMean


def tree(feature: int, threshold: float, left: float, right: float) -> Trees:
    """One question, two leaves."""
    nodes = [[feature, threshold, 1.0, 2.0, 0.0], [0.0, 0.0, 1.0, 1.0, left], [0.0, 0.0, 2.0, 2.0, right]]
    return Trees(torch.tensor([nodes]), NUM_GLOBAL_FEATURES)


def scores(**features: float) -> Tensor:
    row = torch.zeros(1, NUM_GLOBAL_FEATURES)
    for name, value in features.items():
        row[0, int(name[1:])] = value
    return row


@pytest.fixture
def mean() -> FamilyMean:
    linear = torch.zeros(NUM_GLOBAL_FEATURES + 1)
    linear[2], linear[-1] = 0.5, 10.0
    return FamilyMean(tree(0, 0.3, -1.0, 1.0), tree(1, 0.0, 2.0, 3.0), linear, work_weight=-0.5, num_spaces=6)


def column(complexity: int) -> str:
    return f"f{COMPLEXITIES.start + complexity}"


def test_what_was_learned_is_the_line_and_three_parts_together(mean: FamilyMean) -> None:
    asked = scores(**{column(WORK): 2.0}, f0=1.0, f1=1.0, f2=4.0)

    assert mean.learned(asked).item() == -0.5 * 1.0 + 1.0 + 3.0 + 2.0 + 10.0


def test_by_work_counts_the_mean_of_both_ranks_of_work_alone(mean: FamilyMean) -> None:
    asked = scores(**{column(WORK): 1.0, column(KEPT_WORK): 2.0, column(PARAMETERS): 9.0}, f0=7.0)

    assert mean.by_work(asked).item() == -0.5 * 1.5
    assert mean.opinions(asked)[0].tolist() == [mean.learned(asked).item(), mean.by_work(asked).item()]


@pytest.mark.parametrize(("num_spaces", "by_work"), [(1, 0.75), (3, 0.5), (9, 0.25)])
def test_the_fewer_spaces_were_learned_from_the_more_work_counts(
    mean: FamilyMean, num_spaces: int, by_work: float
) -> None:
    shares = replace(mean, num_spaces=num_spaces).shares

    assert shares == pytest.approx(((1 - by_work) / 2, (1 - by_work) / 2, by_work))


def test_it_comes_back_from_tensors(mean: FamilyMean) -> None:
    universal = UniversalMean({"accuracy": mean, "latency": mean})

    again = UniversalMean.from_tensors(universal.tensors())

    asked = torch.randn(20, NUM_GLOBAL_FEATURES, generator=torch.Generator().manual_seed(0))
    found = again.of("latency")
    assert found is not None
    assert torch.equal(found.opinions(asked), mean.opinions(asked))
    assert found.shares == mean.shares
    assert again.of("energy") is None
    assert again.sizes == universal.sizes == {
        family: {"boosted": [1, 3], "randomised": [1, 3]} for family in ("accuracy", "latency")
    }  # fmt: skip
    assert UniversalMean.from_tensors({}).sizes == {}


def test_a_throughput_that_nobody_learned_hears_what_is_fast(mean: FamilyMean) -> None:
    fast = replace(mean, linear=mean.linear + 1.0)
    universal = UniversalMean({"accuracy": mean, "latency": fast})

    assert universal.of("throughput") is fast
    assert universal.of("energy") is None
    assert UniversalMean({"latency": fast, "throughput": mean}).of("throughput") is mean
    assert UniversalMean({"accuracy": mean}).of("throughput") is None


def test_linear_weights_of_another_length_are_refused(mean: FamilyMean) -> None:
    with pytest.raises(ValueError, match="linear weights, got"):
        replace(mean, linear=torch.zeros(3))


def test_a_mean_that_no_space_taught_is_refused(mean: FamilyMean) -> None:
    with pytest.raises(ValueError, match="at least one search space to have been learned from, got 0"):
        replace(mean, num_spaces=0)


@pytest.mark.parametrize("part", ["linear", "work", "boosted"])
def test_a_family_that_lacks_a_part_is_refused(mean: FamilyMean, part: str) -> None:
    tensors = UniversalMean({"accuracy": mean}).tensors()
    del tensors[f"accuracy.{part}"]

    with pytest.raises(KeyError, match=rf"accuracy\.{part}"):
        UniversalMean.from_tensors(tensors)
