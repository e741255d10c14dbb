"""Covariances of what a layer of infinite width holds, and what operations do to them, in closed form.

Two examples of four positions each are eight values. Their covariance is symmetric, so it is kept as its 36 different entries:
the eight variances first, then what lies above the diagonal row by row.

Notation: B covariances, C = 36 entries.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from predictor.graph_statistics.operation_traits import Effect

Array = NDArray[np.float32]

EXAMPLES, POSITIONS = 2, 4
VALUES = EXAMPLES * POSITIONS
TINY = np.float32(1e-6)

_ROWS, _COLUMNS = (np.concatenate([np.arange(VALUES), above]) for above in np.triu_indices(VALUES, 1))
NUM_ENTRIES = len(_ROWS)
_PI, _ONE, _ZERO, _PER_PI = np.float32(np.pi), np.float32(1.0), np.float32(0.0), np.float32(1.0 / np.pi)
_AVERAGE = np.full(VALUES, 1.0 / VALUES, np.float32)


def matrices(covariance: Array) -> Array:  # (B, C) -> (B, values, values)
    """As square matrices."""
    places = np.empty((VALUES, VALUES), np.intp)
    places[_ROWS, _COLUMNS] = places[_COLUMNS, _ROWS] = np.arange(NUM_ENTRIES)
    return covariance[:, places]


def entries(matrix: NDArray[np.float64]) -> Array:  # (values, values) -> (C,)
    """Of one symmetric matrix."""
    return np.asarray(matrix[_ROWS, _COLUMNS], np.float32)


def variance(covariance: Array) -> Array:  # (B, C) -> (B,)
    """On average over the values."""
    return np.asarray(covariance[:, :VALUES] @ _AVERAGE, np.float32)


def normalized(covariance: Array) -> Array:
    """With a variance of 1 on average."""
    return np.asarray(covariance / np.maximum(variance(covariance), TINY)[:, None], np.float32)


def activated(covariance: Array) -> Array:
    """Behind a rectifier (Cho & Saul, NeurIPS 2009), twice as large so that variance is kept."""
    deviation = np.sqrt(np.maximum(covariance[:, :VALUES], TINY))  # (B, values)
    sizes = deviation[:, _ROWS] * deviation[:, _COLUMNS]
    cosine = np.minimum(np.maximum(covariance / sizes, -_ONE), _ONE)
    sine = np.sqrt(np.maximum(_ONE - cosine * cosine, _ZERO))
    cosine *= _PI - np.arccos(cosine)
    cosine += sine
    cosine *= sizes
    return np.asarray(cosine * _PER_PI, np.float32)


def multiplied(covariance: Array) -> Array:
    """Of a product of two signals that are alike."""
    return np.asarray(covariance * covariance / np.maximum(variance(covariance), TINY)[:, None], np.float32)


@cache
def mixing(effect: Effect) -> Array | None:  # (C, C), to be multiplied from the right
    """What averaging over positions does to a covariance, and centring where it is normalised behind that; None: nothing."""
    each = np.eye(VALUES**2)
    if effect in (Effect.POOL, Effect.POOL_ALL):
        return _of_entries(_pooled(3 if effect == Effect.POOL else POSITIONS))
    if effect < Effect.LEARN and effect != Effect.NORMALIZE:
        return None
    same = _shift_averages()
    spatial = {
        Effect.LEARN_NEAR: same[3],
        Effect.LEARN_FAR: same[5],
        Effect.LEARN_ALL: same[POSITIONS],
        Effect.LEARN_POOLED: _pooled(3),
    }
    centring = np.eye(VALUES) - 1.0 / VALUES
    return _of_entries(np.kron(centring, centring) @ spatial.get(effect, each))


def _of_entries(full: NDArray[np.float64]) -> Array:  # (values², values²) -> (C, C)
    """The same map on the different entries, transposed."""
    first, mirrored = _ROWS * VALUES + _COLUMNS, _COLUMNS * VALUES + _ROWS
    columns = full[first][:, first] + np.where(_ROWS == _COLUMNS, 0.0, full[first][:, mirrored])
    return np.ascontiguousarray(columns.T, dtype=np.float32)


def _shifted(offset: int) -> NDArray[np.float64]:  # (values, values)
    positions: NDArray[np.float64] = np.roll(np.eye(POSITIONS), offset, axis=0)
    return np.asarray(np.kron(np.eye(EXAMPLES), positions), dtype=np.float64)


def _shift_averages() -> dict[int, NDArray[np.float64]]:
    """Both sides shifted alike: a random linear map of so many neighbouring positions (on a circle)."""
    offsets = {3: (-1, 0, 1), 4: (0, 1, 2, 3), 5: (-2, -1, 0, 1, 2)}
    return {
        width: np.mean([np.kron(_shifted(offset), _shifted(offset)) for offset in chosen], axis=0)
        for width, chosen in offsets.items()
    }


def _pooled(width: int) -> NDArray[np.float64]:
    offsets = (-1, 0, 1) if width == 3 else range(POSITIONS)
    average: NDArray[np.float64] = np.stack([_shifted(offset) for offset in offsets]).mean(axis=0)
    return np.asarray(np.kron(average, average), dtype=np.float64)


@cache
def of_inputs() -> Array:  # (C,)
    """Of two smooth examples that resemble each other as two random ones of a data set do."""
    bits = np.random.PCG64(0).random_raw(2 * VALUES * 6) >> np.uint64(11)
    uniform = bits.astype(np.float64).reshape(2, -1) / 2.0**53
    normal = np.sqrt(-2.0 * np.log1p(-uniform[0])) * np.cos(2.0 * np.pi * uniform[1])
    rough = normal.reshape(EXAMPLES, POSITIONS, 6)
    smooth = 0.25 * np.roll(rough, -1, 1) + 0.5 * rough + 0.25 * np.roll(rough, 1, 1)
    flat = smooth.reshape(VALUES, 6) - smooth.reshape(VALUES, 6).mean(axis=0)
    covariance = flat @ flat.T
    return entries(covariance / np.trace(covariance) * VALUES)


def shape(covariance: Array) -> Array:  # (B, C) -> (B, 5)
    """How different examples and positions have stayed: log-determinant, effective rank, distance of the pooled examples,
    likeness of the positions of one example, likeness of neighbours."""
    square = matrices(covariance).astype(np.float64) + 1e-3 * np.eye(VALUES)
    spread = np.linalg.slogdet(square)[1] / VALUES
    readings = _readings()
    rank = VALUES**2 / np.maximum((covariance * covariance) @ readings[:, 3], TINY)
    return np.stack([spread, rank, *(covariance @ readings[:, :3]).T], axis=1).astype(np.float32)


@cache
def _readings() -> Array:  # (C, 4)
    """Three averages over all entries, and how often each entry is in the matrix."""
    example, position = np.divmod(np.arange(VALUES), POSITIONS)
    is_same = example[:, None] == example[None, :]
    apart = (position[:, None] - position[None, :]) % POSITIONS
    distance = np.where(is_same, 1.0, -1.0) / (EXAMPLES * POSITIONS**2)
    within = (is_same & (apart != 0)) / float((is_same & (apart != 0)).sum())
    near = (is_same & (apart == 1)) / float((is_same & (apart == 1)).sum())
    full = np.stack([distance, within, near, np.ones((VALUES, VALUES))])
    twice = full + full.transpose(0, 2, 1) * (1.0 - np.eye(VALUES))
    return np.ascontiguousarray(twice[:, _ROWS, _COLUMNS].T, dtype=np.float32)
