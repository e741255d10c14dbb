"""Forecasts with memory: architectures are parsed once, and every answer of an adaptation is computed once.

What is remembered is packed, since there may be hundreds of thousands of forecasts: as Python numbers, each would take
several times the memory.

Notation: S architectures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.inference.caches import BoundedCache
from app.inference.errors import translated
from app.inference.notations import ParsedArchitecture, remembered
from predictor import AdaptedPredictor, Architecture, SearchSpace, Task

_MAX_FORECASTS = 50_000  # of spaces that are not forecast as a whole; 320 bytes each with their keys
_MAX_WHOLE = 32  # adaptations
_CHUNK = 1_024
_PACKED = Struct("7d")

Table = NDArray[np.float64]

SHOWN = ("mean", "std", "lower", "upper", "ood_score")
"""What users are told of a forecast, the first of its fields."""


class Forecast(NamedTuple):
    """One prediction, in the task's metric unit."""

    mean: float
    std: float
    lower: float
    upper: float
    ood_score: float
    goodness: float
    """On the adaptation's scale, where the forecast is a normal distribution (`Predictions.normal`); so is its standard deviation."""
    goodness_std: float

    @property
    def shown(self) -> dict[str, float]:
        """What users are told, by name."""
        return {name: getattr(self, name) for name in SHOWN}


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
    champion: (
        str | None
    )  # the model version that new adaptations start from: the champion, or what the task is pinned to
    serial: int  # tells adaptations apart within this process
    project_id: int | None = None  # None: it belongs to all

    @property
    def model_version(self) -> str:
        """The model version that answers."""
        return self.adapted.model_version

    @property
    def is_fresh(self) -> bool:
        """Whether that version answers and has seen every observation."""
        return self.revision == (self.adapted_revision or 0) and self.model_version == self.champion

    @property
    def is_maximized(self) -> bool:
        """Whether larger values are better."""
        return self.task.metric.direction == "maximize"


@dataclass(frozen=True)
class WholeSpace:
    """The forecasts of everything in a space: a column for each architecture, in the order of `Forecast`."""

    places: Mapping[str, int]  # by the architecture's id; shared by all tasks of the space
    table: Table  # (7, S)

    def of(self, architecture_id: str) -> Forecast | None:
        """One of them."""
        place = self.places.get(architecture_id)
        return None if place is None else Forecast._make(self.table[:, place].tolist())

    def of_all(self, architecture_ids: Sequence[str]) -> list[Forecast] | None:  # (S,)
        """Many of them; None if not all are there."""
        try:
            places = [self.places[one] for one in architecture_ids]
        except KeyError:
            return None
        return list(map(Forecast._make, self.table[:, places].T.tolist()))


class Forecaster:
    """Forecasts, and remembers them within bounds. May be called from any thread."""

    def __init__(self) -> None:
        self._forecasts: BoundedCache[tuple[int, str], bytes] = BoundedCache(_MAX_FORECASTS)
        self._whole: BoundedCache[int, WholeSpace] = BoundedCache(_MAX_WHOLE)

    def known(self, served: ServedTask, notation: object) -> tuple[ParsedArchitecture, Forecast] | None:
        """What is remembered, without any computation."""
        parsed = remembered(served.space, notation)
        forecast = None if parsed is None else self._remembered(served.serial, parsed.id)
        return None if parsed is None or forecast is None else (parsed, forecast)

    def forecast(self, served: ServedTask, parsed: Sequence[ParsedArchitecture]) -> list[Forecast]:  # (S,)
        """Forecasts in the order of the architectures; what is remembered is not computed again."""
        serial, whole = served.serial, self._whole.get(served.serial)
        known = None if whole is None else whole.of_all([one.id for one in parsed])
        if known is not None:
            return known
        found: dict[str, Forecast] = {}
        missing: dict[str, Architecture] = {}
        for one in parsed:
            forecast = self._remembered(serial, one.id)
            if forecast is None:
                missing[one.id] = one.architecture
            else:
                found[one.id] = forecast
        rows = list(map(Forecast._make, _computed(served, list(missing.values())).T.tolist()))
        self._forecasts.put_many(
            ((serial, one), _PACKED.pack(*forecast)) for one, forecast in zip(missing, rows, strict=True)
        )
        found.update(zip(missing, rows, strict=True))
        return [found[one.id] for one in parsed]

    def forecast_whole(
        self, served: ServedTask, parsed: Sequence[ParsedArchitecture], places: Mapping[str, int]
    ) -> Table:  # (7, S)
        """Forecasts of everything in the task's space, remembered as one; `places` says where each id is."""
        table = _computed(served, [one.architecture for one in parsed])
        self._whole.put(served.serial, WholeSpace(places, table))
        return table

    def _remembered(self, serial: int, architecture_id: str) -> Forecast | None:
        whole = self._whole.get(serial)
        forecast = None if whole is None else whole.of(architecture_id)
        if forecast is not None:
            return forecast
        packed = self._forecasts.get((serial, architecture_id))
        return None if packed is None else Forecast._make(_PACKED.unpack(packed))


def _computed(served: ServedTask, architectures: Sequence[Architecture]) -> Table:  # (7, S)
    """Forecasts in pieces, so that other threads get their turn."""
    table = np.empty((len(Forecast._fields), len(architectures)))
    sign = served.task.metric.sign
    with translated():
        for start in range(0, len(architectures), _CHUNK):
            found = served.adapted.predict(architectures[start : start + _CHUNK])
            told = found.mean, found.std, found.lower, found.upper, found.ood_score
            table[:, start : start + _CHUNK] = *told, *found.normal(sign)
    return table
