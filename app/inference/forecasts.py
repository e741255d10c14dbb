"""Forecasts with memory: architectures are parsed once, and every answer of an adaptation is computed once.

Notation: S architectures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from app.inference.caches import BoundedCache
from app.inference.errors import translated
from app.inference.notations import ParsedArchitecture, remembered
from predictor import AdaptedPredictor, Architecture, SearchSpace, Task

_MAX_FORECASTS = 100_000
_CHUNK = 1_024


class Forecast(NamedTuple):
    """One prediction, in the task's metric unit."""

    mean: float
    std: float
    lower: float
    upper: float
    ood_score: float


@dataclass(frozen=True)
class ServedTask:
    """A task with the adaptation that answers for it. A snapshot: a change makes a new one."""

    task_id: int
    name: str
    revision: int  # of the task's observations, as last seen
    task: Task
    space: SearchSpace
    adapted: AdaptedPredictor
    num_observations: int  # that the answers rest on: repeated measurements counted, lower fidelities not
    adapted_revision: int | None  # the revision that the support set was read at; None: adapted to nothing
    last_observation_id: int
    champion: str | None  # the model version that new adaptations start from
    serial: int  # tells adaptations apart within this process

    @property
    def model_version(self) -> str:
        """The model version that answers."""
        return self.adapted.model_version

    @property
    def is_fresh(self) -> bool:
        """Whether the champion answers and has seen every observation."""
        return self.revision == (self.adapted_revision or 0) and self.model_version == self.champion

    @property
    def is_maximized(self) -> bool:
        """Whether larger values are better."""
        return self.task.metric.direction == "maximize"


class Forecaster:
    """Forecasts, and remembers them within bounds. May be called from any thread."""

    def __init__(self) -> None:
        self._forecasts: BoundedCache[tuple[int, str], Forecast] = BoundedCache(_MAX_FORECASTS)

    def known(self, served: ServedTask, notation: object) -> tuple[ParsedArchitecture, Forecast] | None:
        """What is remembered, without any computation."""
        parsed = remembered(served.space, notation)
        if parsed is None:
            return None
        forecast = self._forecasts.get((served.serial, parsed.id))
        return None if forecast is None else (parsed, forecast)

    def forecast(self, served: ServedTask, parsed: Sequence[ParsedArchitecture]) -> list[Forecast]:  # (S,)
        """Forecasts in the order of the architectures; what is remembered is not computed again."""
        serial, get = served.serial, self._forecasts.get
        found: dict[str, Forecast] = {}
        missing: dict[str, Architecture] = {}
        for one in parsed:
            remembered = get((serial, one.id))
            if remembered is None:
                missing[one.id] = one.architecture
            else:
                found[one.id] = remembered
        computed = _computed(served, list(missing.values()))
        self._forecasts.put_many(((serial, one), value) for one, value in zip(missing, computed, strict=True))
        found.update(zip(missing, computed, strict=True))
        return [found[one.id] for one in parsed]


def _computed(served: ServedTask, architectures: Sequence[Architecture]) -> list[Forecast]:  # (S,)
    """Forecasts in pieces, so that other threads get their turn."""
    forecasts: list[Forecast] = []
    with translated():
        for start in range(0, len(architectures), _CHUNK):
            found = served.adapted.predict(architectures[start : start + _CHUNK])
            columns = (found.mean, found.std, found.lower, found.upper, found.ood_score)
            forecasts += map(Forecast._make, zip(*(column.tolist() for column in columns), strict=True))
    return forecasts
