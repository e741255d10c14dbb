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
from predictor.baselines.maml import ANIL, MAML, META_SGD, MetaLearnedNetwork
from predictor.baselines.ridge import Ridge
from predictor.baselines.source_forecasts import SourceForecasts
from predictor.baselines.source_mean import SourceMean
from predictor.baselines.source_ridge import SourceRidge
from predictor.baselines.sources import ReportProgress, no_progress
from predictor.baselines.universal_prior import UniversalPrior
from predictor.baselines.wl_process import SubtreeProcess
from predictor.tasks import MeasuredTask


def single_task_baselines() -> Mapping[str, Baseline]:
    """Those that know nothing but the support set, by name. They share what they compute of architectures."""
    features = Features()
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

    @cache
    def forecasts() -> SourceForecasts:
        return SourceForecasts.of(sources, seed, on_progress, features)

    learned = partial(MetaLearnedNetwork.meta_trained, sources, seed, on_progress, features)
    return _LearnedWhenLookedUp(
        {
            "source_mean": lambda: SourceMean(forecasts()),
            "source_ridge": lambda: SourceRidge(forecasts(), features),
            "universal_prior": lambda: UniversalPrior.meta_trained(sources, seed, on_progress, features),
            "fsbo": lambda: FSBO.meta_trained(sources, seed, on_progress, features),
            MAML.name: lambda: learned(MAML),
            META_SGD.name: lambda: learned(META_SGD),
            ANIL.name: lambda: learned(ANIL),
        }
    )


class _LearnedWhenLookedUp(Mapping[str, Baseline]):
    def __init__(self, makers: Mapping[str, Callable[[], Baseline]]) -> None:
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
