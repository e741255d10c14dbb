"""Trees as plain numbers: what they answer, and what is no tree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.ensemble import ExtraTreesRegressor
from torch import Tensor

from predictor.surrogate.trees import MAX_DEPTH, Trees

NUM_FEATURES = 12


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


def asked_of(*numbers: float) -> Tensor:
    row = torch.zeros(1, NUM_FEATURES)
    row[0, : len(numbers)] = torch.tensor(numbers)
    return row


def test_trees_are_added_up_and_equal_goes_left() -> None:
    trees = Trees(torch.stack([stump(0, 0.3, -1.0, 1.0), stump(1, 0.0, 2.0, 3.0)]), NUM_FEATURES)

    asked = torch.cat([asked_of(0.3), asked_of(0.4), asked_of(0.4, 0.1), asked_of(-5.0, 5.0)])

    assert trees(asked).tolist() == [1.0, 3.0, 4.0, 2.0]
    assert trees(asked[:0]).shape == (0,)


def test_deep_trees_are_followed_to_their_end() -> None:
    assert Trees(chain(MAX_DEPTH), NUM_FEATURES)(asked_of(1.0)).item() == 1.0
    assert Trees(chain(MAX_DEPTH), NUM_FEATURES)(asked_of(-1.0)).item() == 0.0


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
        Trees(change(stump(0, 0.0, 1.0, 2.0)[None]), NUM_FEATURES)


def test_trees_answer_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(400, NUM_FEATURES)).round(1).astype(np.float32)  # many equal values
    forest = ExtraTreesRegressor(7, max_depth=6, random_state=0).fit(scores, scores[:, 0] * scores[:, 1])

    trees = Trees.grown([one.tree_ for one in forest.estimators_], 1.0 / 7)

    np.testing.assert_allclose(trees(torch.from_numpy(scores)).numpy(), forest.predict(scores), rtol=1e-4, atol=1e-5)


def test_rows_of_another_width_are_refused() -> None:
    trees = Trees(stump(0, 0.0, 1.0, 2.0)[None], NUM_FEATURES)

    with pytest.raises(ValueError, match="expected rows of 12 features"):
        trees(torch.zeros(3, NUM_FEATURES + 1))


def test_many_rows_are_answered_as_one_by_one() -> None:
    trees = Trees(torch.stack([stump(0, 0.3, -1.0, 1.0), stump(1, 0.0, 2.0, 3.0)]), NUM_FEATURES)
    rows = torch.randn(600, NUM_FEATURES, generator=torch.Generator().manual_seed(0))

    assert torch.equal(trees(rows), torch.cat([trees(row[None]) for row in rows]))


def test_what_each_tree_adds_is_told_beside_the_sum() -> None:
    trees = Trees(torch.stack([stump(0, 0.3, -1.0, 1.0), stump(1, 0.0, 2.0, 3.0)]), NUM_FEATURES)

    assert trees.each(torch.cat([asked_of(0.3), asked_of(0.4, 0.1)])).tolist() == [[-1.0, 2.0], [1.0, 3.0]]
    assert trees.each(asked_of(0.0)[:0]).shape == (0, 2)
