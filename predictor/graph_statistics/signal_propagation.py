"""How signals and gradients would pass through a graph at random initialisation, in closed form: no network is made.

A convolutional network of infinite width is a Gaussian process whose covariance can be computed layer by layer (Novak et al.,
"Bayesian Deep Convolutional Networks with Many Channels are Gaussian Processes", ICLR 2019). Here two examples of four
positions go through the graph; what is left of their difference, and how gradients fade or grow, foretells how well an
architecture trains (Mellor et al., "Neural Architecture Search without Training", ICML 2021; Park et al., "Towards NNGP-guided
Neural Architecture Search", 2020), needs no data, and means the same in every search space.

Notation: B graphs, N nodes in topological order, C entries of a covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.graph_statistics.covariance import (
    NUM_ENTRIES,
    activated,
    mixing,
    multiplied,
    normalized,
    of_inputs,
    shape,
    variance,
)
from predictor.graph_statistics.operation_traits import Effect
from predictor.graph_statistics.stacked_graphs import Array, StackedGraphs

Rows = slice | NDArray[np.intp]
"""Some of the graphs."""

_PER_STAGE = 8
_NUM_STAGES = 2  # how often the graph is passed: cells are stacked
_MOST_REPEATED = 16  # nodes; larger graphs are whole networks and are passed once
NUM_SIGNAL_FEATURES = _PER_STAGE * _NUM_STAGES
_PER_DOUBLING = np.float32(0.25)
_LEAST_GRADIENT = np.float32(1e-4)
_LEAST_VARIANCE = np.float32(1e-2)
_LARGEST = np.float32(1e6)
_SHRINKS = np.float32(1.0 / 3.0)  # a pool's share of the gradient's variance
_ALL = slice(None)


def signal_features(graphs: StackedGraphs, effects: NDArray[np.int8]) -> Array:  # (N, B) -> (B, features)
    """`effects` are `Effect`s."""
    num_graphs = graphs.mask.shape[1]
    flow = Flow.of(graphs, effects)
    features, end = flow.passed(np.repeat(of_inputs()[None], num_graphs, axis=0))
    again = (graphs.mask.sum(axis=0) <= _MOST_REPEATED).nonzero()[0]
    deeper = features
    if len(again) == num_graphs:
        deeper, _ = flow.passed(end)
    elif len(again):
        deeper = features.copy()
        deeper[again], _ = Flow.of(graphs.select(again), effects[:, again]).passed(end[again])
    return np.concatenate([features, deeper], axis=1)


@dataclass(frozen=True)
class _Step:
    """What one node does in every graph. Everything that is asked of all graphs at once was found out before."""

    sources: Sequence[int]  # that feed it in any graph
    unfed: Rows | None  # graphs in which nothing comes in
    activated: Rows | None
    changes: Sequence[tuple[Effect, Rows]]  # but activation and normalisation
    normalized: Rows | None

    @classmethod
    def of(cls, sources: Sequence[int], unfed: NDArray[np.bool_], effects: NDArray[np.int8]) -> _Step:
        present = [Effect(number) for number in np.flatnonzero(np.bincount(effects)).tolist()]
        rows = {one: _ALL if len(present) == 1 else np.flatnonzero(effects == one) for one in present}
        changing = [one for one in present if _is_change(one)]
        return cls(
            sources,
            _some(unfed),
            _among([one for one in present if _activates(one)], present, effects),
            [(one, rows[one]) for one in changing],
            _among([one for one in present if _normalizes(one)], present, effects),
        )

    def after(self, came: Array) -> Array:  # (B, C) -> (B, C), in place
        """The covariance behind the node."""
        if self.activated is not None:
            came[self.activated] = activated(came[self.activated])
        for effect, rows in self.changes:
            came[rows] = _changed(effect, came[rows])
        if self.normalized is not None:
            came[self.normalized] = normalized(came[self.normalized])
        return np.minimum(np.maximum(came, -_LARGEST, out=came), _LARGEST, out=came)


def _activates(effect: Effect) -> bool:
    return effect == Effect.ACTIVATE or effect >= Effect.LEARN


def _normalizes(effect: Effect) -> bool:
    return effect == Effect.NORMALIZE or effect >= Effect.LEARN


def _is_change(effect: Effect) -> bool:
    return effect in (Effect.NOTHING, Effect.MULTIPLY) or mixing(effect) is not None


def _changed(effect: Effect, covariance: Array) -> Array:
    if effect == Effect.NOTHING:
        return np.zeros_like(covariance)
    if effect == Effect.MULTIPLY:
        return multiplied(covariance)
    matrix = mixing(effect)
    return covariance if matrix is None else covariance @ matrix


def _among(chosen: Sequence[Effect], present: Sequence[Effect], effects: NDArray[np.int8]) -> Rows | None:
    """Graphs whose node has one of the chosen effects, of those that are present."""
    if not chosen:
        return None
    return _ALL if len(chosen) == len(present) else np.flatnonzero(np.isin(effects, chosen))


def _some(which: NDArray[np.bool_]) -> Rows | None:
    rows = which.nonzero()[0]
    return None if not len(rows) else _ALL if len(rows) == len(which) else rows


@dataclass(frozen=True)
class Flow:
    """Graphs, made ready to be passed more than once."""

    graphs: StackedGraphs
    is_learned: NDArray[np.bool_]  # (N, B)
    is_pool: NDArray[np.bool_]  # (N, B)
    steps: Sequence[_Step]

    @classmethod
    def of(cls, graphs: StackedGraphs, effects: NDArray[np.int8]) -> Flow:
        steps = [_Step.of(*step) for step in zip(graphs.sources, ~graphs.is_fed, effects, strict=True)]
        is_pool = (effects == Effect.POOL) | (effects == Effect.POOL_ALL)
        return cls(graphs, effects >= Effect.LEARN, is_pool, steps)

    def passed(self, start: Array) -> tuple[Array, Array]:  # (B, C) -> (B, stage), (B, C)
        """Features, and the covariance at the end, on average 1 per value."""
        states = np.zeros((len(self.steps), len(start), NUM_ENTRIES), np.float32)
        arriving = np.zeros((len(self.steps), len(start)), np.float32)  # variance
        for node, step in enumerate(self.steps):
            came = self._arriving(node, step, states, start)
            arriving[node] = variance(came)
            states[node] = step.after(came)
        total = np.einsum("nb,nbc->bc", self.graphs.ends, states)
        level, end = _level(variance(total)), normalized(total)
        gradients = self._gradients(np.minimum(arriving, _LARGEST))
        return np.concatenate([shape(end), level[:, None], gradients], axis=1), end

    def _arriving(self, node: int, step: _Step, states: Array, start: Array) -> Array:
        if not step.sources:
            return start.copy()
        came: Array = self.graphs.into[node, step.sources[0], :, None] * states[step.sources[0]]
        for source in step.sources[1:]:
            came += self.graphs.into[node, source, :, None] * states[source]
        if step.unfed is not None:
            came[step.unfed] = start[step.unfed]
        return came

    def _gradients(self, arriving: Array) -> Array:  # (N, B) -> (B, 2)
        """Variance of the gradient at the inputs, and summed over what is learned, as logarithms."""
        gradient = self.graphs.ends.copy()
        scaled = np.where(self.is_learned, np.float32(1.0) / np.maximum(arriving, _LEAST_VARIANCE), np.float32(1.0))
        scaled[self.is_pool] = _SHRINKS
        for node in range(len(gradient) - 1, -1, -1):
            passed_on = np.minimum(gradient[node], _LARGEST, out=gradient[node]) * scaled[node]
            for source in self.steps[node].sources:
                gradient[source] += self.graphs.into[node, source] * passed_on
        at_inputs = (gradient * ~self.graphs.is_fed).sum(axis=0)
        learned = (gradient * self.is_learned).sum(axis=0)
        return np.stack([_level(at_inputs), np.log2(1.0 + np.minimum(learned, _LARGEST)) * _PER_DOUBLING], axis=1)


def _level(values: Array) -> Array:
    level: Array = np.log2(np.minimum(np.maximum(values, _LEAST_GRADIENT), _LARGEST)) * _PER_DOUBLING
    return level
