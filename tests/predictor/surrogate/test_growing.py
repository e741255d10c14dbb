"""Extremely randomised trees: what grows, and that it is what scikit-learn grows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from predictor.surrogate.growing import Growth, grow
from predictor.surrogate.trees import LEFT, NUM_COLUMNS, RIGHT, VALUE, Trees

GROWTH = Growth()
MANY = replace(GROWTH, num_trees=400)  # so that chance averages out
Rows = NDArray[np.float32]
Values = NDArray[np.float64]


def drawn_from(seed: int, count: int) -> tuple[Rows, Values]:
    """Columns of three kinds (smooth, of few values, the same everywhere), and targets that a step, a product and noise decide."""
    rng = np.random.default_rng(seed)
    smooth, few = rng.normal(size=(count, 6)), rng.integers(0, 3, size=(count, 6))
    rows = np.concatenate([smooth, few, np.ones((count, 2))], axis=1).astype(np.float32)
    return rows, np.where(few[:, 0] == 2, 1.5, 0.0) + smooth[:, 0] * few[:, 1] + rng.normal(0.0, 0.3, count)


def forest_of(rows: Rows, targets: Values, growth: Growth, weights: Values | None = None) -> Trees:
    nodes, _ = grow(rows, targets, np.ones(len(rows)) if weights is None else weights, growth)
    nodes[..., VALUE] /= growth.num_trees
    return Trees(torch.from_numpy(nodes), rows.shape[1])


def answers(trees: Trees, rows: Rows) -> Values:
    return trees(torch.from_numpy(rows)).double().numpy()


def apart(first: Values, second: Values) -> float:
    return float(np.sqrt(np.mean((first - second) ** 2)))


def theirs(rows: Rows, targets: Values, growth: Growth, weights: Values, asked: Rows) -> Values:
    forest = ExtraTreesRegressor(
        growth.num_trees,
        min_samples_leaf=growth.least_in_leaf,
        max_features=growth.share_tried,
        max_depth=growth.max_depth,
        bootstrap=True,
        max_samples=min(len(rows), growth.max_drawn),
        random_state=growth.seed,
    )
    said: Values = forest.fit(rows, targets, sample_weight=weights).predict(asked)
    return said


@pytest.mark.parametrize("count", [12, 60, 300, 900])
def test_forests_say_what_those_of_scikit_learn_say(count: int) -> None:
    """As like each other as two of ours with other seeds are, and as far from the truth, on rows that none has seen."""
    rows, targets = drawn_from(0, count)
    asked, truth = drawn_from(1, 400)
    weights = np.random.default_rng(2).uniform(0.1, 1.9, count)

    own, again = (answers(forest_of(rows, targets, replace(MANY, seed=seed), weights), asked) for seed in (0, 1))
    other = theirs(rows, targets, MANY, weights, asked)

    assert apart(own, other) < 1.3 * apart(own, again)
    assert apart(own, truth) == pytest.approx(apart(other, truth), rel=0.05)


def test_what_weighs_little_is_hardly_heard() -> None:
    rows, targets = drawn_from(0, 200)
    weights = np.where(np.arange(200) % 2 == 0, 0.02, 1.98)
    told = np.where(np.arange(200) % 2 == 0, -targets, targets)
    asked, truth = drawn_from(1, 300)

    weighed, alike = (answers(forest_of(rows, told, GROWTH, given), asked) for given in (weights, np.ones(200)))

    assert apart(weighed, truth) < 0.7 * apart(alike, truth)


def test_a_leaf_holds_the_mean_of_what_its_tree_drew() -> None:
    rows, targets = drawn_from(0, 50)
    nodes, drawn = grow(rows, targets, np.linspace(0.5, 1.5, 50), GROWTH)

    said = Trees(torch.from_numpy(nodes), rows.shape[1]).each(torch.from_numpy(rows)).numpy()  # (S, T): leaves by value

    for tree, counts in enumerate(drawn):
        for leaf in np.unique(said[counts > 0, tree]):
            members = (counts > 0) & (said[:, tree] == leaf)
            assert members.sum() >= GROWTH.least_in_leaf
            assert leaf == pytest.approx(np.average(targets[members], weights=counts[members]), abs=1e-5)


def test_each_tree_draws_as_many_as_there_are_up_to_a_bound() -> None:
    _, few = grow(*drawn_from(0, 40), np.ones(40), GROWTH)
    nodes, many = grow(*drawn_from(0, 1_000), np.ones(1_000), GROWTH)

    assert set(few.sum(axis=1)) == {40}
    assert set(many.sum(axis=1)) == {GROWTH.max_drawn}
    assert len({row.tobytes() for row in few}) == GROWTH.num_trees  # no two the same
    assert nodes.shape[1] < GROWTH.max_drawn


def test_trees_end_at_the_greatest_depth() -> None:
    rows, targets = drawn_from(0, 400)
    growth = replace(GROWTH, max_depth=2, num_trees=5)

    nodes, _ = grow(rows, targets, np.ones(400), growth)

    assert nodes.shape == (5, 7, NUM_COLUMNS)
    assert len(np.unique(answers(forest_of(rows, targets, growth), rows))) > 4  # five trees of four leaves


@pytest.mark.parametrize(
    ("rows", "targets"),
    [
        (np.ones((20, 3)), np.arange(20.0)),  # nothing to ask
        (np.ones((20, 0)), np.arange(20.0)),
        (np.arange(60.0).reshape(20, 3), np.full(20, 4.0)),  # nothing to tell
        (np.arange(6.0).reshape(2, 3), np.array([0.0, 1.0])),  # too few for two leaves
        (np.arange(3.0).reshape(1, 3), np.array([4.0])),
    ],
)
def test_where_nothing_can_be_split_every_tree_is_one_leaf(rows: Values, targets: Values) -> None:
    nodes, drawn = grow(rows.astype(np.float32), targets, np.ones(len(rows)), GROWTH)

    assert nodes.shape == (GROWTH.num_trees, 1, NUM_COLUMNS)
    assert not nodes[..., [LEFT, RIGHT]].any()
    np.testing.assert_allclose(nodes[:, 0, VALUE], drawn @ targets / drawn.sum(axis=1), rtol=1e-6)


def test_numbers_next_to_each_other_are_told_apart() -> None:
    low = np.float32(1.0)
    rows = np.where(np.arange(40) % 2 == 0, low, np.nextafter(low, np.float32(2.0))).astype(np.float32)[:, None]

    said = answers(forest_of(rows, np.arange(40) % 2 * 1.0, GROWTH), rows)

    np.testing.assert_allclose(said, np.arange(40) % 2, atol=1e-6)


def test_the_same_seed_grows_the_same_trees_and_another_seed_others() -> None:
    rows, targets = drawn_from(0, 60)

    first, again, other = (grow(rows, targets, np.ones(60), replace(GROWTH, seed=seed))[0] for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
