"""Most and least of weights on the ways to every node of a graph, and how many ways there are.

Notation: B graphs, N nodes in topological order, P weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictor.graph_statistics.stacked_graphs import Array, StackedGraphs

MOST_WAYS = np.float32(1e12)
_UNREACHED = np.float32(1e9)


@dataclass(frozen=True)
class Paths:
    """Per node, over all ways from where nothing comes in: most and least of each weight, and the number of ways."""

    longest: Array  # (P, N, B)
    shortest: Array  # (P, N, B)
    ways: Array  # (N, B)

    def most(self, ends: Array) -> Array:  # (N, B) -> (P, B)
        """Of each weight, over the marked nodes; 0 where none is marked."""
        most: Array = (self.longest * ends).max(axis=1, initial=0.0)
        return most

    def least(self, ends: Array) -> Array:  # (N, B) -> (P, B)
        """Of each weight, over the marked nodes; 0 where none is marked."""
        least = np.where(ends > 0.0, self.shortest, _UNREACHED).min(axis=1, initial=_UNREACHED)
        return np.where(least < _UNREACHED, least, np.float32(0.0))


def weighted_paths(graphs: StackedGraphs, weights: Array) -> Paths:  # (P, N, B)
    """A node's own weight is included."""
    if graphs.are_chains:
        so_far: Array = weights.cumsum(axis=1)
        return Paths(so_far, so_far, graphs.mask)
    longest, shortest, ways = weights.copy(), weights.copy(), np.array(graphs.mask, order="C")
    blocked = _UNREACHED * (graphs.into == 0.0)
    for node, sources in enumerate(graphs.sources):
        if sources:
            fed = graphs.is_fed[node]
            longest[:, node] += fed * (longest[:, sources] - blocked[node, sources]).max(axis=1)
            shortest[:, node] += fed * (shortest[:, sources] + blocked[node, sources]).min(axis=1)
            count = np.minimum((graphs.into[node, sources] * ways[sources]).sum(axis=0), MOST_WAYS)
            ways[node] = np.where(fed, count, ways[node])
    return Paths(longest, shortest, ways)
