"""The one place where baselines are listed.

`complexity.Complexity` is not among them: it needs numbers that only who asks can give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType

from predictor.baselines.bananas import Bananas
from predictor.baselines.base import Baseline
from predictor.baselines.boosting import Boosting
from predictor.baselines.features import Features
from predictor.baselines.forest import Forest
from predictor.baselines.fsbo import FSBO
from predictor.baselines.gaussian_process import DecisionProcess
from predictor.baselines.maml import ANIL, MAML, META_SGD, MAMLConfig, MetaLearnedNetwork
from predictor.baselines.ridge import Ridge
from predictor.baselines.source_forecasts import SourceForecasts
from predictor.baselines.source_mean import SourceMean
from predictor.baselines.source_ridge import SourceRidge
from predictor.baselines.sources import ReportProgress, bounded, no_progress
from predictor.baselines.universal_prior import UniversalPrior
from predictor.baselines.wl_process import SubtreeProcess
from predictor.tasks import MeasuredTask


def single_task_baselines(features: Features | None = None) -> Mapping[str, Baseline]:
    """Those that know nothing but the support set, by name. They share what they compute of architectures."""
    features = features or Features()
    every: tuple[Baseline, ...] = (
        Ridge(features),
        Forest(features),
        Boosting(features),
        DecisionProcess(features),
        SubtreeProcess(),
        Bananas(features),
    )
    return MappingProxyType({one.name: one for one in every})


def source_baselines(
    sources: Sequence[MeasuredTask], seed: int = 0, on_progress: ReportProgress = no_progress
) -> Mapping[str, Baseline]:
    """Those that learn from other tasks first, by name; each learns when it is first looked up.

    `on_progress` hears the fraction of the one that is learning. The tasks that will be asked about must not be among
    the sources.
    """
    features = Features()
    found = {
        **forecasting_makers(lambda: sources, seed, on_progress, features),
        **meta_learned_makers(lambda: sources, seed, on_progress, features),
    }
    return LearnedWhenLookedUp(found)


Makers = Mapping[str, Callable[[], Baseline]]
Sources = Callable[[], Sequence[MeasuredTask]]
"""Asked for when something is to be learned."""


def forecasting_makers(
    sources: Sources, seed: int, on_progress: ReportProgress, features: Features, own_space: str | None = None
) -> Makers:
    """Those that know what sources of the same search space say; of `own_space` alone if nothing else will be asked about."""

    @cache
    def forecasts() -> SourceForecasts:
        return SourceForecasts.of(bounded(sources(), seed, own_space), seed, on_progress, features, own_space)

    return {
        SourceMean.name: lambda: SourceMean(forecasts()),
        SourceRidge.name: lambda: SourceRidge(forecasts(), features),
    }


def meta_learned_makers(
    sources: Sources, seed: int, on_progress: ReportProgress, features: Features, own_space: str | None = None
) -> Makers:
    """Those that learn something for all search spaces; if sources are too many, those of `own_space` are kept."""

    @cache
    def kept() -> list[MeasuredTask]:
        return bounded(sources(), seed, own_space)

    def learned(config: MAMLConfig) -> Baseline:
        return MetaLearnedNetwork.meta_trained(kept(), seed, on_progress, features, config)

    return {
        UniversalPrior.name: lambda: UniversalPrior.meta_trained(kept(), seed, on_progress, features),
        FSBO.name: lambda: FSBO.meta_trained(kept(), seed, on_progress, features),
        **{config.name: partial(learned, config) for config in (MAML, META_SGD, ANIL)},
    }


class LearnedWhenLookedUp(Mapping[str, Baseline]):
    """Baselines by name, each made once, when it is first asked for."""

    def __init__(self, makers: Makers) -> None:
        self._makers = makers
        self._made: dict[str, Baseline] = {}

    def __getitem__(self, name: str) -> Baseline:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)
