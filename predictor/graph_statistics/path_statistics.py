"""What lies on the paths through a graph: how much of each trait, at most, at least, on average, and how evenly.

Short ways for gradients, ways that nothing is learned on, and how far the receptive field reaches tell much of how well a
cell trains, and mean the same in every search space.

Notation: B graphs, N nodes in topological order, T traits; graphs come last.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictor.graph_statistics.stacked_graphs import Array, StackedGraphs
from predictor.graph_statistics.weighted_paths import MOST_WAYS

NUM_PATH_STATISTICS = 16
EXTREME_TRAITS = (1, 2, 3)
"""Places of the traits whose most and least on a way are asked for: spatial, reach, pool."""

_LEARNED, _SPATIAL, _REACH, _POOL, _WORK = range(5)


def path_statistics(
    graphs: StackedGraphs, traits: Array, most: Array, least: Array
) -> Array:  # (T, N, B), (3, B), (3, B) -> (B, statistics)
    """Numbers of `NUM_PATH_STATISTICS` kinds. Traits are those of `Traits` after the effect, 0 for nodes that are padding;
    `most` and `least` are what a way through has of the `EXTREME_TRAITS`."""
    if graphs.are_chains:
        return _along_chains(graphs, traits)
    sums = _sums_over_ways(graphs, traits)
    at_end = (sums * graphs.ends).sum(axis=1)  # (channels, B)
    ways = np.maximum(at_end[0], 1.0)
    learned, spatial, reach, pools = at_end[1:5] / ways
    scattered = np.sqrt(np.maximum(at_end[5:7] / ways - np.stack([learned, spatial]) ** 2, 0.0))
    amounts = [reach, *most, *least, spatial, pools, *_amounts(graphs, traits), *at_end[7:]]
    return _rows([*scattered, *_squashed(np.stack(amounts))])


def _along_chains(graphs: StackedGraphs, traits: Array) -> Array:
    """The same where there is one way: sums over its nodes."""
    learned, spatial, reach, pools, _ = traits.sum(axis=1)
    none, each = np.zeros_like(reach), np.stack([spatial, reach, pools])
    ways = learned == 0.0, learned == 1.0, (learned == 0.0) & (pools == 0.0)
    found = [one.astype(np.float32) for one in ways]
    amounts = [reach, *each, *each, spatial, pools, *_amounts(graphs, traits), *found]
    return _rows([none, none, *_squashed(np.stack(amounts))])


def _amounts(graphs: StackedGraphs, traits: Array) -> tuple[Array, Array]:  # (B,) each
    """Work of the whole graph, and edges into what is learned."""
    return traits[_WORK].sum(axis=0), (graphs.into.sum(axis=1) * traits[_LEARNED]).sum(axis=0)


def _rows(columns: Sequence[Array]) -> Array:
    return np.ascontiguousarray(np.stack(columns).T, dtype=np.float32)


def _squashed(values: Array) -> Array:
    return np.log2(1.0 + np.minimum(values, MOST_WAYS))


def _sums_over_ways(graphs: StackedGraphs, traits: Array) -> Array:  # -> (channels, N, B)
    """Over all ways from where nothing comes in: their number, sums of four traits, sums of squares of two, and the number of
    those that learn nothing, that learn once, and that pass the signal on untouched."""
    weights = traits[: _POOL + 1]  # (4, N, B)
    squares, twice = weights[:2] ** 2, 2.0 * weights[:2]
    learns = traits[_LEARNED] > 0.0
    keeps = (~learns).astype(np.float32)
    untouched = keeps * (traits[_POOL] == 0.0)
    sums = np.zeros((10, *graphs.mask.shape), np.float32)
    for node, sources in enumerate(graphs.sources):
        came = (graphs.into[node, sources] * sums[:, sources]).sum(axis=1)  # (channels, B)
        starts = ~graphs.is_fed[node]
        for channel in (0, 7, 9):
            came[channel] += starts * graphs.mask[node]
        np.minimum(came, MOST_WAYS, out=came)
        ways, now = came[0], sums[:, node]
        now[0] = ways
        now[1:5] = came[1:5] + ways * weights[:, node]
        now[5:7] = came[5:7] + twice[:, node] * came[1:3] + ways * squares[:, node]
        now[7] = came[7] * keeps[node]
        now[8] = np.where(learns[node], came[7], came[8])
        now[9] = came[9] * untouched[node]
    return sums
