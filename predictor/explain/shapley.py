"""Shapley values: how the distance of a forecast from the average is shared among the parts of an architecture.

The value of a set of parts is the mean forecast over a background: variants of the architecture (see `parts`) in which those parts
are decided as in the architecture ("interventional" values: Lundberg & Lee, "A unified approach to interpreting model predictions",
NeurIPS 2017; Janzing et al., AISTATS 2020). For few parts all sets are asked for (Shapley, 1953). For more, parts are
decided one after the other in random orders, each followed by its reverse (antithetic sampling: Mitchell et al., "Sampling
permutations for Shapley value estimation", JMLR 2022, section 3.2), each pair on a variant of its own.

Values always add up to the forecast less the average of the variants that were used. Standard errors say how far another
background (and other orders) would have led.

Notation: D parts, B variants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.errors import ExplanationError
from predictor.explain.asking import MAX_FORECASTS, Asked, Forecaster, Values, never
from predictor.explain.parts import Part, Parts

_MAX_DRAWS = 100  # for a variant all of whose mixtures are in the space
_FEWEST_PAIRS = 4


@dataclass(frozen=True)
class ShapleyConfig:
    """How large the sample is.

    Raises:
        ExplanationError: if a number is too small.
    """

    num_variants: int = 64  # with all sets of parts
    num_pairs: int = 100  # of orders, where there are too many sets
    max_exact: int = 10  # parts

    def __post_init__(self) -> None:
        if self.num_variants < 2 or self.num_pairs < _FEWEST_PAIRS:
            raise ExplanationError(
                f"expected at least 2 variants and {_FEWEST_PAIRS} pairs of orders, got {self.num_variants} and {self.num_pairs}"
            )


@dataclass(frozen=True)
class PartValue:
    """What a part contributes, in the metric's unit."""

    part: Part
    value: float
    std_error: float


@dataclass(frozen=True)
class ShapleyExplanation:
    """`forecast` is `base` and all values together."""

    architecture: Architecture
    forecast: float
    base: float  # the average over the variants
    values: tuple[PartValue, ...]
    is_exact: bool  # all sets of parts were asked for, so that only the background is a sample
    sample_size: int  # variants, or pairs of orders


def explain_shapley(
    parts: Parts[Any],
    forecaster: Forecaster,
    rng: np.random.Generator,
    config: ShapleyConfig = ShapleyConfig(),
    check: Callable[[], None] = never,
) -> ShapleyExplanation:
    """The value of every part.

    Raises:
        ExplanationError: if no mixtures of the architecture with others are in the space.
    """
    asked, count = Asked(forecaster, check), len(parts.parts)
    own = float(asked.values([parts.architecture])[0])
    is_exact = count <= config.max_exact and 2**count <= MAX_FORECASTS // 2
    if count == 0:
        return ShapleyExplanation(parts.architecture, own, own, (), True, 0)
    rows, bases = (_by_sets if is_exact else _by_orders)(parts, asked, rng, config)
    errors = rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
    values = (PartValue(*one) for one in zip(parts.parts, rows.mean(axis=0).tolist(), errors.tolist(), strict=True))
    return ShapleyExplanation(parts.architecture, own, float(bases.mean()), tuple(values), is_exact, len(rows))


def _by_sets(
    parts: Parts[Any], asked: Asked, rng: np.random.Generator, config: ShapleyConfig
) -> tuple[Values, Values]:  # (B, D), (B,)
    count = len(parts.parts)
    sets = [[bool(number >> place & 1) for place in range(count)] for number in range(2**count)]
    num_variants = min(config.num_variants, MAX_FORECASTS // len(sets))
    mixtures = [_mixtures(parts, rng, sets) for _ in range(num_variants)]
    values = asked.values([one for mixed in mixtures for one in mixed]).reshape(len(mixtures), -1)  # (B, 2^D)
    return np.stack([values @ weights for weights in _weights(count)], axis=1), values[:, 0]


def _weights(count: int) -> NDArray[np.float64]:  # (D, 2^D)
    """What each set's value counts in each part's: by size s of the set without the part, ± s! (D - s - 1)! / D!."""
    numbers = np.arange(2**count)
    sizes = np.array([int(number).bit_count() for number in numbers])
    by_size = np.ones(count)  # 1 / (D * (D - 1 choose s))
    for size in range(1, count):
        by_size[size] = by_size[size - 1] * size / (count - size)
    by_size /= count
    rows = []
    for place in range(count):
        has_part = (numbers >> place & 1).astype(bool)
        rows.append(np.where(has_part, by_size[np.maximum(sizes - 1, 0)], -by_size[np.minimum(sizes, count - 1)]))
    return np.stack(rows)


def _by_orders(
    parts: Parts[Any], asked: Asked, rng: np.random.Generator, config: ShapleyConfig
) -> tuple[Values, Values]:  # (P, D), (P,)
    """One row for each pair of orders."""
    count = len(parts.parts)
    num_pairs = min(config.num_pairs, MAX_FORECASTS // (2 * count + 2))  # 12 of the largest space that can be declared
    rows, bases = [], []
    for _ in range(num_pairs):
        order = rng.permutation(count)
        forth, back = _growing(order), _growing(order[::-1])
        mixed = _mixtures(parts, rng, [*forth, *back])
        values = asked.values(mixed).reshape(2, count + 1)
        gains = np.zeros((2, count))
        gains[0, order], gains[1, order[::-1]] = np.diff(values[0]), np.diff(values[1])
        rows.append(gains.mean(axis=0))
        bases.append(values[0, 0])
    return np.stack(rows), np.array(bases)


def _growing(order: NDArray[np.int64]) -> list[list[bool]]:
    """None of the parts, the first, the first two …"""
    kept = np.zeros((len(order) + 1, len(order)), dtype=np.bool_)
    for step, place in enumerate(order.tolist()):
        kept[step + 1 :, place] = True
    found: list[list[bool]] = kept.tolist()
    return found


def _mixtures(parts: Parts[Any], rng: np.random.Generator, sets: list[list[bool]]) -> list[Architecture]:
    """One variant mixed with every set of parts; variants some of whose mixtures are not in the space are drawn again."""
    for _ in range(_MAX_DRAWS):
        variant = parts.variant(rng)
        mixed = [one for one in (parts.mixed(variant, kept) for kept in sets) if one is not None]
        if len(mixed) == len(sets):
            return mixed
    raise ExplanationError(
        f"expected a variant all of whose mixtures are in the space within {_MAX_DRAWS} draws, got none"
    )
