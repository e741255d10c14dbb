"""A Gaussian process on what the adapted surrogate gets wrong.

The surrogate leads while there are few observations and then plateaus; the process corrects its mean where observations
say so, and knows how little it knows far from them. Where there are several opinions of the mean (the surrogate's, that of
related tasks), it starts from a blend of them. Its kernel adds how far the scale of that blend may be off (linear in it) and,
for every view of an architecture, two kinds of likeness: a Matérn kernel of smoothness 3/2, and a linear one,
which makes additive metrics such as latency exact after a few dozen observations. Where there are related tasks, their
covariance is one more part: how tasks of this space differ from their mean is how this one may (empirical Bayes; Yu, Tresp &
Schwaighofer, "Learning Gaussian Processes from Multiple Tasks", ICML 2005). Weights and lengths are the most probable
ones under log-normal priors (Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2, 4 and 5;
leave-one-out from equation 5.12).

Noise of an observation has two parts: one that the process learns, the same for all but for the number of repeated
measurements, and one that was told with it (`known_variance`). A forecast is of a new measurement with the former alone.

Notation: S support architectures, Q asked ones, K opinions of the mean, V views, R related tasks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from predictor.surrogate.evidence import Evidence
from predictor.surrogate.hyperparameters import JITTER, GPConfig, GPInputs, Hyperparameters, noise_variance
from predictor.surrogate.packed_factor import PackedFactor

_USUAL = GPConfig()
_MAX_FITTED = 400  # observations that the hyperparameters are fitted on
MAX_OBSERVATIONS = 2_000
"""Support architectures that the process holds at most."""

_MAX_PAIRS = 2**19  # of support and asked architectures that are compared at once: a matrix of 4 MB
_STRIP = 256  # columns of the own covariance that are computed at once
_MAX_TYPICAL = 256  # observations that tell how much is typically left


@dataclass(frozen=True)
class _Frame:
    """Where the support set lies in a view, so that the same hyperparameters fit every view."""

    center: Tensor  # (features,)
    scale: Tensor  # () mean squared distance between different support architectures

    @classmethod
    def of(cls, view: Tensor) -> _Frame:
        view, count = view.double(), len(view)
        if count < 2 or view.shape[1] == 0:
            return cls(view.sum(0) / max(count, 1), torch.ones((), dtype=view.dtype))
        center = view.mean(0)
        return cls(center, (2 * (view - center).square().sum() / (count - 1)).clamp(min=1e-9))

    def placed(self, view: Tensor) -> Tensor:
        """The view in units in which support architectures lie 1 apart, in float64."""
        return (view[:, : len(self.center)].double() - self.center) / self.scale.sqrt()


class ResidualGP:
    """A fitted process; immutable. It computes in float64 on the CPU; views may come in float32, which takes less memory."""

    def __init__(
        self,
        raw: Tensor,
        support: GPInputs,
        targets: Tensor,  # (S,)
        noise_scale: Tensor,  # (S,)
        known_variance: Tensor | None = None,  # (S,)
    ) -> None:
        """From fitted hyperparameters: targets in standardised units, `noise_scale` 1/√(number of measurements), and what
        is known of the variances of their errors (0 where nothing is)."""
        self.raw, self.support, self.targets, self.noise_scale = raw, support, targets, noise_scale
        self.known_variance = torch.zeros_like(noise_scale) if known_variance is None else known_variance
        self._hyper = Hyperparameters(raw, support)
        self._frames = tuple(map(_Frame.of, support.views))
        self._placed = self._in_frames(support)
        self._mean = support.means @ self._hyper.shares
        with torch.no_grad():
            covariance = self._own_covariance()
            covariance.diagonal().add_(noise_variance(self._hyper, noise_scale, self.known_variance))
            factor = torch.linalg.cholesky(covariance)
            self._weights = torch.cholesky_solve((targets - self._mean)[:, None], factor)[:, 0]
            self._factor = PackedFactor(factor)

    @classmethod
    def fit(
        cls,
        support: GPInputs,
        targets: Tensor,
        counts: Tensor,
        config: GPConfig = _USUAL,
        known_variance: Tensor | None = None,
    ) -> ResidualGP:
        """Most probable hyperparameters for these observations; at least one."""
        noise_scale = counts.to(torch.float64).rsqrt()
        known = torch.zeros_like(noise_scale) if known_variance is None else known_variance
        rows = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))[:_MAX_FITTED]
        views = tuple(_Frame.of(view).placed(view)[rows] for view in support.views)
        seen = GPInputs(support.means[rows], views, _in_float64(support.contrasts, rows))
        evidence = Evidence(seen, targets[rows], noise_scale[rows], known[rows])
        return cls(evidence.most_probable(config), support, targets, noise_scale, known)

    def _own_covariance(self) -> Tensor:  # (S, S)
        """Strip by strip, so that what is in between stays small."""
        covariance = torch.empty(len(self.targets), len(self.targets), dtype=torch.float64)
        for start in range(0, len(self.targets), _STRIP):
            strip = slice(start, start + _STRIP)
            covariance[:, strip] = self._prior(self._placed.select(strip), self._mean[strip])
        return covariance

    def _in_frames(self, inputs: GPInputs) -> GPInputs:
        placed = (frame.placed(view) for frame, view in zip(self._frames, inputs.views, strict=True))
        has_contrasts = self._hyper.contrast is not None
        return GPInputs(inputs.means, tuple(placed), _in_float64(inputs.contrasts) if has_contrasts else None)

    def _prior(self, asked: GPInputs, mean: Tensor) -> Tensor:  # placed, (Q,) -> (S, Q)
        """Covariance of support and asked, in place: matrices of a whole support set are large."""
        hyper = self._hyper
        total = torch.outer(self._mean * hyper.slope.square(), mean).add_(hyper.offset.square())
        if hyper.contrast is not None and self._placed.contrasts is not None and asked.contrasts is not None:
            total.addmm_(self._placed.contrasts, asked.contrasts.T, alpha=float(hyper.contrast.square()))
        for number, (own, other) in enumerate(zip(self._placed.views, asked.views, strict=True)):
            if own.shape[1]:
                total.addmm_(own, other.T, alpha=2.0 * float(hyper.linear_weights[number].square()))
                reach = torch.cdist(own, other).mul_(math.sqrt(3.0) / hyper.lengths[number])
                total.addcmul_(reach + 1.0, reach.neg().exp_(), value=float(hyper.weights[number].square()))
        return total

    def predict(self, asked: GPInputs) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and standard deviation of one new measurement of ordinary noise, standardised units, and novelty: (Q,) each.

        Novelty is 0 where observations tell as much as they tell of each other, towards 1 the more is left open.
        """
        step = max(_MAX_PAIRS // len(self.targets), 1)
        with torch.no_grad():
            parts = [
                self._predict(self._in_frames(asked.select(slice(start, start + step))))
                for start in range(0, max(len(asked.means), 1), step)
            ]
        mean, std, novelty = (torch.cat(column) for column in zip(*parts, strict=True))
        return mean, std, novelty

    def _predict(self, asked: GPInputs) -> tuple[Tensor, Tensor, Tensor]:
        hyper, blend = self._hyper, asked.means @ self._hyper.shares
        across = self._prior(asked, blend)
        mean = blend + across.T @ self._weights
        own = hyper.slope.square() * blend.square() + hyper.offset.square()
        if hyper.contrast is not None and asked.contrasts is not None:
            own = own + hyper.contrast.square() * asked.contrasts.square().sum(1)
        for number, view in enumerate(asked.views):
            if view.shape[1]:
                linear = 2.0 * hyper.linear_weights[number].square() * view.square().sum(1)
                own = own + hyper.weights[number].square() + linear
        left = (own - self._factor.squared_lengths(across)).clamp(min=0.0)
        novelty = 1.0 - torch.exp(-(left / self._typically_left - 1.0).clamp(min=0.0))
        return mean, (left + hyper.noise.square()).sqrt(), novelty

    def differentiable_mean(self, asked: GPInputs) -> Tensor:  # (Q,)
        """The mean of `predict`, through which gradients pass; slower, and for few at a time."""
        hyper, blend = self._hyper, asked.means @ self._hyper.shares
        total = hyper.slope.square() * torch.outer(blend, self._mean) + hyper.offset.square()  # (Q, S)
        mean: Tensor = blend + (total + _likeness(self._in_frames(asked), self._placed, hyper)) @ self._weights
        return mean

    def covariance(self, asked: GPInputs) -> Tensor:  # (Q, Q)
        """What observations leave open of the asked architectures together, without noise; for few at a time."""
        with torch.no_grad():
            hyper, blend, placed = self._hyper, asked.means @ self._hyper.shares, self._in_frames(asked)
            own = hyper.slope.square() * torch.outer(blend, blend) + hyper.offset.square()
            known = torch.cat(self._factor.solve(self._prior(placed, blend)))  # (S, Q)
            left: Tensor = own + _likeness(placed, placed, hyper) - known.T @ known
            return left

    @cached_property
    def _typically_left(self) -> Tensor:  # ()
        """Prior variance of an observation that the others leave, on average (over some of them where there are many)."""
        rows = torch.randperm(len(self.targets), generator=torch.Generator().manual_seed(1))[:_MAX_TYPICAL]
        alone = torch.zeros(len(self.targets), len(rows), dtype=torch.float64)
        alone[rows, torch.arange(len(rows))] = 1.0
        variances = 1.0 / self._factor.squared_lengths(alone)
        own_noise = noise_variance(self._hyper, self.noise_scale[rows], self.known_variance[rows])
        return (variances - own_noise).mean().clamp(min=JITTER)

    def blend(self, means: Tensor) -> Tensor:  # (Q, K) -> (Q,)
        """All opinions as one: what forecasts return to where observations say nothing."""
        return means @ self._hyper.shares.detach()

    def missed(self) -> Tensor:  # (S,)
        """How far every observation lies above what the others say of it, standardised units."""
        return self._weights / self._precisions

    def leave_one_out(self) -> Tensor:  # (S,)
        """For every observation its distance from what the others say of it, in standard deviations."""
        return self._weights / self._precisions.sqrt()

    @property
    def is_ordinary(self) -> Tensor:  # (S,)
        """Whether an observation's known error is within the noise, so that it tells how good forecasts of a new one are."""
        return self.known_variance <= self._hyper.noise.square()

    @property
    def leave_one_out_log_density(self) -> float:
        """Of all observations, each as the others foretell it; up to a constant."""
        return 0.5 * float((self._precisions.log() - self.leave_one_out().square()).sum())

    @cached_property
    def _precisions(self) -> Tensor:  # (S,) of each observation given all others
        with torch.no_grad():
            return self._factor.squared_lengths(torch.eye(len(self.targets), dtype=self.targets.dtype))


def _likeness(first: GPInputs, second: GPInputs, hyper: Hyperparameters) -> Tensor:  # placed -> (Q, S)
    """The kernels of all views and of contrasts, through which gradients pass."""
    total = torch.zeros(len(first.means), len(second.means), dtype=torch.float64)
    if hyper.contrast is not None and first.contrasts is not None and second.contrasts is not None:
        total = total + hyper.contrast.square() * (first.contrasts @ second.contrasts.T)
    for number, (one, other) in enumerate(zip(first.views, second.views, strict=True)):
        if one.shape[1]:
            reach = torch.cdist(one, other) * (math.sqrt(3.0) / hyper.lengths[number])
            total = total + hyper.weights[number].square() * (1.0 + reach) * torch.exp(-reach)
            total = total + 2.0 * hyper.linear_weights[number].square() * (one @ other.T)
    return total


def _in_float64(contrasts: Tensor | None, rows: Tensor | slice = slice(None)) -> Tensor | None:
    return None if contrasts is None else contrasts[rows].double()
