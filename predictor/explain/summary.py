"""What each choice is worth on average over a space: the effects of a task as a whole.

Random architectures are drawn; in each of them every part is decided in every way, and the forecasts are compared with their mean.
Choices are so compared within one and the same architecture, which takes most of the differences between architectures out (a
partial dependence: Friedman, Annals of Statistics 2001, section 8.2, centred within each drawn architecture).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictor.architecture import Architecture
from predictor.errors import ExplanationError
from predictor.explain.asking import Asked, Forecaster, never
from predictor.explain.parts import Choice, Parts
from predictor.explain.reading import parts_of
from predictor.explain.wording import in_unit, verdict
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import Metric

_FEWEST = 2


@dataclass(frozen=True)
class AverageEffect:
    """What one choice of one decision (of an operation, of an edge) is worth against the average one in the same place."""

    group: str
    label: str
    effect: float  # in the metric's unit
    std_error: float | None  # None: one architecture alone has that choice
    num_architectures: int

    def sentence(self, metric: Metric) -> str:
        """The same in words."""
        error = "unknown" if self.std_error is None else f"{self.std_error:.2g}"
        return (
            f"{self.label} as {self.group} is worth {in_unit(self.effect, metric)} here (standard error {error}), "
            f"{verdict(self.effect, self.std_error, metric)} the average choice there."
        )


@dataclass(frozen=True)
class TaskSummary:
    """Average effects, a group after the other, and how much hangs on each group."""

    effects: tuple[AverageEffect, ...]
    num_architectures: int
    mean: float  # of the forecasts of the drawn architectures

    @property
    def spreads(self) -> dict[str, float]:
        """By group: the standard deviation of its average effects, the largest first."""
        groups: dict[str, list[float]] = {}
        for one in self.effects:
            groups.setdefault(one.group, []).append(one.effect)
        spreads = {group: float(np.std(effects)) for group, effects in groups.items()}
        return dict(sorted(spreads.items(), key=lambda one: -one[1]))


def summarise(
    space: SearchSpace,
    forecaster: Forecaster,
    rng: np.random.Generator,
    num_architectures: int = 100,
    given: Sequence[Architecture] = (),
    check: Callable[[], None] = never,
) -> TaskSummary:
    """Over random architectures of the space, or over those that are given; a space of all graphs has none that stand for it.

    Raises:
        ExplanationError: if there are fewer than two, none are given for an open space, or they are too many.
        NotInSpaceError: if the space cannot express a given one.
    """
    if space.is_open and not given:
        raise ExplanationError(f"expected architectures to average over, since {space.name} takes any graph, got none")
    drawn = list(given) or [space.sample(rng) for _ in range(num_architectures)]
    if len(drawn) < _FEWEST:
        raise ExplanationError(f"expected at least {_FEWEST} architectures to average over, got {len(drawn)}")
    parts = []
    for architecture in drawn:
        check()
        parts.append(parts_of(space, architecture, check))
    every = [[one.choices(number) for number in range(len(one.parts))] for one in parts]
    asked = Asked(forecaster, check)
    means = asked.values([one.architecture for one in parts])
    _ = asked.values([choice.architecture for choices in every for one in choices for choice in one])  # all at once
    rows = dict[tuple[str, str], list[float]]()
    for one, choices in zip(parts, every, strict=True):
        for key, found in _distances(one, choices, asked).items():
            rows.setdefault(key, []).append(float(np.mean(found)))
    effects = [_average(group, label, found) for (group, label), found in rows.items()]
    order = {group: place for place, group in enumerate(dict.fromkeys(one.group for one in effects))}
    effects.sort(key=lambda one: (order[one.group], -one.effect))
    return TaskSummary(tuple(effects), len(drawn), float(means.mean()))


def _distances(
    parts: Parts[Any], every: Sequence[Sequence[Choice]], asked: Asked
) -> dict[tuple[str, str], list[float]]:
    """In one architecture: for each group and label the distances from the mean over the choices in the same place."""
    found: dict[tuple[str, str], list[float]] = {}
    for part, choices in zip(parts.parts, every, strict=True):
        forecasts = asked.values([choice.architecture for choice in choices])
        for choice, distance in zip(choices, (forecasts - forecasts.mean()).tolist(), strict=True):
            found.setdefault((part.group, choice.label), []).append(distance)
    return found


def _average(group: str, label: str, found: Sequence[float]) -> AverageEffect:
    """Architectures are independent of each other; places within one are not, and were averaged before."""
    error = float(np.std(found, ddof=1) / np.sqrt(len(found))) if len(found) > 1 else None
    return AverageEffect(group, label, float(np.mean(found)), error, len(found))
