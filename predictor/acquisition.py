"""Acquisition: what to measure next.

All scores are larger for architectures more worth measuring. Sources: UCB, Srinivas et al., ICML 2010; expected improvement,
Jones et al., J. Global Optimization 1998; Thompson sampling, Thompson, Biometrika 1933.

Notation: S architectures, F features, k chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.errors import AcquisitionError
from predictor.prediction import Predictions
from predictor.tasks import Direction

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Goodness:
    """Predictions turned so that larger is better."""

    mean: Array
    std: Array
    best: float | None
    forecast: Array  # in the metric's unit
    rng: np.random.Generator
    kappa: float


def _upper_confidence_bound(g: _Goodness) -> Array:
    return g.mean + g.kappa * g.std


def _expected_improvement(g: _Goodness) -> Array:
    best = g.best if g.best is not None else float(np.max(g.mean, initial=-np.inf))
    std = np.maximum(g.std, 1e-12)
    z = (g.mean - best) / std
    improvement: Array = std * (z * _normal_cdf(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))
    return improvement


def _normal_cdf(z: Array) -> Array:
    """By the complement of the error function, which numpy has not."""
    return np.asarray(0.5 * torch.special.erfc(torch.from_numpy(-z / np.sqrt(2.0))))


def _thompson(g: _Goodness) -> Array:
    return g.mean + g.std * g.rng.standard_normal(len(g.mean))


def _mean(g: _Goodness) -> Array:
    return g.forecast


ACQUISITIONS: Mapping[str, Callable[[_Goodness], Array]] = {
    "ucb": _upper_confidence_bound,
    "ei": _expected_improvement,
    "thompson": _thompson,
    "mean": _mean,
}
"""Acquisitions by name."""


def acquisition_values(
    name: str,
    predictions: Predictions,
    direction: Direction,
    best_value: float | None,
    rng: np.random.Generator,
    kappa: float = 1.0,
) -> Array:  # (S,)
    """Scores of the predicted architectures; `best_value` is the best measured so far, in the metric's unit.

    Promises and improvements are taken where forecasts are normal distributions (`Predictions.normal`): in the metric's unit a network
    that either fails or is as good as others would promise more than the best can be. "mean" is of the metric's unit.

    Raises:
        AcquisitionError: if no acquisition has that name or kappa is negative.
    """
    if name not in ACQUISITIONS:
        raise AcquisitionError(f"expected an acquisition among {', '.join(ACQUISITIONS)}, got {name!r}")
    if not (np.isfinite(kappa) and kappa >= 0):
        raise AcquisitionError(f"expected kappa to be 0 or more, got {kappa}")
    sign = 1.0 if direction == "maximize" else -1.0
    best = None if best_value is None else float(predictions.placed(np.array(best_value), sign))
    mean, std = predictions.normal(sign)
    return ACQUISITIONS[name](_Goodness(mean, std, best, sign * predictions.mean, rng, kappa))


def select_diverse(
    scores: Array,
    features: NDArray[np.float32],
    k: int,
    strength: float,
    taken: NDArray[np.float32] | None = None,
    max_likeness: float | None = None,
) -> NDArray[np.int64]:
    """Rows of k architectures, best score first, each penalised by its likeness to those already chosen.

    Greedy: the penalty is `strength` spreads of the scores times a Gaussian of the distance in features (S, F), whose length
    is half the typical distance; strength 0 takes the k best scores. What is `taken` (T, F) counts as chosen already, and
    nobody is chosen who is more than `max_likeness` (0 to 1) like anybody chosen: there may be fewer than k then.

    Raises:
        AcquisitionError: if strength or k is negative or scores and features differ in length.
    """
    if strength < 0 or not np.isfinite(strength):
        raise AcquisitionError(f"expected strength to be 0 or more, got {strength}")
    if len(scores) != len(features):
        raise AcquisitionError(f"expected one row of features for each score, got {len(features)} for {len(scores)}")
    if k < 0:
        raise AcquisitionError(f"expected k to be 0 or more, got {k}")
    k = min(k, len(scores))
    given = np.zeros((0, features.shape[1])) if taken is None else taken.astype(np.float64)
    if k == 0 or (max_likeness is None and (strength == 0.0 or (k == 1 and not len(given)))):
        return np.argsort(-scores, kind="stable")[:k]
    pool = np.argsort(-scores, kind="stable")[
        : max(50 * (k + len(given)), 500)
    ]  # likeness cannot lift what is far behind
    gains, rows = scores[pool].astype(np.float64), features[pool].astype(np.float64)
    unit = max(float(np.std(gains)), 1e-12) * strength
    length = max(float(np.mean(np.sum((rows - rows.mean(0)) ** 2, axis=1))), 1e-12) / 2
    penalty, chosen = _likeness(rows, given, length), list[int]()
    is_free = np.ones(len(pool), dtype=np.bool_)
    limit = np.inf if max_likeness is None else max_likeness
    while len(chosen) < k and bool((is_free & (penalty <= limit)).any()):
        best = int(np.argmax(np.where(is_free & (penalty <= limit), gains - unit * penalty, -np.inf)))
        chosen.append(best)
        is_free[best] = False
        penalty = np.maximum(penalty, _likeness(rows, rows[best : best + 1], length))
    return np.asarray(pool[chosen], dtype=np.int64)


def _likeness(rows: Array, others: Array, length: float) -> Array:  # (S, F), (T, F) -> (S,)
    """1 for whom there is an equal among the others, towards 0 the further away the nearest of them is."""
    if not len(others):
        return np.zeros(len(rows))
    squared = np.sum(rows**2, axis=1)[:, None] + np.sum(others**2, axis=1) - 2.0 * rows @ others.T  # (S, T)
    return np.asarray(np.exp(-np.maximum(squared.min(axis=1), 0.0) / length))
