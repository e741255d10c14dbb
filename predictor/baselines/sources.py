"""Source tasks: what a baseline may learn from before it sees the task that it is asked about.

Whoever makes a baseline from sources leaves out the task that it will be asked about, and whatever else must not be known.

Notation: S measured architectures of a source, F inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictor.architecture import Architecture
from predictor.baselines.features import Features
from predictor.encoding import SpaceReference
from predictor.errors import InvalidSupportSetError
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.standardisation import UNKNOWN_PRIOR, ScalePrior, Standardisation, scale_priors
from predictor.tasks import METRIC_FAMILIES, MeasuredTask, Task

Array = NDArray[np.float64]
ReportProgress = Callable[[float], None]
"""Called with the fraction that is done."""

MAX_ARCHITECTURES = 800
"""Architectures of a source task that are learned from at most."""

MAX_SOURCES = 320
"""Source tasks that are learned from at most; those of the asked space are the last to be dropped."""

_MIN_ARCHITECTURES = 10
_FAMILIES = (*(family for family, _ in METRIC_FAMILIES), "other")
_TARGET_LIMIT = 5.0


def no_progress(_fraction: float) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Source:
    """A source task as it is learned from."""

    task: Task
    space: SearchSpace
    architectures: tuple[Architecture, ...]  # (S,)
    values: Array  # (S,) in the metric's unit
    measured: Mapping[str, float]  # standardised goodness of all that was measured, by architecture hash

    @property
    def family(self) -> str:
        """Of its metric."""
        return self.task.metric.family

    @property
    def goodness(self) -> Array:  # (S,)
        """Standardised."""
        return np.array([self.measured[one.hash] for one in self.architectures])


def chosen_sources(
    sources: Sequence[MeasuredTask], seed: int, max_architectures: int = MAX_ARCHITECTURES
) -> list[Source]:
    """The sources that `bounded` keeps, each with a random part of its architectures.

    Raises:
        InvalidSupportSetError: if none is large enough.
    """
    kept = bounded(sources, seed)
    if not kept:
        raise InvalidSupportSetError(
            f"expected source tasks of at least {_MIN_ARCHITECTURES} measured architectures, got none among {len(sources)}"
        )
    rng = np.random.default_rng(seed)
    return [_source(one, rng, max_architectures) for one in kept]


def bounded(
    sources: Sequence[MeasuredTask], seed: int, own_space: str | None = None, at_most: int = MAX_SOURCES
) -> list[MeasuredTask]:
    """The sources that are large enough, a random choice of them if they are too many: of `own_space`, which is asked about,
    as many as may be."""
    large_enough = [one for one in sources if len(one.measured) >= _MIN_ARCHITECTURES]
    order = np.random.default_rng(seed).permutation(len(large_enough)).tolist()
    order.sort(key=lambda place: large_enough[place].task.search_space != own_space)
    return [large_enough[place] for place in sorted(order[:at_most])]


def _source(one: MeasuredTask, rng: np.random.Generator, max_architectures: int) -> Source:
    scale = Standardisation.fit(one.task, one.measured.targets)
    totals: dict[str, list[float]] = {}
    for architecture, goodness in zip(one.measured.architectures, scale.forward(one.measured.targets), strict=True):
        totals.setdefault(architecture.hash, []).append(float(goodness))
    part = one.measured.select(sorted(rng.permutation(len(one.measured))[:max_architectures].tolist()))
    measured = {key: float(np.mean(values)) for key, values in totals.items()}
    return Source(one.task, one.space, part.architectures, part.targets, measured)


def priors_of(sources: Iterable[Source]) -> Mapping[str, ScalePrior]:
    """What location and scale the sources had, by metric family."""
    return scale_priors([(source.task, source.values) for source in sources])


@dataclass(frozen=True)
class NetworkInputs:
    """Architectures as a small neural network sees them: statistics of the graph relative to its space, the metric's family,
    and the decisions if all sources are of one space (zeros where another space is asked about)."""

    features: Features
    space_name: str | None
    num_decisions: int

    @classmethod
    def of(cls, sources: Sequence[Source], features: Features) -> NetworkInputs:
        """Inputs that fit these sources."""
        first = sources[0]
        if any(source.space.name != first.space.name for source in sources):
            return cls(features, None, 0)
        return cls(features, first.space.name, features.decisions(first.space, first.architectures[:1]).shape[1])

    def __call__(
        self, task: Task, space: SearchSpace, reference: SpaceReference, architectures: Sequence[Architecture]
    ) -> Tensor:  # (S, F)
        """Inputs of these architectures for that task."""
        statistics = self.features.statistics(space, reference, architectures)
        family = np.tile([float(task.metric.family == one) for one in _FAMILIES], (len(architectures), 1))
        decisions = np.zeros((len(architectures), self.num_decisions))
        if space.name == self.space_name and len(architectures):
            decisions = self.features.decisions(space, architectures)
        return torch.from_numpy(np.concatenate([statistics, family, decisions], axis=1))


@dataclass(frozen=True)
class Episode:
    """Inputs and standardised goodness of one draw from a source."""

    inputs: Tensor  # (S, F)
    targets: Tensor  # (S,)


class Episodes:
    """Draws from sources; every search space is equally likely, then every source of it."""

    def __init__(self, sources: Sequence[Source], inputs: NetworkInputs) -> None:
        self._sources, self._inputs = sources, []
        for source in sources:
            reference = inputs.features.reference(source.space, source.architectures)
            self._inputs.append(inputs(source.task, source.space, reference, source.architectures))
        self._spaces = [
            [place for place, source in enumerate(sources) if source.space.name == name]
            for name in dict.fromkeys(source.space.name for source in sources)
        ]

    @property
    def num_inputs(self) -> int:
        """F."""
        return int(self._inputs[0].shape[1])

    def draw(self, num_support: int, num_query: int, rng: np.random.Generator) -> tuple[Episode, Episode]:
        """Support and query of one source, standardised by the support alone; drawn again where the source is too small."""
        members = self._spaces[int(rng.integers(len(self._spaces)))]
        place = members[int(rng.integers(len(members)))]
        source, inputs = self._sources[place], self._inputs[place]
        order = _drawn(len(source.values), num_support + num_query, rng)
        known, asked = order[:num_support], order[num_support:]
        scale = Standardisation.fit(source.task, source.values[known], UNKNOWN_PRIOR)
        return _episode(source, inputs, known, scale), _episode(source, inputs, asked, scale)


def _drawn(count: int, wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    order = rng.permutation(count)
    return order[:wanted] if count >= wanted else np.resize(order, wanted)


def _episode(source: Source, inputs: Tensor, rows: NDArray[np.int64], scale: Standardisation) -> Episode:
    targets = np.clip(scale.forward(source.values[rows]), -_TARGET_LIMIT, _TARGET_LIMIT)
    return Episode(inputs[torch.from_numpy(rows)], torch.from_numpy(targets))
