"""The universal mean: what is known of architectures from all search spaces, before anything of this one was measured.

It reads the statistics of a graph by their rank in its space (`SpaceReference.normal_scores`), which mean the same in every
space, and answers with standardised goodness, for one metric family. Three answers are averaged: of boosted trees (Friedman,
"Greedy Function Approximation", Annals of Statistics 2001), of extremely randomised trees (Geurts et al., Machine Learning 2006)
and of a ridge regression; `predictor.meta.universal_fitting` fits them. Trees err little where spaces are alike, the ridge less where
they are not. That transferring the mean is worth more than the kernel alone: Wang et al., "Pre-trained Gaussian Processes
for Bayesian Optimization", JMLR 2024.

Notation: Q architectures, G global features, T trees, M nodes of the largest tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from predictor.encoding import NUM_GLOBAL_FEATURES

MAX_TREES, MAX_TREE_NODES, MAX_DEPTH = 1_000, 2_047, 64
_FEATURE, _THRESHOLD, _LEFT, _RIGHT, _VALUE = range(5)
NUM_COLUMNS = 5
"""Of a tree's nodes: which feature is asked, up to what it goes left, the nodes to the left and to the right, and what a leaf adds.
Both ways from a leaf lead to itself."""


class Trees:
    """Regression trees whose answers are added up. Immutable."""

    def __init__(self, nodes: Tensor) -> None:
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
        features, left, right = (nodes[..., column].long() for column in (_FEATURE, _LEFT, _RIGHT))
        if bool(((features < 0) | (features >= NUM_GLOBAL_FEATURES)).any()):
            raise ValueError(f"expected trees to ask for features below {NUM_GLOBAL_FEATURES}")
        own = torch.arange(nodes.shape[1]).expand_as(left)
        is_leaf = (left == own) & (right == own)
        goes_on = (left > own) & (right > own) & (left < nodes.shape[1]) & (right < nodes.shape[1])
        if not bool((is_leaf | goes_on).all()):
            raise ValueError("expected nodes of trees to lead to later ones, or a leaf to itself")
        self.nodes = nodes
        first = torch.arange(len(nodes))[:, None] * nodes.shape[1]  # of every tree in one row of nodes
        self._features, self._thresholds = features.flatten(), nodes[..., _THRESHOLD].flatten()
        self._ways = torch.stack([(right + first).flatten(), (left + first).flatten()])  # (2, T M)
        self._values, self._roots = nodes[..., _VALUE].flatten(), first[:, 0]
        self._depth = self._greatest_depth(is_leaf.flatten())

    def _greatest_depth(self, is_leaf: Tensor) -> int:
        level, depth = self._roots, 0
        while len(level := level[~is_leaf[level]]):
            level, depth = torch.unique(self._ways[:, level]), depth + 1
            if depth > MAX_DEPTH:
                raise ValueError(f"expected trees of depth {MAX_DEPTH} at most, got deeper ones")
        return depth

    def __call__(self, scores: Tensor) -> Tensor:  # (Q, G) -> (Q,)
        """The sum over trees."""
        at = self._roots.expand(len(scores), -1)  # (Q, T)
        for _ in range(self._depth):
            goes_left = scores.gather(1, self._features[at]) <= self._thresholds[at]
            at = torch.where(goes_left, self._ways[1][at], self._ways[0][at])
        return self._values[at].sum(1)


@dataclass(frozen=True)
class FamilyMean:
    """The mean for one metric family: three parts that add up."""

    boosted: Trees
    randomised: Trees
    linear: Tensor  # (G + 1,) weights, then the constant

    def __post_init__(self) -> None:
        if self.linear.shape != (NUM_GLOBAL_FEATURES + 1,):
            raise ValueError(f"expected {NUM_GLOBAL_FEATURES + 1} linear weights, got {tuple(self.linear.shape)}")

    def __call__(self, scores: Tensor) -> Tensor:  # (Q, G) normal scores -> (Q,) standardised goodness
        """The mean."""
        return self.boosted(scores) + self.randomised(scores) + scores @ self.linear[:-1] + self.linear[-1]


class UniversalMean:
    """The means of all metric families that were learned. Immutable; may be called from any thread."""

    def __init__(self, families: Mapping[str, FamilyMean]) -> None:
        """By name of the family."""
        self._families = dict(families)

    def of(self, family: str) -> FamilyMean | None:
        """That family's mean; None where none was learned."""
        return self._families.get(family)

    @property
    def sizes(self) -> dict[str, dict[str, list[int]]]:
        """Trees and nodes of each family's parts, for a manifest."""
        return {
            family: {"boosted": list(one.boosted.nodes.shape[:2]), "randomised": list(one.randomised.nodes.shape[:2])}
            for family, one in self._families.items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        found: dict[str, Tensor] = {}
        for family, one in self._families.items():
            found |= {f"{family}.boosted": one.boosted.nodes, f"{family}.randomised": one.randomised.nodes}
            found[f"{family}.linear"] = one.linear
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> UniversalMean:
        """From `tensors`.

        Raises:
            ValueError: if they are not of that form.
            KeyError: if a part is missing.
        """
        families = sorted({name.rpartition(".")[0] for name in tensors})
        return cls(
            {
                family: FamilyMean(
                    Trees(tensors[f"{family}.boosted"]),
                    Trees(tensors[f"{family}.randomised"]),
                    tensors[f"{family}.linear"],
                )
                for family in families
            }
        )
