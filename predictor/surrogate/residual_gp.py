"""A Gaussian process on what the adapted surrogate gets wrong.

The surrogate leads while there are few observations and then plateaus; the process corrects its mean where observations
say so, and knows how little it knows far from them. Its kernel adds: how far the surrogate's own scale may be off (linear in
its mean), likeness in the surrogate's embedding, likeness in the statistics of the graph, and likeness in the decisions of
this search space, which makes additive metrics such as latency exact after a few dozen observations. Weights and lengths
are the most probable ones under log-normal priors (Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006,
chapters 2 and 5; leave-one-out from equation 5.12).

Notation: S support architectures, Q asked ones, V views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

VIEWS = ("embedding", "statistics", "decisions")
"""What likeness is judged by, in the order of the weights."""

_MAX_FITTED = 400  # observations that the hyperparameters are fitted on
MAX_OBSERVATIONS = 2_000
"""Support architectures that the process holds at most."""

_MAX_PAIRS = 2**19  # of support and asked architectures that are compared at once: a matrix of 4 MB
_JITTER = 1e-6


@dataclass(frozen=True)
class GPInputs:
    """Architectures as the process sees them. A view of no columns takes no part."""

    mean: Tensor  # (S,) the surrogate's mean, standardised units
    views: tuple[Tensor, ...]  # V × (S, features)

    def select(self, rows: Tensor | slice) -> GPInputs:
        """These rows."""
        return GPInputs(self.mean[rows], tuple(view[rows] for view in self.views))


@dataclass(frozen=True)
class GPConfig:
    """Centres and widths of the log-normal priors, in standardised units."""

    slope: float = 0.25
    offset: float = 0.25
    view: float = 0.35
    length: float = 1.0
    noise: float = 0.3
    log_width: float = 0.8
    num_fit_steps: int = 60


class _Hyperparameters:
    """Slope, offset, noise, then weight and length of each view, as logarithms."""

    def __init__(self, raw: Tensor) -> None:
        self.raw = raw

    @staticmethod
    def prior_means(config: GPConfig, num_views: int) -> Tensor:
        plain = [config.slope, config.offset, config.noise, *[config.view] * num_views, *[config.length] * num_views]
        return torch.tensor(plain, dtype=torch.float64).log()

    @property
    def slope(self) -> Tensor:
        return self.raw[0].exp()

    @property
    def offset(self) -> Tensor:
        return self.raw[1].exp()

    @property
    def noise(self) -> Tensor:
        return self.raw[2].exp()

    def view(self, number: int, num_views: int) -> tuple[Tensor, Tensor]:
        return self.raw[3 + number].exp(), self.raw[3 + num_views + number].exp()


def _scaled_distances(first: Tensor, second: Tensor, scale: Tensor) -> Tensor:
    return torch.cdist(first, second).square() / scale


def _typical_distance(view: Tensor) -> Tensor:
    """Mean squared distance between different support architectures, so that a length of 1 fits every view."""
    count = len(view)
    if count < 2 or view.shape[1] == 0:
        return torch.ones((), dtype=view.dtype)
    total = 2 * count * view.square().sum() - 2 * view.sum(0).square().sum()
    return (total / (count * (count - 1))).clamp(min=1e-9)


class PackedFactor:
    """A lower triangular matrix in half the memory of a square one, the second diagonal block transposed into the empty half
    of the first (rectangular full packed format; Gustavson et al., ACM Transactions on Mathematical Software 37(2), 2010)."""

    def __init__(self, factor: Tensor) -> None:
        """From the whole square, (S, S), zero above the diagonal."""
        size = len(factor)
        half, rest = size - size // 2, size // 2
        packed = factor.new_empty(size + 1, half)
        self._first, self._second, self._below = packed[1 : half + 1], packed[:rest, :rest].T, packed[half + 1 :]
        self._first.copy_(factor[:half, :half])
        self._second.triu_(1).add_(factor[half:, half:])
        self._below.copy_(factor[half:, :half])

    def solve(self, right: Tensor) -> tuple[Tensor, Tensor]:  # (S, Q) -> (S / 2, Q), (S / 2, Q)
        """The factor's inverse times `right`, in an upper and a lower half."""
        half = self._first.shape[1]
        upper = torch.linalg.solve_triangular(self._first, right[:half], upper=False)
        remaining = torch.addmm(right[half:], self._below, upper, alpha=-1.0)
        return upper, torch.linalg.solve_triangular(self._second, remaining, upper=False)

    def squared_lengths(self, right: Tensor) -> Tensor:  # (S, Q) -> (Q,)
        """Of the columns of the factor's inverse times `right`."""
        upper, lower = self.solve(right)
        return upper.square_().sum(0) + lower.square_().sum(0)


class ResidualGP:
    """A fitted process; immutable. All tensors are float64 on the CPU."""

    def __init__(
        self, raw: Tensor, support: GPInputs, targets: Tensor, noise_scale: Tensor, view_scales: Tensor
    ) -> None:
        """From fitted hyperparameters: S targets in standardised units, `noise_scale` 1/√(number of measurements)."""
        self.raw, self.support, self.targets = raw, support, targets
        self.noise_scale, self.view_scales = noise_scale, view_scales
        with torch.no_grad():
            covariance = self._prior(support, support)
            covariance.diagonal().add_(_noise(raw, noise_scale))
            factor = torch.linalg.cholesky(covariance)
            self._weights = torch.cholesky_solve((targets - support.mean)[:, None], factor)[:, 0]
            self._factor = PackedFactor(factor)

    @classmethod
    def fit(cls, support: GPInputs, targets: Tensor, counts: Tensor, config: GPConfig = GPConfig()) -> ResidualGP:
        """Most probable hyperparameters for these observations; at least one."""
        scales = torch.stack([_typical_distance(view) for view in support.views])
        noise_scale = counts.to(torch.float64).rsqrt()
        prior = _Hyperparameters.prior_means(config, len(support.views))
        rows = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))[:_MAX_FITTED]
        part = support.select(rows)
        distances = [_scaled_distances(v, v, s) for v, s in zip(part.views, scales, strict=True)]
        raw = _most_probable(part, targets[rows], noise_scale[rows], distances, prior, config)
        return cls(raw, support, targets, noise_scale, scales)

    def _prior(self, first: GPInputs, second: GPInputs) -> Tensor:
        """What `_covariance` says, in place: matrices of a whole support set are large."""
        hyper, num_views = _Hyperparameters(self.raw), len(first.views)
        total = torch.outer(first.mean * hyper.slope.square(), second.mean).add_(hyper.offset.square())
        for number, (own, other) in enumerate(zip(first.views, second.views, strict=True)):
            if own.shape[1]:
                weight, length = hyper.view(number, num_views)
                exponent = -0.5 / (self.view_scales[number] * length.square())
                total.add_(torch.cdist(own, other).square_().mul_(exponent).exp_().mul_(weight.square()))
        return total

    def predict(self, asked: GPInputs) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of one new measurement, standardised units: (Q,) each."""
        step = max(_MAX_PAIRS // len(self.targets), 1)
        with torch.no_grad():
            parts = [
                self._predict(asked.select(slice(start, start + step)))
                for start in range(0, max(len(asked.mean), 1), step)
            ]
        mean, std = (torch.cat(column) for column in zip(*parts, strict=True))
        return mean, std

    def _predict(self, asked: GPInputs) -> tuple[Tensor, Tensor]:
        across = self._prior(self.support, asked)  # (S, Q)
        mean = asked.mean + across.T @ self._weights
        hyper = _Hyperparameters(self.raw)
        own = hyper.slope.square() * asked.mean.square() + hyper.offset.square()
        for number, view in enumerate(asked.views):
            if view.shape[1]:
                own = own + hyper.view(number, len(asked.views))[0].square()
        variance = (own - self._factor.squared_lengths(across)).clamp(min=0.0) + hyper.noise.square()
        return mean, variance.sqrt()

    def leave_one_out(self) -> Tensor:  # (S,)
        """For every observation its distance from what the others say of it, in standard deviations."""
        with torch.no_grad():
            itself = torch.eye(len(self.targets), dtype=self.targets.dtype)
            return self._weights / self._factor.squared_lengths(itself).sqrt()


def _noise(raw: Tensor, noise_scale: Tensor) -> Tensor:  # (S,) on the diagonal
    return (_Hyperparameters(raw).noise * noise_scale).square() + _JITTER


def _covariance(first: GPInputs, second: GPInputs, distances: Sequence[Tensor], raw: Tensor) -> Tensor:
    hyper = _Hyperparameters(raw)
    total = hyper.slope.square() * first.mean[:, None] * second.mean[None, :] + hyper.offset.square()
    for number, distance in enumerate(distances):
        if first.views[number].shape[1]:
            weight, length = hyper.view(number, len(distances))
            total = total + weight.square() * torch.exp(-0.5 * distance / length.square())
    return total


def _most_probable(
    support: GPInputs,
    targets: Tensor,
    noise_scale: Tensor,
    distances: Sequence[Tensor],
    prior: Tensor,
    config: GPConfig,
) -> Tensor:
    residual = targets - support.mean
    raw = prior.clone().requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=0.1)
    best, best_loss = prior.clone(), float("inf")
    for _ in range(config.num_fit_steps):
        optimizer.zero_grad()
        noise = torch.diag(_noise(raw, noise_scale))
        factor, failed = torch.linalg.cholesky_ex(_covariance(support, support, distances, raw) + noise)
        if int(failed):
            break
        half = torch.linalg.solve_triangular(factor, residual[:, None], upper=False)
        evidence = 0.5 * half.square().sum() + factor.diagonal().log().sum()
        loss = evidence + 0.5 * ((raw - prior) / config.log_width).square().sum()
        if float(loss.detach()) < best_loss:
            best, best_loss = raw.detach().clone(), float(loss.detach())
        loss.backward()
        optimizer.step()
    return best
