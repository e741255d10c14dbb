"""Architectures worth measuring: a space is scored as a whole or searched, acquisitions and diversity come from the predictor.

Notation: S architectures, F features.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

import predictor
from app import deadlines
from app.inference.caches import BoundedCache
from app.inference.errors import translated
from app.inference.forecasts import Forecast, Forecaster, ServedTask
from app.inference.notations import ParsedArchitecture, forget_whole, identified, remember_whole
from predictor import Constraint as Constraint  # who reads one here knows it by this name
from predictor import Predictions, SearchSpace

ACQUISITIONS = ("ucb", "ei", "thompson", "mean")

NEAR_IDENTICAL = 0.95
"""Likeness, of 1 at most, from which two architectures are not given to two workers at once: most pairs of NAS-Bench-201 cells
beyond it are the same operations in another place, and a tenth of the good cells have such a twin."""

_MAX_POOLS = 4
_MAX_FEATURES = 20_000  # of a few hundred bytes each
_MAX_SCORED = 32
_NUM_ROUNDS = 4
_NUM_PARENTS = 40
_NUM_CHILDREN = 250

Scores = NDArray[np.float64]
Features = NDArray[np.float32]
Order = Callable[[Sequence[ParsedArchitecture], "ForecastColumns"], Sequence[int]]
"""The places of the architectures, the best first."""


def read_constraint(text: str) -> Constraint:
    """A bound on a metric, such as `latency_ms <= 12`; raises InvalidContentError."""
    with translated():
        return Constraint.parse(text)


@dataclass(frozen=True)
class Pool:
    """Every network of a search space once."""

    space: SearchSpace
    architectures: tuple[ParsedArchitecture, ...]  # (S,)

    @cached_property
    def places(self) -> dict[str, int]:
        """Where the architecture of each id is."""
        return {one.id: place for place, one in enumerate(self.architectures)}

    def mask_without(self, ids: Collection[str], mask: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:  # (S,)
        """True where the architecture is none of `ids`, and the other mask says so too."""
        kept = np.ones(len(self.architectures), dtype=np.bool_) if mask is None else mask.copy()
        kept[[self.places[one] for one in ids if one in self.places]] = False
        return kept

    def at(self, places: NDArray[np.intp]) -> Sequence[ParsedArchitecture]:
        """The architectures at these places, looked up only when somebody wants them: of thousands few are."""
        return _PartOfPool(self.architectures, places)


class _PartOfPool(Sequence[ParsedArchitecture]):
    def __init__(self, architectures: tuple[ParsedArchitecture, ...], places: NDArray[np.intp]) -> None:
        self._architectures, self._places = architectures, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> ParsedArchitecture: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ParsedArchitecture]: ...

    def __getitem__(self, index: int | slice) -> ParsedArchitecture | Sequence[ParsedArchitecture]:
        if isinstance(index, slice):
            return _PartOfPool(self._architectures, self._places[index])
        return self._architectures[int(self._places[index])]

    def __iter__(self) -> Iterator[ParsedArchitecture]:
        return map(self._architectures.__getitem__, self._places.tolist())


@dataclass(frozen=True)
class ForecastColumns:
    """Forecasts of S architectures as arrays."""

    mean: Scores  # (S,)
    std: Scores  # (S,)
    lower: Scores  # (S,)
    upper: Scores  # (S,)
    ood_score: Scores  # (S,)
    goodness: Scores  # (S,)
    goodness_std: Scores  # (S,)

    @classmethod
    def of(cls, forecasts: Sequence[Forecast]) -> ForecastColumns:
        """Columns from rows."""
        table = np.asarray(forecasts, dtype=np.float64).reshape(len(forecasts), len(Forecast._fields))
        return cls(*table.T.copy())

    def predictions(self, served: ServedTask) -> Predictions:
        """The same as the predictor has it, for a task whose adaptation they are of."""
        told = self.mean, self.std, self.lower, self.upper, self.ood_score
        return Predictions(*told, (self.goodness, self.goodness_std), served.adapted.scale)

    def at(self, places: NDArray[np.intp]) -> ForecastColumns:
        """The rows at these places."""
        return ForecastColumns(*(getattr(self, name)[places] for name in Forecast._fields))


class Pools:
    """Search spaces as a whole and their forecasts, computed once for every adaptation. May be called from any thread."""

    def __init__(self, forecaster: Forecaster, max_size: int) -> None:
        self._forecaster = forecaster
        self._max_size = max_size
        self._pools: OrderedDict[str, Pool] = OrderedDict()
        self._scored: OrderedDict[int, tuple[Pool, ForecastColumns]] = OrderedDict()
        self._lock = threading.Lock()

    def is_enumerable(self, space: SearchSpace) -> bool:
        """Whether the space is small enough to be scored as a whole."""
        size = space.size()
        return size is not None and size <= min(self._max_size, predictor.MAX_ENUMERATED)

    def has_scored(self, served: ServedTask) -> bool:
        """Whether `scored` would answer at once."""
        return served.serial in self._scored

    def scored(self, served: ServedTask) -> tuple[Pool, ForecastColumns]:
        """Every network of the task's space with its forecast; whoever asks for what is not there waits in line."""
        scored = self._scored.get(served.serial)
        if scored is not None:
            return scored
        with self._lock:
            if served.serial not in self._scored:
                pool = self._pool(served.space)
                table = self._forecaster.forecast_whole(served, pool.architectures, pool.places)
                self._scored[served.serial] = (pool, ForecastColumns(*table))
                while len(self._scored) > _MAX_SCORED:
                    self._scored.popitem(last=False)
            return self._scored[served.serial]

    def _pool(self, space: SearchSpace) -> Pool:
        if space.name not in self._pools:
            self._pools[space.name] = enumerated(space)
            while len(self._pools) > _MAX_POOLS:
                forget_whole(self._pools.popitem(last=False)[1].space)
        self._pools.move_to_end(space.name)
        return self._pools[space.name]


def enumerated(space: SearchSpace) -> Pool:
    """Every network of the space once, under the first of its genotypes; from here on no text of the space is read again."""
    found: dict[str, ParsedArchitecture] = {}
    with translated():
        written = tuple(identified(space, architecture) for architecture in space.enumerate())
    remember_whole(space, written)
    for one in written:
        found.setdefault(one.id, one)
    return Pool(space, tuple(found.values()))


def searched(
    served: ServedTask,
    forecaster: Forecaster,
    order: Order,
    best_measured: Sequence[ParsedArchitecture],
    measured_ids: Collection[str],
    num_samples: int,
    rng: np.random.Generator,
) -> tuple[list[ParsedArchitecture], ForecastColumns]:
    """Unmeasured architectures of a space that is too large to list: random ones, and a few rounds of evolution.

    Parents are the best by `order` and the best measured; regularised evolution's mutation and crossover make children.
    """
    space = served.space
    found: dict[str, ParsedArchitecture] = {}

    def keep(children: Sequence[ParsedArchitecture]) -> None:
        found.update((child.id, child) for child in children if child.id not in measured_ids)

    with translated():
        keep([identified(space, space.sample(rng)) for _ in range(num_samples)])
        keep(_children(space, best_measured, _NUM_CHILDREN, rng))
    for _ in range(_NUM_ROUNDS):
        deadlines.check()
        pool = list(found.values())
        best = order(pool, ForecastColumns.of(forecaster.forecast(served, pool)))[:_NUM_PARENTS]
        with translated():
            keep(_children(space, [*(pool[place] for place in best), *best_measured], _NUM_CHILDREN, rng))
    pool = list(found.values())
    return pool, ForecastColumns.of(forecaster.forecast(served, pool))


def _children(
    space: SearchSpace, parents: Sequence[ParsedArchitecture], count: int, rng: np.random.Generator
) -> list[ParsedArchitecture]:
    children: list[ParsedArchitecture] = []
    for _ in range(count if parents else 0):
        first, second = (parents[int(place)].architecture for place in rng.integers(len(parents), size=2))
        if rng.random() < 0.5:
            child = space.mutate(first, rng)
        else:
            child = space.mutate(space.crossover(first, second, rng), rng)
        children.append(identified(space, child))
    return children


def acquisition_values(
    name: str,
    columns: ForecastColumns,
    served: ServedTask,
    best_value: float | None,
    rng: np.random.Generator,
    kappa: float,
) -> Scores:  # (S,)
    """How much each architecture is worth measuring, larger is better.

    Raises:
        InvalidContentError: if there is no such acquisition.
    """
    predictions = columns.predictions(served)
    with translated():
        return predictor.acquisition_values(name, predictions, served.task.metric.direction, best_value, rng, kappa)


class FeatureMemory:
    """What likeness is judged by, computed once for every adaptation and architecture. May be called from any thread."""

    def __init__(self) -> None:
        self._known: BoundedCache[tuple[int, str], Features] = BoundedCache(_MAX_FEATURES)

    def of(self, served: ServedTask, architectures: Sequence[ParsedArchitecture]) -> Features:  # (S, F)
        """Features in the order of the architectures."""
        found = {one.id: self._known.get((served.serial, one.id)) for one in architectures}
        missing = {one.id: one for one in architectures if found[one.id] is None}
        if missing:
            rows = featured(served, list(missing.values()))
            found.update(zip(missing, rows, strict=True))
            self._known.put_many(((served.serial, one), row) for one, row in zip(missing, rows, strict=True))
        return _stacked([found[one.id] for one in architectures])

    def missing(self, served: ServedTask, ids: Iterable[str]) -> set[str]:
        """Those that nothing is remembered of."""
        return {one for one in ids if self._known.get((served.serial, one)) is None}

    def remembered(self, served: ServedTask, ids: Iterable[str]) -> Features:  # (S, F)
        """What is remembered of those of the ids that anything is remembered of."""
        return _stacked([self._known.get((served.serial, one)) for one in ids])


def featured(served: ServedTask, architectures: Sequence[ParsedArchitecture]) -> Features:  # (S, F)
    """The adapted surrogate's embedding, by which likeness is judged."""
    with translated():
        return served.adapted.features([one.architecture for one in architectures])


def _stacked(rows: Sequence[Features | None]) -> Features:  # (S, F)
    known = [row for row in rows if row is not None]
    return np.stack(known) if known else np.zeros((0, 0), np.float32)


def diverse(scores: Scores, features: Features, k: int, strength: float) -> list[int]:
    """At most k places, chosen greedily by score less likeness to what was chosen before."""
    with translated():
        return [int(place) for place in predictor.select_diverse(scores, features, k, strength)]


def apart(scores: Scores, features: Features, k: int, strength: float, taken: Features) -> list[int]:
    """At most k places as `diverse` chooses them, none of which is near-identical to another or to what is taken (T, F)."""
    if not len(features):
        return []
    given = taken if len(taken) else None
    with translated():
        chosen = predictor.select_diverse(scores, features, k, strength, given, NEAR_IDENTICAL)
    return [int(place) for place in chosen]


def global_attribute(architecture: ParsedArchitecture, name: str) -> float | None:
    """A number that the architecture itself states, such as params."""
    value = dict(architecture.architecture.global_attributes).get(name)
    return float(value) if isinstance(value, int | float) else None
