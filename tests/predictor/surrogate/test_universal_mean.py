"""Trees, and what is told of their files."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from predictor.encoding import NUM_GLOBAL_FEATURES
from predictor.surrogate.universal_mean import MAX_DEPTH, FamilyMean, Trees, UniversalMean


def stump(feature: int, threshold: float, left: float, right: float) -> Tensor:
    """One question, two leaves."""
    return torch.tensor([[feature, threshold, 1.0, 2.0, 0.0], [0.0, 0.0, 1.0, 1.0, left], [0.0, 0.0, 2.0, 2.0, right]])


def chain(depth: int) -> Tensor:
    """A tree that asks again and again to the right."""
    rows = []
    for level in range(depth):
        rows += [
            [0.0, 0.0, 2.0 * level + 1.0, 2.0 * level + 2.0, 0.0],
            [0.0, 0.0, 2.0 * level + 1.0, 2.0 * level + 1.0, 0.0],
        ]
    return torch.tensor([[*rows, [0.0, 0.0, 2.0 * depth, 2.0 * depth, 1.0]]])


def scores(**features: float) -> Tensor:
    row = torch.zeros(1, NUM_GLOBAL_FEATURES)
    for name, value in features.items():
        row[0, int(name[1:])] = value
    return row


@pytest.fixture
def mean() -> FamilyMean:
    linear = torch.zeros(NUM_GLOBAL_FEATURES + 1)
    linear[2], linear[-1] = 0.5, 10.0
    return FamilyMean(Trees(stump(0, 0.3, -1.0, 1.0)[None]), Trees(stump(1, 0.0, 2.0, 3.0)[None]), linear)


def test_trees_are_added_up_and_equal_goes_left() -> None:
    trees = Trees(torch.stack([stump(0, 0.3, -1.0, 1.0), stump(1, 0.0, 2.0, 3.0)]))

    asked = torch.cat([scores(f0=0.3), scores(f0=0.4), scores(f0=0.4, f1=0.1), scores(f0=-5.0, f1=5.0)])

    assert trees(asked).tolist() == [1.0, 3.0, 4.0, 2.0]
    assert trees(asked[:0]).shape == (0,)


def test_a_mean_is_its_three_parts_together(mean: FamilyMean) -> None:
    assert mean(scores(f0=1.0, f1=1.0, f2=4.0)).item() == 1.0 + 3.0 + 2.0 + 10.0


def test_deep_trees_are_followed_to_their_end() -> None:
    assert Trees(chain(MAX_DEPTH))(scores(f0=1.0)).item() == 1.0
    assert Trees(chain(MAX_DEPTH))(scores(f0=-1.0)).item() == 0.0


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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda nodes: nodes[..., :4], "expected trees of shape"),
        (lambda nodes: nodes[:0], "expected trees of shape"),
        (lambda nodes: nodes[0], "expected trees of shape"),
        (lambda nodes: nodes.expand(2000, 3, 5), "at most 1000 trees"),
        (lambda nodes: nodes.index_put((torch.tensor(0), torch.tensor(0), torch.tensor(0)), torch.tensor(1e6)), "features below"),
        (lambda nodes: nodes.index_put((torch.tensor(0), torch.tensor(0), torch.tensor(0)), torch.tensor(-1.0)), "features below"),
        (lambda nodes: nodes.index_put((torch.tensor(0), torch.tensor(0), torch.tensor(2)), torch.tensor(7.0)), "lead to later ones"),
        (lambda nodes: nodes.index_put((torch.tensor(0), torch.tensor(1), torch.tensor(3)), torch.tensor(0.0)), "lead to later ones"),
        (lambda nodes: nodes.index_put((torch.tensor(0), torch.tensor(0), torch.tensor(2)), torch.tensor(0.0)), "lead to later ones"),
        (lambda _: chain(MAX_DEPTH + 1), "expected trees of depth"),
    ],
)  # fmt: skip
def test_what_is_no_tree_is_refused(change: Callable[[Tensor], Tensor], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Trees(change(stump(0, 0.0, 1.0, 2.0)[None]))


def test_linear_weights_of_another_length_are_refused(mean: FamilyMean) -> None:
    with pytest.raises(ValueError, match="linear weights, got"):
        FamilyMean(mean.boosted, mean.randomised, torch.zeros(3))


def test_a_family_that_lacks_a_part_is_refused(mean: FamilyMean) -> None:
    tensors = UniversalMean({"accuracy": mean}).tensors()
    del tensors["accuracy.linear"]

    with pytest.raises(KeyError, match=r"accuracy\.linear"):
        UniversalMean.from_tensors(tensors)
