"""How good forecasts of Q architectures are, in numbers that can be averaged over tasks.

Whatever has a unit is divided by the standard deviation of the measured values.

Notation: Q asked architectures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from predictor.prediction import Predictions
from predictor.tasks import Metric

Array = NDArray[np.float64]
PROMISED_COVERAGE = 0.9
_LOG_ROOT_TWO_PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True)
class Scores:
    """What one set of forecasts is worth. NaN where a contestant gives no spread or no interval."""

    kendall_tau: float
    spearman_rho: float
    nll: float  # mean negative log density of a normal distribution, standardised units
    coverage: float  # share of values inside the 90 % interval
    width: float  # mean width of that interval
    width_at_90: float  # the same after all intervals were scaled by one factor so that exactly 90 % are inside
    regret_top1: float  # how much worse than the best of all is the forecast's first choice
    regret_top10: float  # how much worse is the best of its ten first choices
    std_error_rho: (
        float  # Spearman's ρ of predicted standard deviations and absolute errors: does it know where it errs
    )
    ood_error_rho: float  # the same of out-of-distribution scores; NaN where a contestant tells nothing apart by them


def score(predictions: Predictions, truth: Array, metric: Metric) -> Scores:  # (Q,)
    """Forecasts against what was measured."""
    spread = float(truth.std()) or 1.0
    width, covering = predictions.upper - predictions.lower, _factor_for_promise(predictions, truth)
    errors = np.abs(truth - predictions.mean)
    inside = (predictions.lower <= truth) & (truth <= predictions.upper)
    has_interval = bool(np.isfinite(width).all())
    return Scores(
        kendall_tau=rank_correlation(kendalltau, predictions.mean, truth),
        spearman_rho=rank_correlation(spearmanr, predictions.mean, truth),
        nll=_negative_log_density(predictions, truth, spread),
        coverage=float(inside.mean()) if has_interval else math.nan,
        width=float(width.mean()) / spread if has_interval else math.nan,
        width_at_90=float(width.mean()) * covering / spread if has_interval else math.nan,
        regret_top1=regret(predictions.mean, truth, metric.sign, 1) / spread,
        regret_top10=regret(predictions.mean, truth, metric.sign, 10) / spread,
        std_error_rho=association(predictions.std, errors),
        ood_error_rho=association(predictions.ood_score, errors),
    )


def rank_correlation(of: Callable[[Array, Array], Any], first: Array, second: Array) -> float:
    """Kendall's τ-b or Spearman's ρ; 0 when one side is constant, for then nothing is ranked."""
    if np.ptp(first) == 0.0 or np.ptp(second) == 0.0:
        return 0.0
    return float(of(first, second).statistic)


def association(warning: Array, errors: Array) -> float:  # (Q,) each
    """Spearman's ρ of what is to warn of errors and their size; NaN where either is constant or not told."""
    told = np.isfinite(warning).all() and np.isfinite(errors).all()
    if not told or np.ptp(warning) == 0.0 or np.ptp(errors) == 0.0:
        return math.nan
    return float(spearmanr(warning, errors).statistic)


def regret(mean: Array, truth: Array, sign: float, count: int) -> float:
    """Distance of the best of the `count` first choices from the best of all, in the metric's unit."""
    goodness = sign * truth
    first_choices = np.argsort(-sign * mean, kind="stable")[:count]
    return float(goodness.max() - goodness[first_choices].max())


def _negative_log_density(predictions: Predictions, truth: Array, spread: float) -> float:
    if not np.isfinite(predictions.std).all():
        return math.nan
    std = np.maximum(predictions.std / spread, 1e-6)
    errors = (truth - predictions.mean) / spread / std
    return float(np.mean(0.5 * np.square(errors) + np.log(std))) + _LOG_ROOT_TWO_PI


def _factor_for_promise(predictions: Predictions, truth: Array) -> float:
    """By what all half-widths have to be multiplied so that 90 % of the values are inside."""
    middle, half = (predictions.upper + predictions.lower) / 2, (predictions.upper - predictions.lower) / 2
    if not np.isfinite(half).all():
        return math.nan
    return float(np.quantile(np.abs(truth - middle) / np.maximum(half, 1e-12), PROMISED_COVERAGE))
