"""Extremely randomised trees (Geurts et al., "Extremely randomized trees", Machine Learning 2006) on bootstrap samples, grown level by level,
many trees at once.

scikit-learn grows the same trees one by one (`tests/predictor/surrogate/test_growing.py` holds the two beside each other), but whoever imports it
waits for seconds and keeps 80 MB, in the service and in each of its workers.

Notation: S observations, F columns, T trees, M nodes of the largest tree; within a block of trees L rows in all, O open nodes, C columns that
a node tries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.surrogate.trees import FEATURE, LEFT, NUM_COLUMNS, RIGHT, THRESHOLD, VALUE

_BLOCK = 1 << 18  # numbers of a level that are looked at together: they stay near the processor
_LEAST_GAIN = 1e-12  # of a split, in squared units of the targets
_ALIKE = 1e-9  # gains that differ by less, relatively, are the same

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Growth:
    """How trees are grown."""

    num_trees: int = 100
    least_in_leaf: int = 2  # different observations
    share_tried: float = 0.5  # of the columns, at each node
    max_depth: int = 32
    max_drawn: int = 512  # observations of one tree's sample, with replacement
    seed: int = 0


@dataclass(frozen=True)
class _Level:
    """Rows of all open nodes at one depth, those of one node beside each other."""

    at: Counts  # (L,) which observation
    weights: Doubles  # (L,) how often their tree drew them
    starts: Counts  # (O,) where a node's rows begin
    trees: Counts  # (O,) in ascending order
    places: Counts  # (O,) of the node in its tree

    @property
    def sizes(self) -> Counts:
        return np.diff(self.starts, append=len(self.at))

    def of_nodes(self, chosen: Flags) -> _Level:  # (O,)
        """These nodes alone."""
        sizes = self.sizes
        rows = np.repeat(chosen, sizes)
        return _Level(
            self.at[rows], self.weights[rows], _starts(sizes[chosen]), self.trees[chosen], self.places[chosen]
        )


def grow(rows: Floats, targets: Doubles, weights: Doubles, growth: Growth) -> tuple[Floats, Counts]:
    """Nodes (T, M, NUM_COLUMNS) as `Trees` takes them, whose leaves hold means of targets, and how often each tree drew each observation
    (T, S), the more often the more it weighs: from rows (S, F), targets (S,) and weights (S,), all above 0. The same seed grows the same trees."""
    rng = np.random.default_rng(growth.seed)
    drawn = _drawn(rng, weights, growth)
    grower = _Grower(rows, targets, growth, rng)
    most_drawn = int((drawn > 0).sum(axis=1).max())  # different observations
    most = max(1, 2 * (most_drawn // growth.least_in_leaf) - 1)  # nodes
    nodes = np.zeros((growth.num_trees, most, NUM_COLUMNS), np.float32)
    nodes[..., LEFT] = nodes[..., RIGHT] = np.arange(most)
    at_once = max(1, _BLOCK // (most_drawn * max(1, grower.num_tried)))
    blocks = [slice(start, start + at_once) for start in range(0, growth.num_trees, at_once)]
    num_nodes = max(grower.grow_into(nodes[block], drawn[block]) for block in blocks)
    return nodes[:, :num_nodes], drawn


def _drawn(rng: np.random.Generator, weights: Doubles, growth: Growth) -> Counts:  # (T, S)
    num_rows, num_trees = len(weights), growth.num_trees
    draws = rng.choice(num_rows, size=(num_trees, min(num_rows, growth.max_drawn)), p=weights / weights.sum())
    cells = draws + np.arange(num_trees)[:, None] * num_rows
    return np.bincount(cells.ravel(), minlength=num_trees * num_rows).reshape(num_trees, num_rows)


@dataclass(frozen=True)
class _Splits:
    """The best that each open node tried."""

    found: Flags  # (O,)
    columns: Counts  # (O,)
    thresholds: Floats  # (O,)
    goes_left: Flags  # (L,)


class _Grower:
    """Grows blocks of trees on the same observations."""

    def __init__(self, rows: Floats, targets: Doubles, growth: Growth, rng: np.random.Generator) -> None:
        self._rows, self._targets, self._growth, self._rng = rows, targets, growth, rng
        self._varying = np.flatnonzero(rows.min(axis=0) < rows.max(axis=0))
        self.num_tried = math.ceil(growth.share_tried * len(self._varying))  # columns of a node

    def grow_into(self, nodes: Floats, drawn: Counts) -> int:
        """Into nodes (T, M, NUM_COLUMNS) of a block, from how often each tree drew each observation (T, S); how many nodes the largest has."""
        trees, at = np.nonzero(drawn)
        starts = _starts(np.bincount(trees, minlength=len(nodes)))
        level = _Level(
            at, drawn[trees, at].astype(np.float64), starts, np.arange(len(nodes)), np.zeros(len(nodes), np.int64)
        )
        num_nodes = np.ones(len(nodes), np.int64)  # of each tree so far
        for depth in range(self._growth.max_depth + 1):
            values = self._targets[level.at]
            means = np.add.reduceat(level.weights * values, starts) / np.add.reduceat(level.weights, starts)
            nodes[level.trees, level.places, VALUE] = means
            differ = np.minimum.reduceat(values, starts) < np.maximum.reduceat(values, starts)
            is_open = differ & (level.sizes >= 2 * self._growth.least_in_leaf)
            if depth == self._growth.max_depth or not self.num_tried or not is_open.any():
                break
            level = level.of_nodes(is_open)
            split = self._best_splits(level, self._targets[level.at] - np.repeat(means[is_open], level.sizes))
            if not split.found.any():
                break
            goes_left, level = split.goes_left[np.repeat(split.found, level.sizes)], level.of_nodes(split.found)
            first = num_nodes[level.trees] + 2 * _rank_within(level.trees)
            for column, numbers in (
                (FEATURE, split.columns[split.found]),
                (THRESHOLD, split.thresholds[split.found]),
                (LEFT, first),
                (RIGHT, first + 1),
                (VALUE, np.zeros(len(first))),
            ):
                nodes[level.trees, level.places, column] = numbers
            num_nodes += 2 * np.bincount(level.trees, minlength=len(nodes))
            level = _children(level, goes_left, first)
            starts = level.starts
        return int(num_nodes.max())

    def _best_splits(self, level: _Level, deviations: Doubles) -> _Splits:
        """One threshold is drawn for each column that a node tries; deviations (L,) are from the node's mean."""
        sizes, starts, least = level.sizes, level.starts, self._growth.least_in_leaf
        keys = self._rng.random((len(sizes), len(self._varying)), np.float32)
        tried = self._varying[keys.argpartition(self.num_tried - 1, axis=1)[:, : self.num_tried]]  # (O, C)
        asked = self._rows[level.at[:, None], np.repeat(tried, sizes, axis=0)]  # (L, C)
        lowest, highest = np.minimum.reduceat(asked, starts), np.maximum.reduceat(asked, starts)  # (O, C)
        thresholds = lowest + self._rng.random(lowest.shape, np.float32) * (highest - lowest)
        thresholds = np.where(thresholds < highest, thresholds, lowest)
        goes_left = asked <= np.repeat(thresholds, sizes, axis=0)
        num_left = np.add.reduceat(goes_left, starts, dtype=np.int64)
        weight_left = np.add.reduceat(goes_left * level.weights[:, None], starts)
        weight_right = np.add.reduceat(level.weights, starts)[:, None] - weight_left
        sum_left = np.add.reduceat(goes_left * (level.weights * deviations)[:, None], starts)  # less that of the right
        allowed = (num_left >= least) & (sizes[:, None] - num_left >= least)
        # what the split explains, divided by the node's weight
        gains = np.divide(sum_left**2, weight_left * weight_right, out=np.full(allowed.shape, -1.0), where=allowed)
        greatest, each = gains.max(axis=1), np.arange(len(sizes))
        best = (gains >= greatest[:, None] * (1.0 - _ALIKE)).argmax(axis=1)  # the first, whatever is rounded how
        left = goes_left[np.arange(len(asked)), np.repeat(best, sizes)]
        return _Splits(greatest > _LEAST_GAIN, tried[each, best], thresholds[each, best], left)


def _children(level: _Level, goes_left: Flags, first: Counts) -> _Level:
    """The level below, whose left nodes have the places `first` (O,) and whose right ones the next."""
    child = 2 * np.repeat(np.arange(len(first)), level.sizes) + ~goes_left
    order = np.argsort(child, kind="stable")
    starts = _starts(np.bincount(child, minlength=2 * len(first)))
    places = np.stack([first, first + 1], axis=1).ravel()
    return _Level(level.at[order], level.weights[order], starts, np.repeat(level.trees, 2), places)


def _starts(sizes: Counts) -> Counts:
    return np.concatenate([[0], np.cumsum(sizes)[:-1]])


def _rank_within(groups: Counts) -> Counts:
    """Of each entry among those of its group before it; groups are in ascending order."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
