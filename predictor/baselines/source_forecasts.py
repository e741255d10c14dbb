"""What every source task says of architectures: its own measurement where there is one, else boosted trees fitted to it.

Notation: M sources, Q architectures.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from predictor.architecture import Architecture
from predictor.baselines.features import Features, identity_of
from predictor.baselines.sources import ReportProgress, Source, chosen_sources, no_progress
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import MeasuredTask

Array = NDArray[np.float64]
_MAX_SOURCES = 32  # of one search space and metric family


class SourceForecasts:
    """Fitted to sources once. For use from one thread; may be shared between baselines."""

    def __init__(
        self,
        sources: Sequence[Source],
        seed: int,
        features: Features,
        on_progress: ReportProgress,
        own_space: str | None = None,
    ) -> None:
        """Fits trees to every source that is kept: the largest of each search space and metric family, of `own_space` alone
        if nothing else will be asked about."""
        self._features, self._seed = features, seed
        self.sources = sources
        groups: dict[tuple[str, str], list[Source]] = {}
        for source in [one for one in sources if own_space in (None, one.space.name)]:
            groups.setdefault((source.space.name, source.family), []).append(source)
        largest_first = {
            key: sorted(members, key=lambda source: -len(source.values))[:_MAX_SOURCES]
            for key, members in groups.items()
        }
        total, done = sum(map(len, largest_first.values())), 0
        self._groups: dict[tuple[str, str], list[_FittedSource]] = {}
        for key, members in largest_first.items():
            for member in members:
                self._groups.setdefault(key, []).append(_FittedSource(member, features, seed))
                done += 1
                on_progress(done / total)
        self._kept: dict[tuple[Hashable, ...], Array] = {}

    @classmethod
    def of(
        cls,
        sources: Sequence[MeasuredTask],
        seed: int = 0,
        on_progress: ReportProgress = no_progress,
        features: Features | None = None,
        own_space: str | None = None,
    ) -> SourceForecasts:
        """From source tasks with everything that was measured of them."""
        return cls(chosen_sources(sources, seed), seed, features or Features(), on_progress, own_space)

    def __call__(self, space: SearchSpace, family: str, architectures: Sequence[Architecture]) -> Array:  # (Q, M)
        """Standardised goodness by every source of this space and metric family; no columns where there is none."""
        group = self._groups.get((space.name, family), [])
        keys = [(space.name, family, *identity_of(one)) for one in architectures]
        missing = {key: one for key, one in zip(keys, architectures, strict=True) if key not in self._kept}
        if missing and group:
            found = np.stack([source.forecast(list(missing.values())) for source in group], axis=1)
            self._kept.update(zip(missing, found, strict=True))
        if not group or not keys:
            return np.zeros((len(keys), len(group)))
        return np.stack([self._kept[key] for key in keys])


class _FittedSource:
    def __init__(self, source: Source, features: Features, seed: int) -> None:
        self._source, self._features = source, features
        self._reference = features.reference(source.space, source.architectures)
        self._trees = HistGradientBoostingRegressor(
            max_iter=120,
            learning_rate=0.1,
            max_leaf_nodes=15,
            min_samples_leaf=5,
            random_state=seed,
            early_stopping=False,
        )
        self._trees.fit(self._inputs(source.architectures), source.goodness)

    def _inputs(self, architectures: Sequence[Architecture]) -> Array:
        statistics = self._features.statistics(self._source.space, self._reference, architectures)
        return np.concatenate([self._features.decisions(self._source.space, architectures), statistics], axis=1)

    def forecast(self, architectures: Sequence[Architecture]) -> Array:  # (Q,)
        measured = np.array([self._source.measured.get(one.hash, np.nan) for one in architectures])
        unknown = np.isnan(measured)
        if unknown.any():
            asked = [one for one, is_unknown in zip(architectures, unknown, strict=True) if is_unknown]
            measured[unknown] = self._trees.predict(self._inputs(asked))
        return measured
