"""How signals and gradients would pass through a graph at random initialisation, in closed form: no network is made.

A convolutional network of infinite width is a Gaussian process whose covariance can be computed layer by layer (Novak et al.,
"Bayesian Deep Convolutional Networks with Many Channels are Gaussian Processes", ICLR 2019). Here two examples of four
positions go through the graph; what is left of their difference, and how gradients fade or grow, foretells how well an
architecture trains (Mellor et al., "Neural Architecture Search without Training", ICML 2021; Park et al., "Towards NNGP-guided
Neural Architecture Search", 2020), needs no data, and means the same in every search space.

Notation: B graphs, N nodes in topological order, C = 64 entries of a covariance between 8 values.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from predictor.graph_statistics.operation_traits import Effect
from predictor.graph_statistics.path_statistics import sources_of

Array = NDArray[np.float32]

_EXAMPLES, _POSITIONS = 2, 4
_VALUES = _EXAMPLES * _POSITIONS
_PER_STAGE = 8
_NUM_STAGES = 2  # how often the graph is passed: cells are stacked
_MOST_REPEATED = 16  # nodes; larger graphs are whole networks and are passed once
NUM_SIGNAL_FEATURES = _PER_STAGE * _NUM_STAGES
_TINY = np.float32(1e-6)
_PER_DOUBLING = np.float32(0.25)
_LEAST_GRADIENT = np.float32(1e-4)
_LEAST_VARIANCE = np.float32(1e-2)
_LARGEST = np.float32(1e6)
_SHRINKS = np.float32(1.0 / 3.0)  # a pool's share of the gradient's variance


def signal_features(
    into: Array, mask: Array, effects: NDArray[np.int8]
) -> Array:  # (N, N, B), (N, B), (N, B) -> (B, features)
    """`into` is 1 at [target, source]; `effects` are `Effect`s."""
    num_graphs = mask.shape[1]
    start = np.repeat(_first_covariance()[None], num_graphs, axis=0)
    features, end = _passed(into, mask, effects, start)
    again = (mask.sum(axis=0) <= _MOST_REPEATED).nonzero()[0]
    deeper = features.copy()
    if len(again):
        deeper[again], _ = _passed(into[..., again], mask[:, again], effects[:, again], end[again])
    return np.concatenate([features, deeper], axis=1)


def _passed(into: Array, mask: Array, effects: NDArray[np.int8], start: Array) -> tuple[Array, Array]:
    """Features (B, stage) and the covariance (B, C) at the end, on average 1 per value."""
    size = int(mask.any(axis=1).sum())
    into, mask, effects = (
        into[:size, :size],
        mask[:size],
        effects[:size],
    )  # without nodes that are padding in all of them
    states = np.zeros((size, len(start), _VALUES**2), np.float32)
    arriving = np.zeros((size, len(start)), np.float32)  # variance
    for node in range(size):
        feeding = sources_of(into, node)
        states[node], arriving[node] = _through(into[node, feeding], states[feeding], effects[node], start)
    ends = mask * (into.sum(axis=0) == 0.0)
    total = np.einsum("nb,nbc->bc", ends, states)
    variance = _variance(total)
    end = total / np.maximum(variance, _TINY)[:, None]
    gradients = _gradients(into, ends, effects, arriving)
    return np.concatenate([_shape(end), _level(variance)[:, None], gradients], axis=1), end


def _through(into: Array, states: Array, effects: NDArray[np.int8], start: Array) -> tuple[Array, Array]:
    """Covariance (B, C) behind a node, and the variance (B,) before it."""
    is_fed = into.any(axis=0)
    came = start.copy() if not len(states) else states[0] if len(states) == 1 else np.einsum("nb,nbc->bc", into, states)
    if not is_fed.all():
        came[~is_fed] = start[~is_fed]
    variance = np.minimum(_variance(came), _LARGEST)
    for effect in np.unique(effects).tolist():
        if effect != Effect.PASS:
            rows = (effects == effect).nonzero()[0]
            came[rows] = _applied(Effect(effect), came[rows])
    return np.clip(came, -_LARGEST, _LARGEST), variance


def _applied(effect: Effect, covariance: Array) -> Array:
    if effect == Effect.NOTHING:
        return np.zeros_like(covariance)
    if effect == Effect.ACTIVATE:
        return _activated(covariance)
    if effect == Effect.MULTIPLY:
        return np.asarray(covariance**2 / np.maximum(_variance(covariance), _TINY)[:, None], np.float32)
    if effect >= Effect.LEARN:
        covariance = _activated(covariance)
    mixed: Array = covariance @ _mixing(effect)
    if effect < Effect.NORMALIZE:
        return mixed
    mixed /= np.maximum(_variance(mixed), _TINY)[:, None]
    return mixed


def _activated(covariance: Array) -> Array:
    """Behind a rectifier (Cho & Saul, NeurIPS 2009), twice as large so that variance is kept."""
    deviation = np.sqrt(np.maximum(covariance[:, :: _VALUES + 1], _TINY))  # (B, values)
    sizes = (deviation[:, :, None] * deviation[:, None, :]).reshape(covariance.shape)
    cosine = np.clip(covariance / sizes, -1.0, 1.0)
    angle = np.arccos(cosine)
    sine = np.sqrt(np.maximum(1.0 - cosine * cosine, 0.0))
    result: Array = sizes * (sine + (np.float32(np.pi) - angle) * cosine) * np.float32(1.0 / np.pi)
    return result


def _variance(covariance: Array) -> Array:  # (B, C) -> (B,)
    mean: Array = covariance[:, :: _VALUES + 1].mean(axis=1)
    return mean


def _shape(covariance: Array) -> Array:  # (B, C) -> (B, 5)
    """How different examples and positions have stayed: log-determinant, effective rank, distance of the pooled examples,
    likeness of the positions of one example, likeness of neighbours."""
    square = covariance.reshape(-1, _VALUES, _VALUES)
    spread = np.linalg.slogdet(square.astype(np.float64) + 1e-3 * np.eye(_VALUES))[1] / _VALUES
    rank = _VALUES**2 / np.maximum((covariance * covariance).sum(axis=1), _TINY)
    return np.stack([spread, rank, *(covariance @ _readings()).T], axis=1).astype(np.float32)


def _level(values: Array) -> Array:
    level: Array = np.log2(np.clip(values, _LEAST_GRADIENT, _LARGEST)) * _PER_DOUBLING
    return level


def _gradients(into: Array, ends: Array, effects: NDArray[np.int8], arriving: Array) -> Array:  # -> (B, 2)
    """Variance of the gradient at the inputs, and summed over what is learned, as logarithms."""
    gradient = ends.copy()
    is_learned = effects >= Effect.LEARN
    scaled = np.where(is_learned, 1.0 / np.maximum(arriving, _LEAST_VARIANCE), np.float32(1.0)).astype(np.float32)
    scaled = np.where((effects == Effect.POOL) | (effects == Effect.POOL_ALL), _SHRINKS, scaled)
    for node in range(len(gradient) - 1, -1, -1):
        np.minimum(gradient[node], _LARGEST, out=gradient[node])
        feeding = sources_of(into, node)
        gradient[feeding] += into[node, feeding] * (gradient[node] * scaled[node])
    at_inputs = (gradient * (into.max(axis=1, initial=0.0) == 0.0)).sum(axis=0)
    learned = (gradient * is_learned).sum(axis=0)
    return np.stack([_level(at_inputs), np.log2(1.0 + np.minimum(learned, _LARGEST)) * _PER_DOUBLING], axis=1)


@cache
def _first_covariance() -> Array:  # (C,)
    """Of two smooth examples that resemble each other as two random ones of a data set do."""
    bits = np.random.PCG64(0).random_raw(2 * _VALUES * 6) >> np.uint64(11)
    uniform = bits.astype(np.float64).reshape(2, -1) / 2.0**53
    normal = np.sqrt(-2.0 * np.log1p(-uniform[0])) * np.cos(2.0 * np.pi * uniform[1])
    rough = normal.reshape(_EXAMPLES, _POSITIONS, 6)
    smooth = 0.25 * np.roll(rough, -1, 1) + 0.5 * rough + 0.25 * np.roll(rough, 1, 1)
    flat = smooth.reshape(_VALUES, 6) - smooth.reshape(_VALUES, 6).mean(axis=0)
    covariance = flat @ flat.T
    return np.asarray(covariance / np.trace(covariance) * _VALUES, dtype=np.float32).ravel()


@cache
def _mixing(effect: Effect) -> Array:  # (C, C), to be multiplied from the right
    """What averaging over positions does to a covariance, and centring where a trainable map is normalised."""
    same, each = _shift_averages(), np.eye(_VALUES**2)
    mixing = {
        Effect.LEARN_NEAR: same[3],
        Effect.LEARN_FAR: same[5],
        Effect.POOL: _pooled(3),
        Effect.POOL_ALL: _pooled(4),
        Effect.LEARN_POOLED: _pooled(3),
        Effect.LEARN_ALL: same[4],
    }.get(effect, each)
    if effect in (Effect.POOL, Effect.POOL_ALL):
        return np.ascontiguousarray(mixing.T, dtype=np.float32)
    centring = np.eye(_VALUES) - 1.0 / _VALUES
    return np.ascontiguousarray((np.kron(centring, centring) @ mixing).T, dtype=np.float32)


def _shifted(offset: int) -> NDArray[np.float64]:  # (values, values)
    positions: NDArray[np.float64] = np.roll(np.eye(_POSITIONS), offset, axis=0)
    return np.asarray(np.kron(np.eye(_EXAMPLES), positions), dtype=np.float64)


def _shift_averages() -> dict[int, NDArray[np.float64]]:
    """Both sides shifted alike: a random linear map of so many neighbouring positions (on a circle)."""
    offsets = {3: (-1, 0, 1), 4: (0, 1, 2, 3), 5: (-2, -1, 0, 1, 2)}
    return {
        width: np.mean([np.kron(_shifted(offset), _shifted(offset)) for offset in chosen], axis=0)
        for width, chosen in offsets.items()
    }


def _pooled(width: int) -> NDArray[np.float64]:
    offsets = (-1, 0, 1) if width == 3 else range(_POSITIONS)
    average: NDArray[np.float64] = np.stack([_shifted(offset) for offset in offsets]).mean(axis=0)
    return np.asarray(np.kron(average, average), dtype=np.float64)


@cache
def _readings() -> Array:  # (C, 3)
    """Three averages over entries of a covariance."""
    example, position = np.divmod(np.arange(_VALUES), _POSITIONS)
    is_same = example[:, None] == example[None, :]
    apart = (position[:, None] - position[None, :]) % _POSITIONS
    distance = np.where(is_same, 1.0, -1.0) / (_EXAMPLES * _POSITIONS**2)
    within = (is_same & (apart != 0)) / float((is_same & (apart != 0)).sum())
    near = (is_same & (apart == 1)) / float((is_same & (apart == 1)).sum())
    return np.ascontiguousarray(np.stack([distance, within, near]).reshape(3, -1).T, dtype=np.float32)
