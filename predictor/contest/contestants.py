"""Who takes part besides us: what people would use instead, each with a fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from predictor.architecture import Architecture
from predictor.baselines.base import Baseline, FewShotPredictor
from predictor.baselines.complexity import Complexity
from predictor.baselines.features import Features
from predictor.baselines.fsbo import FSBO
from predictor.baselines.maml import MetaLearnedNetwork
from predictor.baselines.registry import single_task_baselines
from predictor.baselines.source_mean import SourceMean
from predictor.baselines.source_ridge import SourceRidge
from predictor.baselines.universal_prior import UniversalPrior
from predictor.benchmarks.base import BenchmarkTask
from predictor.contest.fingerprints import code_digest, digest
from predictor.encoding import COMPLEXITIES, ArchitectureEncoder
from predictor.graph_statistics.complexity import PARAMETERS, WORK, complexities
from predictor.tasks import MeasuredTask, SupportSet

Kind = Literal["ours", "ablation", "single-task", "source", "ranking", "curve"]
"""`single-task` learn from the support set alone, `source` from other tasks too, `ranking` order by one known number."""

SOURCE_CLASSES: Mapping[str, type[Baseline]] = {
    "source_mean": SourceMean,
    "source_ridge": SourceRidge,
    "universal_prior": UniversalPrior,
    "fsbo": FSBO,
    "maml": MetaLearnedNetwork,
    "meta_sgd": MetaLearnedNetwork,
    "anil": MetaLearnedNetwork,
}
"""What they are, for what has to be known before they have learned; of others it is known afterwards."""

COMPUTED = {"computed FLOPs": WORK, "computed parameters": PARAMETERS}
"""Rankings that need no table but the graphs, by column of `complexities`."""

_BASELINE_CODE = ("predictor.baselines", "predictor.surrogate")


@dataclass(frozen=True)
class Contestant:
    """One that learns from support sets and forecasts. `build` is called when there is something to compute.

    Where it continues what another contestant adapted, its seconds would tell nothing and are left out.
    """

    name: str
    kind: Kind
    fingerprint: str
    min_observations: int
    build: Callable[[], FewShotPredictor]
    has_own_adaptation: bool = True

    @cached_property
    def predictor(self) -> FewShotPredictor:
        """Built once."""
        return self.build()


def baseline_fingerprint(baseline: Baseline, learned_from: str = "") -> str:
    """Of its code, and of what it learned from before."""
    return digest(type(baseline).__name__, code_digest(type(baseline).__module__, _BASELINE_CODE), learned_from)


def single_task_contestants(features: Features | None = None) -> list[Contestant]:
    """Those that know nothing but the support set."""
    return [
        Contestant(name, "single-task", baseline_fingerprint(one), one.min_observations, always(one))
        for name, one in single_task_baselines(features).items()
    ]


def source_contestants(baselines: Mapping[str, Baseline], learned_from: str) -> list[Contestant]:
    """Those that learn from other tasks first, each when it has something to compute: looking one up trains it."""

    def contestant(name: str) -> Contestant:
        code = code_digest(SOURCE_CLASSES[name].__module__, _BASELINE_CODE)
        fingerprint, least = digest(name, code, learned_from), SOURCE_CLASSES[name].min_observations
        return Contestant(name, "source", fingerprint, least, lambda: baselines[name])

    return [contestant(name) for name in baselines]


def always(predictor: FewShotPredictor) -> Callable[[], FewShotPredictor]:
    """What is there already, to be built."""
    return lambda: predictor


def rankings(measured: BenchmarkTask, proxies: Sequence[BenchmarkTask] = ()) -> list[Contestant]:
    """Parameters and FLOPs as far as the table publishes them, both as they are worked out from the graphs alone, and zero-cost proxies of the
    same space and data set."""
    known = {"parameters": measured.params, "FLOPs": measured.flops}
    found = [_ranking(name, measured, values) for name, values in known.items() if values is not None]
    computed = [_computed_ranking(name, measured, column) for name, column in COMPUTED.items()]
    return [*found, *computed] + [
        _ranking(one.task.metric.name, one, one.values)
        for one in proxies
        if (one.task.search_space, one.task.dataset) == (measured.task.search_space, measured.task.dataset)
    ]


def _ranking(name: str, table: BenchmarkTask, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Contestant:
    def build() -> FewShotPredictor:
        return Complexity(dict(zip(map(_hash, table.architectures), map(float, values), strict=True)), name)

    fingerprint = digest(name, code_digest(Complexity.__module__, _BASELINE_CODE), digest(values.tobytes().hex()))
    return Contestant(name, "ranking", fingerprint, 0, build)


def _computed_ranking(name: str, table: BenchmarkTask, column: int) -> Contestant:
    def build() -> FewShotPredictor:
        values = ArchitectureEncoder().batch(table.architectures).globals[:, COMPLEXITIES][:, column].tolist()
        return Complexity(dict(zip(map(_hash, table.architectures), values, strict=True)), name)

    code = [code_digest(one, _BASELINE_CODE) for one in (Complexity.__module__, complexities.__module__)]
    return Contestant(name, "ranking", digest(name, *code, table.task.name, str(len(table))), 0, build)


def _hash(architecture: Architecture) -> str:
    return architecture.hash


def sources_of(tasks: Sequence[BenchmarkTask]) -> list[MeasuredTask]:
    """Whole tables as other tasks' measurements."""
    return [
        MeasuredTask(one.task, one.space, SupportSet(one.architectures, tuple(map(float, one.values)), (1,) * len(one)))
        for one in tasks
    ]
