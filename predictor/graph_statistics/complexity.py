"""How much an architecture computes and holds, from its graph alone: multiply-accumulates, parameters, and numbers between layers.

Widths and resolutions go along the edges: an operation that names no width keeps the one it gets, one with a stride leaves fewer positions. What
comes before the graph is not known, so that input width and area are the same for all; numbers are to be compared within a space. That they
are hard to beat as forecasts: White et al., "A Deeper Look at Zero-Cost Proxies for Lightweight NAS", ICLR Blog Track 2022.

Notation: B graphs, N nodes in topological order; graphs come last. i and o are an operation's width before and after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Operation
from predictor.graph_statistics.stacked_graphs import Array, StackedGraphs

NUM_COMPLEXITIES = 5
WORK, KEPT_WORK, NAMED_WORK, PARAMETERS, PASSED_ON = range(NUM_COMPLEXITIES)
"""Columns of `complexities`."""

_INPUT_WIDTH, _INPUT_AREA = 32.0, 256.0
_HEAD_WIDTH = 64.0  # of attention, where heads are named
_LARGEST = 1e6  # of any number that an operation names, and of widths and areas
Doubles = NDArray[np.float64]
_DENSE = frozenset({"conv", "linear", "graph_conv", "recurrent", "layer"})


class Costs(NamedTuple):
    """Of one operation: what its weights and its work are made of, as coefficients of its widths."""

    width: float = 0.0  # o; 0 where it keeps what it gets
    shrinks: float = 1.0  # positions before it for one after it
    adds_up: float = 0.0  # 1 where widths of what comes in are added
    before: float = 0.0  # of i², worked through at every position before it
    squared: float = 0.0  # of i², of parameters alone
    both: float = 0.0  # of i · o
    single: float = 0.0  # of i
    after: float = 0.0  # of o²
    after_single: float = 0.0  # of o
    pairs: float = 0.0  # of pairs of positions
    pairs_wide: float = 0.0  # of o times pairs of positions


def costs_of(operation: Operation) -> Costs:
    """From the operation; kinds that are not known cost nothing."""
    width = _number(operation, "channels", 0.0)
    shrinks = max(_number(operation, "stride", 1.0), 1.0) ** 2
    kernel, groups = _number(operation, "kernel_size", 1.0) ** 2, max(_number(operation, "groups", 1.0), 1.0)
    times, more = _number(operation, "expansion", 1.0), _number(operation, "repeats", 1.0)
    again = max(more - 1.0, 0.0)
    if operation.kind in _DENSE:
        dense = kernel * times / groups
        return Costs(width, shrinks, both=dense, after=again * dense)
    if operation.kind == "separable_conv":
        return Costs(width, shrinks, both=1.0, single=kernel, after=again, after_single=again * kernel)
    if operation.kind == "depthwise_conv":
        return Costs(width, shrinks, single=kernel * more)
    if operation.kind == "mbconv":
        # two maps between the width inside and a quarter of that before
        squeeze = 0.5 * times if operation.get("se") else 0.0
        opens = 0.0 if times == 1.0 else times / groups
        return Costs(
            width,
            shrinks,
            before=opens,
            squared=squeeze,
            both=times / groups,
            single=kernel * times,
            after=again * (opens + times / groups),
            after_single=again * kernel * times,
        )
    if operation.kind == "attention":
        inside = _HEAD_WIDTH * _number(operation, "heads", 0.0) * more
        if inside:
            return Costs(width, shrinks, after_single=4.0 * inside, pairs=2.0 * inside)
        return Costs(width, shrinks, after=4.0 * more, pairs_wide=2.0 * more)
    if operation.kind == "mlp":
        return Costs(width, shrinks, after=2.0 * times * more)
    if operation.kind == "upsample":
        return Costs(width, 1.0 / max(_number(operation, "rate", 2.0), 1.0) ** 2)
    return Costs(width, shrinks, adds_up=float(operation.kind == "concat"))


def _number(operation: Operation, name: str, default: float) -> float:
    value = operation.get(name)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    return float(min(max(value, 0.0), _LARGEST)) if is_number else default  # type: ignore[arg-type, type-var]


def complexities(graphs: StackedGraphs, costs: Array) -> Array:  # (costs, N, B) -> (B, NUM_COMPLEXITIES)
    """Logarithms (base 2, of one more) of multiply-accumulates, of the same had the input been as wide as what comes right after it, of
    those whose widths are all named, of parameters, and of numbers that are passed on.

    Nobody names the width before what comes first, where the area is largest: one guess suits one space, another the next.
    """
    one = dict(zip(Costs._fields, costs.astype(np.float64) * graphs.mask, strict=True))
    flow, kept = (_along_edges(graphs, one, keeps=keeps) for keeps in (False, True))
    work, parameters = _amounts(one, flow)
    amounts = [work, _amounts(one, kept)[0], work * flow.is_named, parameters, flow.width * flow.area * graphs.mask]
    return np.ascontiguousarray(np.log2(1.0 + np.stack([amount.sum(axis=0) for amount in amounts])).T, np.float32)


class _Flow(NamedTuple):
    """What comes to every node and what it passes on, (N, B) each."""

    before: Doubles  # width
    width: Doubles
    area_before: Doubles
    area: Doubles
    is_named: Doubles  # 1 where some operation before it named a width


def _amounts(costs: Mapping[str, Doubles], flow: _Flow) -> tuple[Doubles, Doubles]:  # (N, B) each
    """Multiply-accumulates and parameters of every node."""
    by_width = costs["both"] * flow.before * flow.width + costs["single"] * flow.before
    by_width += costs["after"] * flow.width**2 + costs["after_single"] * flow.width
    inside = costs["before"] * flow.before**2
    pairs = (costs["pairs"] + costs["pairs_wide"] * flow.width) * flow.area**2
    work: Doubles = inside * flow.area_before + by_width * flow.area + pairs
    return work, inside + by_width + costs["squared"] * flow.before**2


def _along_edges(graphs: StackedGraphs, costs: Mapping[str, Doubles], keeps: bool) -> _Flow:
    """With a width before what comes first that it `keeps`, or the same for all."""
    shape = graphs.mask.shape
    starts = (_INPUT_WIDTH, _INPUT_WIDTH, _INPUT_AREA, _INPUT_AREA, 0.0)
    before, width, area_before, area, is_named = (np.full(shape, start) for start in starts)
    names = np.zeros(shape)  # 1 where this operation or one before it names a width
    for node, sources in enumerate(graphs.sources):
        if sources:
            comes, fed = graphs.into[node, sources], graphs.is_fed[node]
            widths = comes * width[sources]
            joined = np.where(costs["adds_up"][node] > 0.0, widths.sum(axis=0), widths.max(axis=0))
            before[node] = np.where(fed, joined, _INPUT_WIDTH)
            area_before[node] = np.where(fed, (comes * area[sources]).max(axis=0), _INPUT_AREA)
            is_named[node] = (comes * names[sources]).max(axis=0)
        named = costs["width"][node] > 0.0
        if keeps:
            before[node] = np.where(named & (is_named[node] == 0.0), costs["width"][node], before[node])
        names[node] = np.maximum(is_named[node], named)
        width[node] = np.minimum(np.where(named, costs["width"][node], before[node]), _LARGEST)
        left = area_before[node] / np.maximum(costs["shrinks"][node], 1.0 / _LARGEST)
        area[node] = left.clip(1.0 / _LARGEST, _LARGEST)
    return _Flow(before, width, area_before, area, is_named)
