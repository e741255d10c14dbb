"""The three parts of the universal mean, and what is told of their files."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from predictor.encoding import NUM_GLOBAL_FEATURES
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
    return FamilyMean(tree(0, 0.3, -1.0, 1.0), tree(1, 0.0, 2.0, 3.0), linear)


def test_a_mean_is_its_three_parts_together(mean: FamilyMean) -> None:
    assert mean(scores(f0=1.0, f1=1.0, f2=4.0)).item() == 1.0 + 3.0 + 2.0 + 10.0


def test_it_comes_back_from_tensors(mean: FamilyMean) -> None:
    universal = UniversalMean({"accuracy": mean, "latency": mean})

    again = UniversalMean.from_tensors(universal.tensors())

    asked = torch.randn(20, NUM_GLOBAL_FEATURES, generator=torch.Generator().manual_seed(0))
    found = again.of("latency")
    assert found is not None
    assert torch.equal(found(asked), mean(asked))
    assert again.of("energy") is None
    assert again.sizes == universal.sizes == {
        family: {"boosted": [1, 3], "randomised": [1, 3]} for family in ("accuracy", "latency")
    }  # fmt: skip
    assert UniversalMean.from_tensors({}).sizes == {}


def test_a_throughput_that_nobody_learned_hears_what_is_fast(mean: FamilyMean) -> None:
    fast = FamilyMean(mean.boosted, mean.randomised, mean.linear + 1.0)
    universal = UniversalMean({"accuracy": mean, "latency": fast})

    assert universal.of("throughput") is fast
    assert universal.of("energy") is None
    assert UniversalMean({"latency": fast, "throughput": mean}).of("throughput") is mean
    assert UniversalMean({"accuracy": mean}).of("throughput") is None


def test_linear_weights_of_another_length_are_refused(mean: FamilyMean) -> None:
    with pytest.raises(ValueError, match="linear weights, got"):
        FamilyMean(mean.boosted, mean.randomised, torch.zeros(3))


def test_a_family_that_lacks_a_part_is_refused(mean: FamilyMean) -> None:
    tensors = UniversalMean({"accuracy": mean}).tensors()
    del tensors["accuracy.linear"]

    with pytest.raises(KeyError, match=r"accuracy\.linear"):
        UniversalMean.from_tensors(tensors)
