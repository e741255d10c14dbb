"""A Gaussian process on a fixed kernel, whose amplitude and noise follow from the observations in closed form.

Covariance s² (K + ρ I): s² has an inverse-gamma prior and is integrated out, ρ is the most probable one of a grid (Rasmussen &
Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2 and 5; Murphy, "Conjugate Bayesian analysis of the
Gaussian distribution", 2007).

Notation: S observations, Q asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_NOISE_RATIOS = np.logspace(-4, 1, 26)
_SHAPE, _RATE = 1.0, 1.0  # of the prior of s²: about one standardised unit


@dataclass(frozen=True)
class ProfiledProcess:
    """Zero mean; conditioned on its observations."""

    weights: Array  # (S,)
    inverse: Array  # (S, S) of K + ρ I
    amplitude: float  # s²
    noise_ratio: float  # ρ
    log_evidence: float

    @classmethod
    def fit(cls, kernel: Array, targets: Array) -> ProfiledProcess:  # (S, S), (S,)
        """The most probable noise for these observations."""
        values, vectors = np.linalg.eigh(kernel)
        spectrum = np.maximum(values, 0.0)[None, :] + _NOISE_RATIOS[:, None]  # (ratios, S)
        rate = _RATE + 0.5 * (np.square(vectors.T @ targets) / spectrum).sum(axis=1)
        shape = _SHAPE + 0.5 * len(targets)
        evidence = -shape * np.log(rate) - 0.5 * np.log(spectrum).sum(axis=1)
        best = int(np.argmax(evidence))
        inverse = (vectors / spectrum[best]) @ vectors.T
        constant = math.lgamma(shape) - math.lgamma(_SHAPE) + _SHAPE * math.log(_RATE)
        total = float(evidence[best]) + constant - 0.5 * len(targets) * math.log(2 * math.pi)
        return cls(inverse @ targets, inverse, float(rate[best]) / shape, float(_NOISE_RATIOS[best]), total)

    def predict(self, across: Array, own: Array) -> tuple[Array, Array]:  # (Q, S), (Q,) -> (Q,), (Q,)
        """Mean and standard deviation of one new measurement, from kernels with the observations and with itself."""
        explained = np.einsum("qs,st,qt->q", across, self.inverse, across, optimize=True)
        variance = self.amplitude * (np.maximum(own - explained, 0.0) + self.noise_ratio)
        return across @ self.weights, np.sqrt(variance)
