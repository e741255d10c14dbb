"""What a residual process (`residual_gp`) is made of: what it sees of architectures, its hyperparameters, and what is expected of them
beforehand.

Notation: S support architectures, K opinions of the mean, V views, R related tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

JITTER = 1e-6
NUM_SCALES = 3
"""Hyperparameters before the shares."""

_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class GPInputs:
    """Architectures as the process sees them. A view takes no part where it has no columns for the support set."""

    means: Tensor  # (S, K) opinions of the mean, standardised units; the surrogate's first
    views: tuple[Tensor, ...]  # V × (S, features)
    contrasts: Tensor | None = None  # (S, R) inner products of rows are covariances over related tasks

    def select(self, rows: Tensor | slice) -> GPInputs:
        """These rows."""
        contrasts = None if self.contrasts is None else self.contrasts[rows]
        return GPInputs(self.means[rows], tuple(view[rows] for view in self.views), contrasts)


@dataclass(frozen=True)
class GPConfig:
    """Centres and widths of the log-normal priors, in standardised units."""

    slope: float = 0.25
    offset: float = 0.25
    noise: float = 0.3
    view: float = 0.4  # weight of a view's Matérn kernel
    length: float = 1.5
    linear: float = 0.15  # weight of a view's linear kernel
    contrast: float = 0.7  # factor on how related tasks differ from each other, in standard deviations
    shares: tuple[float, ...] = ()  # of the opinions in the blend; all alike where they are not given
    log_widths_of_shares: tuple[float, ...] = ()  # `log_width_of_shares` for each where they are not given
    room: tuple[float, ...] = ()  # factor on both weights of each view; 1 where they are not given
    log_width: float = 0.8
    log_width_of_shares: float = 1.5  # wider: one opinion may turn out to be right and all others wrong
    log_width_of_contrast: float = 0.7
    num_fit_steps: int = 60

    def prior_means(self, num_means: int, num_views: int, has_contrasts: bool = False) -> Tensor:
        """Centres of the logarithms of all hyperparameters: 3 + K + 3 V, and one more where there are contrasts."""
        shares = [
            max(share, _LEAST_SHARE) for share in self.shares or [1.0 / num_means] * num_means
        ]  # none is ruled out
        room = self.room or (1.0,) * num_views
        if len(room) != num_views:
            raise ValueError(f"expected room for {num_views} views, got {len(room)}")
        weights, linear = ([centre * factor for factor in room] for centre in (self.view, self.linear))
        per_view = [*weights, *[self.length] * num_views, *linear]
        last = [self.contrast] * has_contrasts
        return torch.tensor([self.slope, self.offset, self.noise, *shares, *per_view, *last], dtype=torch.float64).log()

    def prior_widths(self, num_means: int, num_views: int, has_contrasts: bool = False) -> Tensor:
        """How far the logarithms may lie from there."""
        shares = self.log_widths_of_shares or [self.log_width_of_shares] * num_means
        per_view, last = [self.log_width] * 3 * num_views, [self.log_width_of_contrast] * has_contrasts
        return torch.tensor([*[self.log_width] * 3, *shares, *per_view, *last], dtype=torch.float64)


class Hyperparameters:
    """Slope, offset, noise, shares of the opinions, then weights, lengths and linear weights of all views, and the factor on
    contrasts where there are any, as logarithms."""

    def __init__(self, raw: Tensor, inputs: GPInputs) -> None:
        plain, num_means = raw.exp(), inputs.means.shape[1]
        self.contrast = None
        if inputs.contrasts is not None:
            plain, self.contrast = plain[:-1], plain[-1]
        self.slope, self.offset, self.noise = plain[0], plain[1], plain[2]
        self.shares = plain[NUM_SCALES:][:num_means] / plain[NUM_SCALES:][:num_means].sum()  # (K,)
        self.weights, self.lengths, self.linear_weights = plain[NUM_SCALES + num_means :].reshape(3, -1)  # V each


def noise_variance(
    hyper: Hyperparameters, noise_scale: Tensor, known_variance: Tensor
) -> Tensor:  # (S,) on the diagonal
    return (hyper.noise * noise_scale).square() + JITTER + known_variance
