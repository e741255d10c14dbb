"""From a metric's values to standardised goodness and back, learned from a support set alone.

Goodness is larger when the architecture is better. Values of metrics that differ by factors (latency, energy …) are taken
as logarithms. Location and scale come from the support set (median, and a blend of spread and quartiles that one diverged
training does not ruin); with fewer than three values they are shrunk towards what the training tasks of that metric family
had. Before anything was measured the location is theirs, and as uncertain as they differ. Beyond ±2 the scale is compressed logarithmically, since failed trainings lie tens of spreads below the rest; of quality
everything worse than half a spread below the median is, since by how much bad networks fail says little of good ones. On top of that
a `Warp` may spread the support set's values evenly.

Notation: S observations or predictions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor.surrogate.warp import Warp
from predictor.tasks import LOGARITHMIC_FAMILIES, Metric, Task

Array = NDArray[np.float64]
_KNEE = 2.0
_KNEE_OF_FAILURE = 0.5  # of quality: how much worse a failed network is than a bad one tells little
_PRIOR_WEIGHT = 1.0  # the prior counts like this many observations
_TINY = 1e-12
_REACH = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)  # known errors to either side that a value may be off by
_LARGEST_ERROR = 1e3  # standardised units; logarithms of finite numbers stay below


@dataclass(frozen=True)
class ScalePrior:
    """What location and scale the training tasks of a metric family had, in transformed units."""

    location: float
    location_spread: float
    scale: float

    def in_unit_of(self, metric: Metric) -> ScalePrior:
        """The prior of a family, whose accuracies are in percent, for a metric that may tell them as a fraction."""
        per = metric.percent_per_unit
        return ScalePrior(self.location / per, self.location_spread / per, self.scale / per)


UNKNOWN_PRIOR = ScalePrior(location=0.0, location_spread=1.0, scale=1.0)


@dataclass(frozen=True)
class Standardisation:
    """An increasing map from goodness to standardised units, and its inverse."""

    sign: float  # +1: larger values are better
    logarithmic: bool
    location: float
    scale: float
    knee_below: float = _KNEE  # spreads below the location beyond which goodness is told logarithmically
    warp: Warp | None = None  # of what the above makes of values
    location_spread: float = 0.0  # uncertainty of the location itself, in its unit; 0 once something was measured

    @classmethod
    def fit(cls, task: Task, values: Array, prior: ScalePrior = UNKNOWN_PRIOR) -> Standardisation:
        """From the support values of one task, in the metric's unit; `values` may be empty."""
        family = task.metric.family
        logarithmic = family in LOGARITHMIC_FAMILIES and bool((values > 0).all())
        raw = task.metric.sign * (np.log(values) if logarithmic else values)
        count = len(raw)
        if count == 0:
            location, scale = task.metric.sign * prior.location, max(prior.scale, _TINY)
            return cls(task.metric.sign, logarithmic, location, scale, location_spread=prior.location_spread)
        location = float(np.median(raw))
        spread = _robust_spread(raw)
        if count < 3 or spread <= _TINY * max(1.0, float(np.abs(raw).max())):
            weight = count / (count + _PRIOR_WEIGHT) if count > 1 else 0.0  # one value has no spread to tell
            spread = weight * spread + (1 - weight) * prior.scale
        knee_below = _KNEE if family in LOGARITHMIC_FAMILIES else _KNEE_OF_FAILURE
        return cls(task.metric.sign, logarithmic, location, max(spread, _TINY), knee_below)

    @classmethod
    def warped(cls, task: Task, values: Array, prior: ScalePrior = UNKNOWN_PRIOR) -> Standardisation:
        """The same with values of quality spread like a normal distribution, as far as there are many. Costs are left alone: they
        are sums over the parts of a network, and would be no more."""
        plain = cls.fit(task, values, prior)
        return (
            plain
            if task.metric.family in LOGARITHMIC_FAMILIES
            else replace(plain, warp=Warp.fit(plain.forward(values)))
        )

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Standardisation:
        """From `dataclasses.asdict` of one; those of before warps have none. KeyError, TypeError or ValueError if it is something else."""
        warp = stored.get("warp")
        return cls(**{**stored, "warp": Warp(*map(tuple, (warp["places"], warp["scores"]))) if warp else None})

    def forward(self, values: Array) -> Array:
        """Metric unit -> standardised goodness."""
        return self._placed(self._straight(values))

    def forward_errors(self, values: Array, std_errors: Array) -> Array:  # (S,) each
        """Standard deviations of errors of values, metric unit -> standardised units.

        The smallest ones with which whatever lies up to three errors away stays as few standard deviations away: the slope
        times the error where that is small, and more where the scale is bent at the value and straight within its reach.
        The slope at the value alone would have 0 ± 40 % rule out the 80 % that the error allows. Where values are taken as
        logarithms, their errors are taken as log-normal, so that none reaches below 0.
        """
        with np.errstate(over="ignore"):  # of absurd sizes; they end as infinity, then as the limit
            relative = std_errors / np.maximum(values, _TINY)
            raw = np.sqrt(np.log1p(relative**2)) if self.logarithmic else std_errors
            z, size = self._straight(values), raw / self.scale
            apart = [np.abs(self._placed(z + step * size) - self._placed(z)) / abs(step) for step in _REACH]
        largest: Array = np.max(apart, axis=0)
        return np.minimum(largest, _LARGEST_ERROR)

    def _straight(self, values: Array) -> Array:
        """Goodness in spreads, before it is compressed."""
        raw = np.log(np.maximum(values, _TINY)) if self.logarithmic else values
        return (self.sign * raw - self.location) / self.scale

    def _placed(self, z: Array) -> Array:
        bent = self._bent(z)
        return bent if self.warp is None else self.warp.forward(bent)

    def _bent(self, z: Array) -> Array:
        beyond = np.abs(z) - self._knee(z)
        return np.where(beyond <= 0.0, z, np.sign(z) * (self._knee(z) + np.log1p(np.maximum(beyond, 0.0))))

    def _knee(self, z: Array) -> Array:
        return np.where(z < 0.0, self.knee_below, _KNEE)

    def inverse(self, standardised: Array) -> Array:
        """Standardised goodness -> metric unit."""
        return self._in_unit(self._goodness(standardised))

    def quantiles(self, center: Array, std: Array, steps: float, widening: Array | float = 1.0) -> Array:  # (Q,) each
        """What is `steps` standard deviations better than the center of a forecast, metric unit.

        `std` is in standardised units. How uncertain the location is, times `widening`, adds as an independent error that is no part of
        standardised goodness: tasks differ from each other by what they differ, however unlikely that would be for two networks of one task.
        """
        reached = self._goodness(center + steps * std)
        if self.location_spread > 0.0:
            middle = self._goodness(center)
            apart = np.hypot(reached - middle, steps * self.location_spread * widening)
            reached = middle + np.sign(steps) * apart
        return self._in_unit(reached)

    def quadrature(
        self, places: Array, weights: Array, nodes: Array, node_weights: Array, widening: Array
    ) -> tuple[Array, Array]:  # (Q, N), (N,), (M,), (M,), (Q,) -> (Q, N) or (Q, N M), as many weights
        """Values at the places of a forecast, metric unit, and how much each counts, which adds up to 1; where the location is
        uncertain, every place at every node of that."""
        goodness = self._goodness(places)
        if self.location_spread > 0.0:
            shifts = self.location_spread * widening[:, None] * nodes
            goodness = (goodness[:, :, None] + shifts[:, None, :]).reshape(len(places), len(weights) * len(nodes))
            weights = np.outer(weights, node_weights).ravel()
        return self._in_unit(goodness), weights / weights.sum()

    def _goodness(self, standardised: Array) -> Array:
        """Standardised goodness -> unit of the location."""
        standardised = standardised if self.warp is None else self.warp.inverse(standardised)
        knee = self._knee(standardised)
        beyond = np.minimum(np.abs(standardised) - knee, 30.0)
        z = np.where(beyond <= 0.0, standardised, np.sign(standardised) * (knee + np.expm1(np.maximum(beyond, 0.0))))
        return z * self.scale + self.location

    def _in_unit(self, goodness: Array) -> Array:
        raw = self.sign * goodness
        return np.exp(np.minimum(raw, 700.0)) if self.logarithmic else raw

    def differentiable_quantiles(self, center: Tensor, std: float, steps: float, widening: float = 1.0) -> Tensor:
        """The same as `quantiles`, through which gradients pass."""
        reached = self._differentiable_goodness(center + steps * std)
        if self.location_spread > 0.0:
            middle = self._differentiable_goodness(center)
            squares = (reached - middle).square() + (steps * self.location_spread * widening) ** 2
            reached = middle + math.copysign(1.0, steps) * squares.sqrt()
        return self._differentiably_in_unit(reached)

    def differentiable_quadrature(
        self, places: Tensor, weights: Tensor, nodes: Tensor, node_weights: Tensor, widening: float
    ) -> tuple[Tensor, Tensor]:
        """The same as `quadrature`, through which gradients pass."""
        goodness = self._differentiable_goodness(places)
        if self.location_spread > 0.0:
            goodness = (goodness[:, :, None] + self.location_spread * widening * nodes).flatten(1)
            weights = torch.outer(weights, node_weights).flatten()
        return self._differentiably_in_unit(goodness), weights / weights.sum()

    def _differentiably_in_unit(self, goodness: Tensor) -> Tensor:
        raw = self.sign * goodness
        return torch.exp(raw.clamp(max=700.0)) if self.logarithmic else raw

    def _differentiable_goodness(self, standardised: Tensor) -> Tensor:
        standardised = standardised if self.warp is None else self.warp.differentiable_inverse(standardised)
        knee = torch.where(standardised < 0.0, self.knee_below, _KNEE)
        beyond = (standardised.abs() - knee).clamp(max=30.0)
        far = standardised.sign() * (knee + torch.expm1(beyond.clamp(min=0.0)))
        return torch.where(beyond <= 0.0, standardised, far) * self.scale + self.location


def _robust_spread(raw: Array) -> float:
    """Geometric mean of standard deviation and scaled interquartile range; the former alone where the latter is 0."""
    largest = float(np.abs(raw).max())
    unit = largest if largest > 1e100 else 1.0  # squares must not overflow
    std = float((raw / unit).std())
    low, high = np.quantile(raw / unit, [0.25, 0.75])
    quartiles = float(high - low) / 1.349
    return unit * (float(np.sqrt(std * quartiles)) if quartiles > 0.01 * std else std)


def scale_priors(values_by_task: list[tuple[Task, Array]]) -> Mapping[str, ScalePrior]:
    """One prior per metric family from training tasks; accuracies in percent."""
    gathered: dict[str, list[tuple[float, float]]] = {}
    for task, values in values_by_task:
        family = task.metric.family
        raw = np.log(values[values > 0]) if family in LOGARITHMIC_FAMILIES else values * task.metric.percent_per_unit
        if len(raw) >= 3:
            gathered.setdefault(family, []).append((float(np.median(raw)), _robust_spread(raw)))
    return {family: _prior(family, *zip(*pairs, strict=True)) for family, pairs in gathered.items()}


def _prior(family: str, locations: tuple[float, ...], scales: tuple[float, ...]) -> ScalePrior:
    location, spread = float(np.median(locations)), float(np.std(locations))
    if len(locations) == 1:  # which does not tell how much tasks differ: by a factor of two or three, say
        spread = 1.0 if family in LOGARITHMIC_FAMILIES else abs(location)
    return ScalePrior(location, spread, float(np.median(scales)))


def normal_scores(values: Array) -> Array:  # (S,) -> (S,)
    """Normal quantiles of the ranks; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[place]  # from 1
    scores = torch.special.ndtri(torch.from_numpy((ranks - 0.5) / max(len(values), 1)))
    return np.asarray(scores.numpy(), dtype=np.float64)
