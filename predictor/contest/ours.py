"""Our model version, and what is left of it without its parts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache

import torch

from predictor.adaptation_parts import EVERYTHING, Parts
from predictor.adapted_predictor import AdaptedPredictor
from predictor.baselines.base import Adapted, FewShotPredictor
from predictor.benchmarks.base import BenchmarkTask
from predictor.calibration import WIDTHS
from predictor.contest.contestants import Contestant, sources_of
from predictor.contest.fingerprints import code_digest, digest
from predictor.meta.inner_loop import initial_log_step_sizes
from predictor.meta_predictor import MetaPredictor
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.related_tasks import MIN_OBSERVATIONS, RelatedTasks, are_related
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig
from predictor.tasks import MeasuredTask, Observation, SupportSet, Task, lower_fidelities

OURS = "Archcast"
WITH_CURVE = "Archcast and curve"
WITHOUT_RELATED = "Archcast without related tasks"
WITHOUT_PROCESS = "Archcast without residual process"
WITHOUT_UNIVERSAL = "Archcast without universal mean"
WITHOUT_FORESTS = "Archcast without forests"
FROM_SCRATCH = "Archcast from scratch"
WITHOUT_PARTS: Mapping[str, Parts] = {
    "Archcast without inner loop": Parts(inner_loop=False),
    "Archcast without decisions": Parts(decisions=False),
    "Archcast without graph statistics": Parts(graph_statistics=False),
    WITHOUT_UNIVERSAL: Parts(universal_mean=False),
    "Archcast without warp": Parts(warp=False),
    WITHOUT_FORESTS: Parts(forests=False),
}
"""Each is the version less that part alone; related tasks are heard."""

_CODE = (
    *("predictor.meta_predictor", "predictor.adaptation_parts", "predictor.adapted_predictor"),
    "predictor.meta.cross_fitting",
    *("predictor.meta.inner_loop", "predictor.meta.episodes", "predictor.surrogate", "predictor.calibration"),
    "predictor.encoding",
)
_MAX_KEPT = 16  # adaptations


class Adapting:
    """A version with what related tasks say, made before anything adapts; the latest adaptations are kept."""

    def __init__(self, meta: MetaPredictor, related: RelatedTasks | None = None, parts: Parts = EVERYTHING) -> None:
        self._meta, self._related, self._parts = meta, related, parts
        self._kept: OrderedDict[tuple[Task, str], AdaptedPredictor] = OrderedDict()

    def adapt(self, task: Task, space: SearchSpace, support: SupportSet) -> AdaptedPredictor:
        """As the version adapts."""
        key = (task, support.hash)
        if key not in self._kept:
            self._kept[key] = self._meta.adapt(task, space, support, self._related, self._parts)
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]


class WithoutProcess:
    """A version whose adaptations leave the residual process and related tasks out."""

    def __init__(self, version: Adapting) -> None:
        self._version = version

    def adapt(self, task: Task, space: SearchSpace, support: SupportSet) -> Adapted:
        """The surrogate's own mean and spread after the inner loop."""
        return self._version.adapt(task, space, support).without_process()


def related_among(measured: BenchmarkTask, tasks: Sequence[BenchmarkTask]) -> list[BenchmarkTask]:
    """Those that have a say in forecasts of this task."""
    return [one for one in tasks if are_related(measured.task, one.task) and len(one) >= MIN_OBSERVATIONS]


def own_contestants(
    meta: MetaPredictor, measured: BenchmarkTask, others: Sequence[BenchmarkTask] = ()
) -> list[Contestant]:
    """The version with what it may know of other tasks, then without those that are related, then without its process too,
    then with everything but one part.

    What related tasks say is worked out once, when the first of these has something to compute.
    """
    related = related_among(measured, others)
    plain, known = Adapting(meta), own_fingerprint(meta)
    heard = digest(known, *sorted(f"{one.task.name} {len(one)}" for one in related)) if related else known

    @cache
    def said() -> RelatedTasks | None:
        return meta.related(measured.task, measured.space, sources_of(related)) if related else None

    def less(name: str, parts: Parts) -> Contestant:
        return Contestant(name, "ablation", digest(heard, str(parts)), 1, lambda: Adapting(meta, said(), parts))

    ours = Contestant(OURS, "ours", heard, 0, lambda: Adapting(meta, said()) if related else plain)
    without_related = Contestant(WITHOUT_RELATED, "ablation", known, 0, lambda: plain)
    without_process = Contestant(
        WITHOUT_PROCESS, "ablation", known, 0, lambda: WithoutProcess(plain), has_own_adaptation=False
    )
    return [
        ours,
        *([without_related] if related else []),
        without_process,
        *(less(name, parts) for name, parts in WITHOUT_PARTS.items()),
    ]


def with_curve(
    meta: MetaPredictor, measured: BenchmarkTask, fidelities: Sequence[str], others: Sequence[BenchmarkTask] = ()
) -> Contestant:
    """The version with what smaller budgets said of every architecture, besides what it may know of other tasks."""
    related = related_among(measured, others)

    def known() -> FewShotPredictor:
        said = [*curve_of(measured, fidelities), *sources_of(related)]
        return Adapting(meta, meta.related(measured.task, measured.space, said))

    heard = sorted(f"{one.task.name} {len(one)}" for one in related)
    return Contestant(WITH_CURVE, "ours", digest(own_fingerprint(meta), *fidelities, *heard), 0, known)


def curve_of(measured: BenchmarkTask, fidelities: Sequence[str]) -> list[MeasuredTask]:
    """What smaller budgets said, each as a task of its own."""
    final = measured.max_fidelity or 2.0 * max(measured.fidelity_levels.values())
    return [
        one
        for name in fidelities
        for one in lower_fidelities(
            measured.task,
            measured.space,
            (
                Observation(architecture, float(value), fidelity=measured.fidelity_levels[name] / final)
                for architecture, value in zip(measured.architectures, measured.fidelities[name], strict=True)
            ),
        )
    ]


def own_fingerprint(meta: MetaPredictor) -> str:
    """Of a version and of the code that adapts it."""
    learned = [str(sorted(meta.manifest.get(name, {}).items())) for name in ("priors", *WIDTHS)]
    return digest(meta.version, *learned, code_digest(MetaPredictor.__module__, _CODE))


def from_scratch(shape_of: MetaPredictor) -> Contestant:
    """The surrogate of that version's shape without meta-training, and without any other task."""
    shape = str(sorted(shape_of.manifest["surrogate"].items())) + str(sorted(shape_of.manifest["inner"].items()))
    fingerprint = digest(shape, code_digest(MetaPredictor.__module__, _CODE))
    return Contestant(FROM_SCRATCH, "ablation", fingerprint, 1, lambda: untrained(shape_of))


def untrained(meta: MetaPredictor) -> MetaPredictor:
    """The same surrogate with random initial parameters and step sizes, and nothing that was learned from other tasks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        surrogate = Surrogate(SurrogateConfig(EncoderConfig(**meta.manifest["surrogate"])))
    steps = initial_log_step_sizes(surrogate, meta.inner_config)
    learned = ("priors", *WIDTHS, "universal_mean")
    manifest = {key: value for key, value in meta.manifest.items() if key not in learned}
    return MetaPredictor(surrogate, steps, meta.default_reference, manifest)
