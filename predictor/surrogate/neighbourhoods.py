"""Likeness of graphs by the neighbourhoods of their nodes, as fixed random features that nothing has to be learned for.

Every node gets random cosine features (Rahimi & Recht, NeurIPS 2007) of its operation, then of itself together with the sums
over its sources and over its targets; the sum over nodes stands for the graph. Inner products approximate a smooth form of the
Weisfeiler–Lehman kernel of depth one (Shervashidze et al., JMLR 2011): alike neighbourhoods count as partly equal.

Notation: B architectures, N nodes, F static node features, O features of an operation, W features of a neighbourhood.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from predictor.encoding import NUM_STATIC_FEATURES, GraphBatch

_NUM_OPERATION = 64
NUM_NEIGHBOURHOOD_FEATURES = 128
"""W."""
_OPERATION_SPREAD, _NEIGHBOUR_SPREAD = 1.0, 0.5


def neighbourhood_features(batch: GraphBatch) -> Tensor:  # (B, W)
    """The same for the same graphs, on every machine and in every version."""
    (into, own, sources, targets), (first_phase, second_phase) = _weights(), _phases()
    real = batch.mask[..., None]
    operation = torch.cos(batch.nodes[..., :NUM_STATIC_FEATURES] @ into + first_phase).mul_(real)  # (B, N, O)
    backward = batch.adjacency.transpose(-1, -2)
    mixed = operation @ own + (backward @ operation) @ sources + (batch.adjacency @ operation) @ targets
    return torch.cos(mixed + second_phase).mul_(real).sum(1) * math.sqrt(2.0 / NUM_NEIGHBOURHOOD_FEATURES)


@cache
def _weights() -> tuple[Tensor, ...]:
    spread = _NEIGHBOUR_SPREAD * math.sqrt(2.0 / _NUM_OPERATION)
    into = _normal(0, NUM_STATIC_FEATURES, _NUM_OPERATION) * _OPERATION_SPREAD
    return into, *(_normal(seed, _NUM_OPERATION, NUM_NEIGHBOURHOOD_FEATURES) * spread for seed in (1, 2, 3))


@cache
def _phases() -> tuple[Tensor, Tensor]:
    phases = [
        _uniform(seed, size) * 2.0 * math.pi for seed, size in ((4, _NUM_OPERATION), (5, NUM_NEIGHBOURHOOD_FEATURES))
    ]
    return torch.from_numpy(phases[0]).float(), torch.from_numpy(phases[1]).float()


def _uniform(seed: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Between 0 and 1, from raw bits: those of this generator never change, ready-made distributions may."""
    return (np.random.PCG64(seed).random_raw(size) >> np.uint64(11)).astype(np.float64) / 2.0**53


def _normal(seed: int, rows: int, columns: int) -> Tensor:  # (rows, columns)
    """Standard normal numbers (Box & Muller, 1958)."""
    first, second = _uniform(seed, 2 * rows * columns).reshape(2, rows, columns)
    return torch.from_numpy(np.sqrt(-2.0 * np.log1p(-first)) * np.cos(2.0 * math.pi * second)).float()
