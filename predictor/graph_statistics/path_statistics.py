"""What lies on the paths through a graph: how much of each trait, at most, at least, on average, and how evenly.

Short ways for gradients, ways that nothing is learned on, and how far the receptive field reaches tell much of how well a
cell trains, and mean the same in every search space.

Notation: B graphs, N nodes in topological order, T traits; graphs come last, so that what is done for each runs along the memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

NUM_PATH_STATISTICS = 16
_MOST_WAYS = np.float32(1e12)
_UNREACHED = np.float32(1e9)
_LEARNED, _SPATIAL, _REACH, _POOL, _WORK = range(5)


def path_statistics(
    into: Array, mask: Array, traits: Array
) -> Array:  # (N, N, B), (N, B), (T, N, B) -> (B, statistics)
    """Numbers of `NUM_PATH_STATISTICS` kinds. `into` is 1 at [target, source]; traits are those of `Traits` after the effect."""
    traits = traits * mask
    if are_chains(into, mask):
        return _along_chains(into, traits)
    ends = mask * (into.sum(axis=0) == 0.0)  # sinks
    sums = _sums_over_ways(into, mask, traits)
    at_end = (sums * ends).sum(axis=1)  # (channels, B)
    ways = np.maximum(at_end[0], 1.0)
    learned, spatial, reach, pools = at_end[1:5] / ways
    scattered = np.sqrt(np.maximum(at_end[5:7] / ways - np.stack([learned, spatial]) ** 2, 0.0))
    longest, shortest = _extremes(into, ends, traits[[_SPATIAL, _REACH, _POOL]])
    amounts = [reach, *longest, *shortest, spatial, pools, *_amounts(into, traits), *at_end[7:]]
    return _rows([*scattered, *_squashed(np.stack(amounts))])


def are_chains(into: Array, mask: Array) -> bool:
    """Whether every graph is one path through its nodes in order."""
    nodes = np.arange(1, len(into))
    steps = into[nodes, nodes - 1]
    return bool(into.sum() == steps.sum() and np.array_equal(steps, mask[1:] * mask[:-1]))


def _along_chains(into: Array, traits: Array) -> Array:
    """The same where there is one way: sums over its nodes."""
    learned, spatial, reach, pools, _ = traits.sum(axis=1)
    none, each = np.zeros_like(reach), np.stack([spatial, reach, pools])
    ways = learned == 0.0, learned == 1.0, (learned == 0.0) & (pools == 0.0)
    amounts = [reach, *each, *each, spatial, pools, *_amounts(into, traits), *(one.astype(np.float32) for one in ways)]
    return _rows([none, none, *_squashed(np.stack(amounts))])


def _amounts(into: Array, traits: Array) -> tuple[Array, Array]:  # (B,) each
    """Work of the whole graph, and edges into what is learned."""
    return traits[_WORK].sum(axis=0), (into.sum(axis=1) * traits[_LEARNED]).sum(axis=0)


def _rows(columns: Sequence[Array]) -> Array:
    return np.ascontiguousarray(np.stack(columns).T, dtype=np.float32)


def sources_of(into: Array, node: int) -> NDArray[np.intp]:
    """Places of the nodes that feed this one in any graph of the batch: in a batch of chains there is one."""
    return np.flatnonzero(into[node, :node].any(axis=1))


def _squashed(values: Array) -> Array:
    return np.log2(1.0 + np.minimum(values, _MOST_WAYS))


def _sums_over_ways(into: Array, mask: Array, traits: Array) -> Array:  # -> (channels, N, B)
    """Over all ways from where nothing comes in: their number, sums of four traits, sums of squares of two, and the number of
    those that learn nothing, that learn once, and that pass the signal on untouched."""
    weights = traits[: _POOL + 1]  # (4, N, B)
    is_learned = traits[_LEARNED] > 0.0
    is_touched = is_learned | (traits[_POOL] > 0.0)
    sums = np.zeros((10, *mask.shape), np.float32)
    for node in range(len(mask)):
        feeding = sources_of(into, node)
        came = (into[node, feeding] * sums[:, feeding]).sum(axis=1)  # (channels, B)
        is_fed = into[node, feeding].any(axis=0)
        came[[0, 7, 9]] = np.where(is_fed, came[[0, 7, 9]], mask[node])
        np.minimum(came, _MOST_WAYS, out=came)
        ways, own = came[0], weights[:, node]
        squares = came[5:7] + 2.0 * own[:2] * came[1:3] + ways * own[:2] ** 2
        without, once, untouched = came[7], came[8], came[9]
        learned = is_learned[node]
        counts = [np.where(learned, 0.0, without), np.where(learned, without, once)]
        counts.append(np.where(is_touched[node], 0.0, untouched))
        sums[:, node] = [ways, *(came[1:5] + ways * own), *squares, *counts]
    return sums


def _extremes(into: Array, ends: Array, weights: Array) -> tuple[Array, Array]:  # (T, N, B) -> (T, B) each
    """Most and least of each weight over all ways."""
    blocked = _UNREACHED * (into == 0.0)
    longest, shortest = weights.copy(), weights.copy()
    for node in range(1, len(into)):
        feeding = sources_of(into, node)
        if len(feeding):
            is_fed = into[node, feeding].any(axis=0)
            longest[:, node] += is_fed * (longest[:, feeding] - blocked[node, feeding]).max(axis=1)
            shortest[:, node] += is_fed * (shortest[:, feeding] + blocked[node, feeding]).min(axis=1)
    least = np.where(ends > 0.0, shortest, _UNREACHED).min(axis=1, initial=_UNREACHED)
    return (longest * ends).max(axis=1, initial=0.0), np.where(least < _UNREACHED, least, 0.0)
