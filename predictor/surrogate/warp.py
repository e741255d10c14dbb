"""An increasing map under which what was measured of a task is spread more nearly like a normal distribution.

Accuracies crowd below the best that a space allows and trail off towards failed networks. In units of their spread the crowd, which
is what anybody asks about, is then a small thing beside the tail: a process with one noise for all learns the tail and ranks the crowd by
chance. Ranks put that right (Salinas, Shen & Perrone, "A Quantile-based Approach for Hyperparameter Transfer Learning", ICML
2020), but a few observations tell ranks only roughly. So the distribution is theirs, smoothed, mixed with the normal distribution that standardised
values are taken to have before anything was measured, which counts as some observations of its own; the map is its normal score.

Notation: S observations, C centres that stand for them, K knots.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
LEAST_OBSERVATIONS = 4
"""Fewer tell nothing of a distribution."""

_PRIOR_OBSERVATIONS = 10.0  # what the normal distribution counts
_SMOOTHING = 0.5  # of what is best for a normal distribution (Silverman, 1986): crowds are narrower
_LEAST_WIDTH = 0.02  # of the smoothing, standardised units
_SHARE_OF_GAP = 0.5  # of the way to the nearest observation that smoothing reaches at least
_MOST_CENTRES = 32
_REACH, _STEP = 8.0, 0.5  # knots are at most so far from each other, and so far out
_AROUND = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)  # widths from a centre where knots are set


@dataclass(frozen=True)
class Warp:
    """The map and its inverse: straight between knots, of slope 1 beyond them."""

    places: tuple[float, ...]  # (K,) ascending
    scores: tuple[float, ...]  # (K,) ascending

    def __post_init__(self) -> None:
        places, scores = np.array(self.places), np.array(self.scores)
        if len(places) < 2 or len(places) != len(scores):
            raise ValueError(f"expected as many scores as places, 2 or more, got {len(scores)} and {len(places)}")
        if not bool(((np.diff(places) > 0) & (np.diff(scores) > 0)).all()):
            raise ValueError("expected places and scores that ascend")

    @classmethod
    def fit(cls, observed: Array) -> Warp | None:  # (S,)
        """From standardised values; None where they are too few or all alike."""
        if len(observed) < LEAST_OBSERVATIONS:
            return None
        width = _width(observed)
        if width == 0.0:
            return None
        centres = np.sort(observed).clip(-_REACH, _REACH)
        if len(centres) > _MOST_CENTRES:
            centres = np.quantile(centres, (np.arange(_MOST_CENTRES) + 0.5) / _MOST_CENTRES)
        gaps = np.diff(centres)
        nearest = np.minimum(np.append(gaps[0], gaps), np.append(gaps, gaps[-1]))
        widths = np.maximum(width, _SHARE_OF_GAP * nearest)
        grid = np.arange(-_REACH, _REACH + _STEP, _STEP)
        around = (centres[:, None] + widths[:, None] * np.array(_AROUND)).ravel()
        places = np.unique(np.concatenate([grid, around.clip(-_REACH, _REACH)]).round(6))
        scores = _normal_score(places, centres, widths, len(observed))
        kept = np.append(True, np.diff(scores) > 0.0)  # rounding may make neighbours alike
        return cls(tuple(places[kept].tolist()), tuple(scores[kept].tolist()))

    def forward(self, values: Array) -> Array:
        """Standardised values -> warped ones."""
        return _along(values, *self._knots)

    def inverse(self, warped: Array) -> Array:
        """And back."""
        return _along(warped, *reversed(self._knots))

    def differentiable_inverse(self, warped: Tensor) -> Tensor:
        """And back, through which gradients pass."""
        places, scores = (torch.from_numpy(knots).to(warped) for knots in self._knots)
        after = torch.searchsorted(scores, warped.detach()).clamp(1, len(scores) - 1)
        start, end = scores[after - 1], scores[after]
        share = (warped - start) / (end - start)
        between = torch.lerp(places[after - 1], places[after], share.clamp(0.0, 1.0))
        return between + (warped - scores[-1]).clamp(min=0.0) + (warped - scores[0]).clamp(max=0.0)

    @cached_property
    def _knots(self) -> tuple[Array, Array]:
        return np.array(self.places), np.array(self.scores)


def _width(observed: Array) -> float:
    """Of the smoothing: narrower than the spread of the crowd; 0 where there is no spread."""
    spread = float(observed.std())
    low, high = np.quantile(observed, [0.25, 0.75])
    of_crowd = float(high - low) / 1.349
    usual = min(spread, of_crowd) if of_crowd > 0.05 * spread else spread
    return max(_SMOOTHING * 0.9 * usual * len(observed) ** -0.2, _LEAST_WIDTH) if spread > 1e-9 else 0.0


def _normal_score(places: Array, centres: Array, widths: Array, count: int) -> Array:  # (K,), (C,), (C,) -> (K,)
    """Of the mixed distribution, from whichever side is nearer, since shares near 1 cannot be told apart."""
    apart = torch.from_numpy((places[:, None] - centres) / widths)
    at = torch.from_numpy(places)
    below, above = (
        (count * torch.special.ndtr(side * apart).mean(1) + _PRIOR_OBSERVATIONS * torch.special.ndtr(side * at))
        / (count + _PRIOR_OBSERVATIONS)
        for side in (1.0, -1.0)
    )
    scores: Array = torch.where(below < 0.5, torch.special.ndtri(below), -torch.special.ndtri(above)).numpy()
    return scores


def _along(values: Array, knots: Array, answers: Array) -> Array:
    beyond = np.maximum(values - knots[-1], 0.0) + np.minimum(values - knots[0], 0.0)
    found: Array = np.interp(values, knots, answers) + beyond
    return found
