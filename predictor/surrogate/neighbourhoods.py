"""Likeness of graphs by the neighbourhoods of their nodes, as fixed random features that nothing has to be learned for.

Every node gets random cosine features (Rahimi & Recht, NeurIPS 2007) of its operation, then of itself together with the sums
over its sources and over its targets; the sum over nodes stands for the graph. Inner products approximate a smooth form of the
Weisfeiler–Lehman kernel of depth one (Shervashidze et al., JMLR 2011): alike neighbourhoods count as partly equal.

Notation: B architectures, N nodes, K different ones, O features of an operation, W features of a neighbourhood.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from predictor.encoding import NUM_STATIC_FEATURES, GraphBatch
from predictor.surrogate.distinct import distinct_rows

_NUM_OPERATION = 64
NUM_NEIGHBOURHOOD_FEATURES = 128
"""W."""
_OPERATION_SPREAD, _NEIGHBOUR_SPREAD = 1.0, 0.5


def neighbourhood_features(batch: GraphBatch) -> Tensor:  # (B, W)
    """The same for the same graphs, on every machine and in every version."""
    (into, *mixing), (first_phase, second_phase) = _weights(), _phases()
    batch_size, num_nodes, width = batch.nodes.shape
    rows, places = distinct_rows(batch.nodes.view(batch_size * num_nodes, width))
    operation = torch.cos(rows[:, :NUM_STATIC_FEATURES] @ into + first_phase)  # (K, O)
    real = batch.mask[..., None]
    own, source, target = (
        (operation @ one).index_select(0, places).view(batch_size, num_nodes, NUM_NEIGHBOURHOOD_FEATURES).mul_(real)
        for one in mixing
    )  # (B, N, W) each: what a node tells itself, its targets, its sources
    mixed = own.add_(second_phase).baddbmm_(batch.adjacency.transpose(1, 2), source).baddbmm_(batch.adjacency, target)
    waves = np.cos(mixed.numpy(), out=mixed.numpy())  # several times as fast as PyTorch's
    return torch.from_numpy(waves).mul_(real).sum(1) * math.sqrt(2.0 / NUM_NEIGHBOURHOOD_FEATURES)


def differentiable_neighbourhood_features(nodes: Tensor, adjacency: Tensor, mask: Tensor) -> Tensor:
    """(B, N, F), (B, N, N), (B, N) -> (B, W): the same, through which gradients pass."""
    (into, *mixing), (first_phase, second_phase) = _weights(), _phases()
    static = nodes[..., :NUM_STATIC_FEATURES]
    operation = torch.cos(static @ into.to(nodes) + first_phase.to(nodes))  # (B, N, O)
    own, source, target = (operation @ one.to(nodes) * mask[..., None] for one in mixing)
    mixed = own + second_phase.to(nodes) + adjacency.transpose(1, 2) @ source + adjacency @ target
    return (torch.cos(mixed) * mask[..., None]).sum(1) * math.sqrt(2.0 / NUM_NEIGHBOURHOOD_FEATURES)


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
