"""Regression trees as plain numbers: grown by `growing.py` or by scikit-learn, kept in safetensors, answered here.

Notation: Q asked rows, F features, T trees, M nodes of the largest tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_TREES, MAX_TREE_NODES, MAX_DEPTH = 1_000, 2_047, 64
NUM_COLUMNS = 5
"""Of a tree's nodes: which feature is asked, up to what it goes left, the nodes to the left and to the right, and what a leaf adds.
Both ways from a leaf lead to itself."""

FEATURE, THRESHOLD, LEFT, RIGHT, VALUE = range(NUM_COLUMNS)
_BLOCK = 256  # rows that are led through all trees at once: where they are then stays near the processor


class Trees:
    """Regression trees whose answers are added up. Immutable."""

    def __init__(self, nodes: Tensor, num_features: int) -> None:
        """From nodes (T, M, NUM_COLUMNS), each after the one that leads to it.

        Raises:
            ValueError: if they are of another shape, ask for a feature that is not there, lead nowhere or back, or too deep.
        """
        if nodes.dim() != 3 or nodes.shape[2] != NUM_COLUMNS or 0 in nodes.shape:
            raise ValueError(f"expected trees of shape (T, M, {NUM_COLUMNS}), got {tuple(nodes.shape)}")
        if nodes.shape[0] > MAX_TREES or nodes.shape[1] > MAX_TREE_NODES:
            raise ValueError(
                f"expected at most {MAX_TREES} trees of {MAX_TREE_NODES} nodes, got {tuple(nodes.shape[:2])}"
            )
        features, left, right = (nodes[..., column].long() for column in (FEATURE, LEFT, RIGHT))
        if bool(((features < 0) | (features >= num_features)).any()):
            raise ValueError(f"expected trees to ask for features below {num_features}")
        own = torch.arange(nodes.shape[1]).expand_as(left)
        is_leaf = (left == own) & (right == own)
        goes_on = (left > own) & (right > own) & (left < nodes.shape[1]) & (right < nodes.shape[1])
        if not bool((is_leaf | goes_on).all()):
            raise ValueError("expected nodes of trees to lead to later ones, or a leaf to itself")
        self.nodes, self.num_features = nodes, num_features
        first = torch.arange(len(nodes))[:, None] * nodes.shape[1]  # of every tree in one row of nodes
        self._features = features.flatten().numpy()
        self._thresholds = nodes[..., THRESHOLD].flatten().numpy()
        ways = torch.stack([right + first, left + first], dim=-1)  # a node's way to the left after that to the right
        self._ways = ways.flatten().numpy()  # (2 T M,)
        self._values, self._roots = nodes[..., VALUE].flatten().numpy(), first[:, 0].numpy()
        self._depth = self._greatest_depth(is_leaf.flatten().numpy())

    @classmethod
    def grown(cls, trees: Sequence[Any], factor: float) -> Trees:
        """From scikit-learn's `tree_` of each, what they answer multiplied by a factor."""
        nodes = torch.zeros(len(trees), max(tree.node_count for tree in trees), NUM_COLUMNS)
        nodes[..., LEFT : RIGHT + 1] = torch.arange(nodes.shape[1])[:, None].float()  # beyond a tree's end: leaves
        for tree, row in zip(trees, nodes, strict=True):
            row[: tree.node_count] = _rows(tree, factor)
        return cls(nodes, trees[0].n_features)

    def _greatest_depth(self, is_leaf: NDArray[np.bool_]) -> int:
        level, depth = self._roots, 0
        while len(level := level[~is_leaf[level]]):
            level, depth = np.unique(self._ways[np.concatenate([2 * level, 2 * level + 1])]), depth + 1
            if depth > MAX_DEPTH:
                raise ValueError(f"expected trees of depth {MAX_DEPTH} at most, got deeper ones")
        return depth

    def __call__(self, rows: Tensor) -> Tensor:  # (Q, F) -> (Q,)
        """The sum over trees; a number that equals a threshold goes left.

        Raises:
            ValueError: if rows are of another width than the trees were grown on.
        """
        said = [found.sum(axis=1) for found in self._blocks(rows)]
        return torch.from_numpy(np.concatenate(said)) if said else torch.zeros(0)

    def each(self, rows: Tensor) -> Tensor:  # (Q, F) -> (Q, T)
        """What every tree adds.

        Raises:
            ValueError: if rows are of another width than the trees were grown on.
        """
        said = list(self._blocks(rows))
        return torch.from_numpy(np.concatenate(said)) if said else torch.zeros(0, len(self.nodes))

    def _blocks(self, rows: Tensor) -> Iterator[NDArray[np.float32]]:  # (Q, F) -> (up to _BLOCK, T) each
        if rows.dim() != 2 or rows.shape[1] != self.num_features:
            raise ValueError(f"expected rows of {self.num_features} features, got {tuple(rows.shape)}")
        asked = np.ascontiguousarray(rows.detach().numpy())
        return (self._answers(asked[start : start + _BLOCK]) for start in range(0, len(asked), _BLOCK))

    def _answers(self, asked: NDArray[np.float32]) -> NDArray[np.float32]:  # (Q, F) -> (Q, T)
        numbers, first = asked.ravel(), np.arange(len(asked))[:, None] * asked.shape[1]
        at = np.broadcast_to(self._roots, (len(asked), len(self._roots)))  # (Q, T)
        for _ in range(self._depth):
            goes_left = numbers.take(first + self._features.take(at)) <= self._thresholds.take(at)
            at = self._ways.take(2 * at + goes_left)
        found: NDArray[np.float32] = self._values.take(at)
        return found


def _rows(tree: Any, factor: float) -> Tensor:  # (nodes of the tree, NUM_COLUMNS)
    own, is_leaf = np.arange(tree.node_count), tree.children_left < 0
    columns = [
        np.where(is_leaf, 0, tree.feature),
        np.where(is_leaf, 0.0, _not_above(tree.threshold)),
        np.where(is_leaf, own, tree.children_left),
        np.where(is_leaf, own, tree.children_right),
        np.where(is_leaf, tree.value[:, 0, 0] * factor, 0.0),
    ]
    return torch.from_numpy(np.stack(columns, axis=1)).float()


def _not_above(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The greatest single-precision numbers that are not above: what goes left of one goes left of the other."""
    single = thresholds.astype(np.float32)
    lower = np.nextafter(single, np.float32(-np.inf))
    return np.where(single > thresholds, lower, single).astype(np.float64)
