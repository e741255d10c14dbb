"""Linear fits that several baselines share: ridge regression with its left-out forecasts, and a line with a prior.

Notation: S observations, Q asked, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PENALTIES = tuple(float(one) for one in np.logspace(4, -3, 22))
"""From most to least cautious, so that ties go to the cautious."""

_NUM_EM_STEPS = 20
_PRIOR_RESIDUALS = 2.0


@dataclass(frozen=True)
class RidgeFit:
    """Ridge regression with an unpenalised intercept (Hoerl & Kennard, Technometrics 1970)."""

    center: Array  # (F,)
    intercept: float
    coefficients: Array  # (F,)
    penalty: float
    left_out: Array  # (S,) for every observation what the others say of it

    @classmethod
    def fit(cls, inputs: Array, targets: Array, penalties: tuple[float, ...] = PENALTIES) -> RidgeFit:
        """With the penalty of the least leave-one-out error, which has a closed form; at least two observations."""
        center, intercept = inputs.mean(axis=0), float(targets.mean())
        left, scales, right = np.linalg.svd(inputs - center, full_matrices=False)
        rotated, residual = left.T @ targets, targets - intercept
        shrunk = scales**2 / (scales**2 + np.array(penalties)[:, None])  # (penalties, components)
        leverage = 1.0 / len(targets) + shrunk @ (left**2).T  # (penalties, S)
        errors = (residual - (shrunk * rotated) @ left.T) / np.maximum(1.0 - leverage, 1e-9)
        best = int(np.argmin(np.square(errors).mean(axis=1)))
        coefficients = right.T @ (scales / (scales**2 + penalties[best]) * rotated)
        return cls(center, intercept, coefficients, penalties[best], targets - errors[best])

    def predict(self, inputs: Array) -> Array:  # (Q, F) -> (Q,)
        """Forecasts of others."""
        return self.intercept + (inputs - self.center) @ self.coefficients


@dataclass(frozen=True)
class LineFit:
    """Intercept and slope with normal priors, and noise by expectation maximisation (Bishop, "Pattern Recognition and Machine
    Learning", 2006, sections 3.3 and 9.3.4). Without observations it is its prior."""

    weights: Array  # (2,)
    covariance: Array  # (2, 2)
    noise_variance: float

    @classmethod
    def fit(cls, scores: Array, targets: Array, slope: float, slope_std: float) -> LineFit:  # (S,) each
        """The slope is expected to be `slope` give or take `slope_std`; the intercept 0 give or take 1."""
        design = np.stack([np.ones_like(scores), scores], axis=1)  # (S, 2)
        prior_mean, prior_precision = np.array([0.0, slope]), np.diag([1.0, slope_std**-2])
        weights: Array = prior_mean
        covariance, noise = np.asarray(np.linalg.inv(prior_precision), dtype=np.float64), 1.0
        for _ in range(_NUM_EM_STEPS):
            precision = prior_precision + design.T @ design / noise
            covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
            weights = np.asarray(covariance @ (prior_precision @ prior_mean + design.T @ targets / noise))
            squared = np.square(targets - design @ weights).sum() + np.sum(design @ covariance * design)
            noise = float((squared + _PRIOR_RESIDUALS) / (len(targets) + _PRIOR_RESIDUALS))
        return cls(weights, covariance, noise)

    def predict(self, scores: Array) -> tuple[Array, Array]:  # (Q,) -> (Q,), (Q,)
        """Mean and standard deviation of one new measurement."""
        design = np.stack([np.ones_like(scores), scores], axis=1)
        variance = self.noise_variance + np.einsum("qi,ij,qj->q", design, self.covariance, design)
        return design @ self.weights, np.sqrt(variance)
