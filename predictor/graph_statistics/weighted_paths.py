"""Most and least of a weight on the ways to every node of a graph, and how many ways there are.

Notation: B graphs, N nodes in topological order, P weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor.graph_statistics.path_statistics import are_chains

_UNREACHED, _MOST_WAYS = 1e9, 1e12


@dataclass(frozen=True)
class Paths:
    """Per node, over all ways from where nothing comes in: most and least of each weight, and the number of ways."""

    longest: Tensor  # (P, B, N)
    shortest: Tensor  # (P, B, N)
    ways: Tensor  # (B, N)


def weighted_paths(into: NDArray[np.float32], mask: Tensor, *weights: Tensor) -> Paths:  # (N, N, B), (B, N), P × (B, N)
    """Dynamic programme over nodes in topological order, all graphs at once; a node's own weight is included.

    `into` is 1 at [target, source]. In NumPy, whose calls are cheaper, and with graphs last, so that what is done for each of
    them runs along the memory.
    """
    longest = np.stack([one.numpy().T for one in weights])  # (P, N, B)
    if are_chains(into, mask.numpy().T):
        so_far = _graphs_first(longest.cumsum(axis=1))
        return Paths(so_far, so_far, mask)
    blocked = np.float32(_UNREACHED) * (into == 0.0)
    is_fed = into.max(axis=1) > 0.0  # (N, B)
    shortest, ways = longest.copy(), np.array(mask.numpy().T, order="C")
    for node in range(1, len(into)):
        fed = is_fed[node]
        longest[:, node] += fed * (longest[:, :node] - blocked[node, :node]).max(axis=1)
        shortest[:, node] += fed * (shortest[:, :node] + blocked[node, :node]).min(axis=1)
        count = np.minimum((into[node, :node] * ways[:node]).sum(axis=0), np.float32(_MOST_WAYS))
        ways[node] = np.where(fed, count, ways[node])
    return Paths(_graphs_first(longest), _graphs_first(shortest), _graphs_first(ways))


def _graphs_first(values: NDArray[np.float32]) -> Tensor:  # (…, N, B) -> (…, B, N)
    return torch.from_numpy(np.ascontiguousarray(values.swapaxes(-1, -2)))
