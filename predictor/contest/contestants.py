"""Who takes part: our model version and what is left of it without its parts, and baselines, each with a fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from predictor.architecture import Architecture
from predictor.baselines.base import Adapted, Baseline, FewShotPredictor
from predictor.baselines.complexity import Complexity
from predictor.baselines.fsbo import FSBO
from predictor.baselines.maml import MetaLearnedNetwork
from predictor.baselines.registry import single_task_baselines
from predictor.baselines.source_mean import SourceMean
from predictor.baselines.source_ridge import SourceRidge
from predictor.baselines.universal_prior import UniversalPrior
from predictor.benchmarks.base import BenchmarkTask
from predictor.contest.fingerprints import code_digest, digest
from predictor.meta.inner_loop import initial_log_step_sizes
from predictor.meta_predictor import MetaPredictor
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig
from predictor.tasks import MeasuredTask, SupportSet, Task

Kind = Literal["ours", "ablation", "single-task", "source", "ranking", "curve"]
"""`single-task` learn from the support set alone, `source` from other tasks too, `ranking` order by one known number."""

OURS = "Archcast"
WITHOUT_PROCESS = "Archcast without residual process"
FROM_SCRATCH = "Archcast from scratch"

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

_OWN_CODE = (
    *("predictor.meta_predictor", "predictor.surrogate", "predictor.meta.inner_loop", "predictor.calibration"),
    "predictor.encoding",
)
_BASELINE_CODE = ("predictor.baselines", "predictor.surrogate")


@dataclass(frozen=True)
class Contestant:
    """One that learns from support sets and forecasts. `build` is called when there is something to compute."""

    name: str
    kind: Kind
    fingerprint: str
    min_observations: int
    build: Callable[[], FewShotPredictor]

    @cached_property
    def predictor(self) -> FewShotPredictor:
        """Built once."""
        return self.build()


class WithoutProcess:
    """A model version whose adaptations leave the residual process out."""

    def __init__(self, meta: MetaPredictor) -> None:
        self._meta = meta

    def adapt(self, task: Task, space: SearchSpace, support: SupportSet) -> Adapted:
        """The surrogate's own mean and spread after the inner loop."""
        return self._meta.adapt(task, space, support).without_process()


def untrained(meta: MetaPredictor) -> MetaPredictor:
    """The same surrogate with random initial parameters and step sizes, and nothing that was learned from other tasks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        surrogate = Surrogate(SurrogateConfig(EncoderConfig(**meta.manifest["surrogate"])))
    steps = initial_log_step_sizes(surrogate, meta.inner_config)
    learned = ("priors", "widths")
    manifest = {key: value for key, value in meta.manifest.items() if key not in learned}
    return MetaPredictor(surrogate, steps, meta.default_reference, manifest)


def own_contestants(meta: MetaPredictor) -> list[Contestant]:
    """The version and the version without its residual process."""
    widths = str(sorted(meta.manifest.get("widths", {}).items()))
    fingerprint = digest(meta.version, widths, code_digest("predictor.meta_predictor", _OWN_CODE))
    return [
        Contestant(OURS, "ours", fingerprint, 0, always(meta)),
        Contestant(WITHOUT_PROCESS, "ablation", fingerprint, 0, lambda: WithoutProcess(meta)),
    ]


def from_scratch(shape_of: MetaPredictor) -> Contestant:
    """The surrogate of that version's shape without meta-training."""
    shape = str(sorted(shape_of.manifest["surrogate"].items())) + str(sorted(shape_of.manifest["inner"].items()))
    fingerprint = digest(shape, code_digest("predictor.meta_predictor", _OWN_CODE))
    return Contestant(FROM_SCRATCH, "ablation", fingerprint, 1, lambda: untrained(shape_of))


def baseline_fingerprint(baseline: Baseline, learned_from: str = "") -> str:
    """Of its code, and of what it learned from before."""
    return digest(type(baseline).__name__, code_digest(type(baseline).__module__, _BASELINE_CODE), learned_from)


def single_task_contestants() -> list[Contestant]:
    """Those that know nothing but the support set."""
    return [
        Contestant(name, "single-task", baseline_fingerprint(one), one.min_observations, always(one))
        for name, one in single_task_baselines().items()
    ]


def source_contestants(baselines: Mapping[str, Baseline], learned_from: str) -> list[Contestant]:
    """Those that learn from other tasks first, each when it has something to compute: looking one up trains it."""

    def contestant(name: str) -> Contestant:
        class_of = SOURCE_CLASSES[name] if name in SOURCE_CLASSES else type(baselines[name])
        code = code_digest(class_of.__module__, _BASELINE_CODE)
        fingerprint = digest(name, code, learned_from)
        return Contestant(name, "source", fingerprint, class_of.min_observations, lambda: baselines[name])

    return [contestant(name) for name in baselines]


def always(predictor: FewShotPredictor) -> Callable[[], FewShotPredictor]:
    """What is there already, to be built."""
    return lambda: predictor


def rankings(measured: BenchmarkTask, proxies: Sequence[BenchmarkTask] = ()) -> list[Contestant]:
    """Parameters and FLOPs as far as the table publishes them, and zero-cost proxies of the same space and data set."""
    known = {"parameters": measured.params, "FLOPs": measured.flops}
    found = [_ranking(name, measured, values) for name, values in known.items() if values is not None]
    return found + [
        _ranking(one.task.metric.name, one, one.values)
        for one in proxies
        if (one.task.search_space, one.task.dataset) == (measured.task.search_space, measured.task.dataset)
    ]


def _ranking(name: str, table: BenchmarkTask, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Contestant:
    def build() -> FewShotPredictor:
        return Complexity(dict(zip(map(_hash, table.architectures), map(float, values), strict=True)), name)

    fingerprint = digest(name, code_digest(Complexity.__module__, _BASELINE_CODE), digest(values.tobytes().hex()))
    return Contestant(name, "ranking", fingerprint, 0, build)


def _hash(architecture: Architecture) -> str:
    return architecture.hash


def sources_of(tasks: Sequence[BenchmarkTask]) -> list[MeasuredTask]:
    """Whole tables as other tasks' measurements."""
    return [
        MeasuredTask(one.task, one.space, SupportSet(one.architectures, tuple(map(float, one.values)), (1,) * len(one)))
        for one in tasks
    ]
