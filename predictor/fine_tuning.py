"""Fine-tuning: outer-loop training that goes on from the champion on all that was observed.

Episodes come from the users' tasks and, so that nothing learned before is lost, from the benchmark that ships (replay). The
candidate is compared with the champion pair by pair: on episodes of observations that were kept out of the fine-tuning, and
on forecasts that were answered before their observation came. It is better when it gains on at least one of them by more than
chance explains (`_SIGNIFICANT` standard errors over at least `_MIN_PAIRS` pairs) and loses on none by more than one standard
error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from predictor import checkpoint
from predictor.architecture import Architecture
from predictor.benchmarks.pools import task_pools
from predictor.benchmarks.registry import read_all
from predictor.calibration import WIDTHS
from predictor.errors import CheckpointError
from predictor.meta.episodes import EpisodeConfig, EpisodeSampler, TaskPool, support_pool
from predictor.meta.outer_loop import Engine, MetaLearnerState, OuterLoop, OuterLoopConfig, inner_engine
from predictor.meta_predictor import MetaPredictor
from predictor.meta_training import finished, summary
from predictor.scoring import PairedComparison, score_episodes
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig
from predictor.tasks import MeasuredTask, SupportSet

_MIN_OBSERVATIONS = 16  # a task with fewer gives no episodes
_HELD_OUT_SHARE = 0.3
_MIN_PAIRS = 10
_SIGNIFICANT = 1.645  # one-sided 5 %
_TRAINING_PERCENT = 70.0  # of all the work
_OWN_PROVENANCE = ("commit", "metrics")  # of a manifest: they say nothing about what was made from it


@dataclass(frozen=True)
class LoggedCase:
    """A forecast that was answered before its observation came: what was known then, what was asked, what came."""

    task_index: int
    support: SupportSet
    architecture: Architecture
    value: float


@dataclass(frozen=True)
class FineTuneConfig:
    """How long and how boldly to go on."""

    num_steps: int = 200
    learning_rate: float = 3e-4
    tasks_per_batch: int = 8
    engine: Engine = "batched"
    replay: bool = True
    device: str = ""  # empty: CUDA when there is one
    seed: int = 0
    checkpoint_every: int = 20  # steps

    def __post_init__(self) -> None:
        for name, least in (("num_steps", 0), ("tasks_per_batch", 1), ("checkpoint_every", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"expected {name} to be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True)
class FineTuneCheckpoints:
    """Where a fine-tune keeps how far it is: `save` is called with the step and safetensors, `last` is what was saved last.

    What was saved by a fine-tune of another champion, other data or other settings is not gone on from.
    """

    save: Callable[[int, bytes], None] = lambda _step, _content: None
    last: bytes | None = None


@dataclass(frozen=True)
class FineTuneResult:
    """The candidate, how it compares with the champion, and the verdict with its reason."""

    weights: bytes
    manifest: dict[str, Any]
    comparison: dict[str, Any]
    is_better: bool
    reason: str


class Cancelled(Exception):  # noqa: N818  the end that was asked for, not an error
    """Raised out of `fine_tune` when `should_stop` says so; nothing was changed."""


def fine_tune(
    champion: MetaPredictor,
    tasks: Sequence[MeasuredTask],
    logged: Sequence[LoggedCase],
    config: FineTuneConfig = FineTuneConfig(),
    on_progress: Callable[[float, str], None] = lambda _percent, _stage: None,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoints: FineTuneCheckpoints = FineTuneCheckpoints(),
) -> FineTuneResult:
    """A candidate that continues the champion, judged against it. From a checkpoint it comes out as it would have without
    the interruption.

    Raises:
        Cancelled: if `should_stop` answered True; how far it was is saved.
    """
    on_progress(0.0, "gathering episodes")
    training, held_out = _split(tasks)
    pools = _pools(champion, training, config.replay)
    origin = {"parent": champion.version, "data_hash": data_hash(tasks), "fine_tune": asdict(config)}
    course = _Course(config, origin, checkpoints, on_progress, should_stop)
    candidate = _trained(champion, pools, course)
    judgement = _judged(champion, candidate, held_out, tasks, logged, on_progress, should_stop)
    is_better, reason = verdict(judgement.comparisons)
    manifest = {**candidate.manifest, "metrics": judgement.metrics}
    return FineTuneResult(candidate.to_bytes(), manifest, judgement.as_json(), is_better, reason)


def data_hash(tasks: Sequence[MeasuredTask]) -> str:
    """32 hexadecimal digits that change whenever anything does that was observed."""
    lines = [f"{one.task.name} {one.measured.hash}\n" for one in tasks]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def _split(tasks: Sequence[MeasuredTask]) -> tuple[list[MeasuredTask], list[MeasuredTask]]:
    """Every task's architectures in two: to train on, and to judge by. The same architecture falls on the same side in
    every task, since tasks of one space share what they know about it."""
    training, held_out = [], []
    for measured in tasks:
        sides = np.array([int(a.hash[:8], 16) / 2**32 < _HELD_OUT_SHARE for a in measured.measured.architectures], bool)
        training.append(MeasuredTask(measured.task, measured.space, measured.measured.select(np.flatnonzero(~sides))))
        held_out.append(MeasuredTask(measured.task, measured.space, measured.measured.select(np.flatnonzero(sides))))
    return training, held_out


def _pools(champion: MetaPredictor, training: Sequence[MeasuredTask], replay: bool) -> list[TaskPool]:
    pools = [
        support_pool(
            measured.task,
            f"user/{measured.task.name}",
            measured.measured,
            champion.reference_of(measured.space, measured.measured.architectures),
            champion.encoder,
        )
        for measured in training
        if len(measured.measured) >= _MIN_OBSERVATIONS
    ]
    if replay:
        kept_out = set(champion.manifest.get("kept_out", {}).get("test", ()))
        shipped = [one for one in read_all(None) if one.task.name not in kept_out]
        pools += task_pools(shipped, champion.encoder)
    return pools


@dataclass(frozen=True)
class _Course:
    """How a fine-tune runs: its settings, what it started from, and whom it tells of its progress."""

    config: FineTuneConfig
    origin: dict[str, Any]
    checkpoints: FineTuneCheckpoints
    on_progress: Callable[[float, str], None]
    should_stop: Callable[[], bool]

    def go_on(self, loop: OuterLoop) -> None:
        """Takes over what was saved last, if this very fine-tune saved it."""
        if self.checkpoints.last is None:
            return
        try:
            saved = checkpoint.from_bytes(self.checkpoints.last)
            origin = json.loads(bytes(saved.pop("origin").tolist()))
            if origin != self.origin:
                raise ValueError("it is of other data, settings or another champion")
            loop.load_tensors(saved)
        except (CheckpointError, KeyError, ValueError, RuntimeError) as error:
            self.on_progress(0.0, f"cannot go on from the checkpoint: {error}")
            return
        self.on_progress(self._percent(loop.step), f"going on from step {loop.step}")

    def train(self, loop: OuterLoop, device: str) -> None:
        """Runs the outer loop to its end; raises Cancelled."""
        stopped = False

        def on_step(step: int, _loss: float) -> bool:
            nonlocal stopped
            stopped = self.should_stop()
            if stopped or step % self.config.checkpoint_every == 0 or step == self.config.num_steps:
                self._save(loop)
            self.on_progress(self._percent(step), f"outer loop on {device}, step {step} of {self.config.num_steps}")
            return not stopped

        loop.run(self.config.num_steps, inner_engine(self.config.engine), on_step)
        if stopped:
            raise Cancelled

    def _save(self, loop: OuterLoop) -> None:
        origin = torch.tensor(list(json.dumps(self.origin).encode()), dtype=torch.uint8)
        self.checkpoints.save(loop.step, checkpoint.to_bytes({**loop.tensors(), "origin": origin}))

    def _percent(self, step: int) -> float:
        return _TRAINING_PERCENT * step / max(self.config.num_steps, 1)


def _trained(champion: MetaPredictor, pools: Sequence[TaskPool], course: _Course) -> MetaPredictor:
    config = course.config
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    encoder = EncoderConfig(**champion.manifest["surrogate"])
    surrogate = Surrogate(SurrogateConfig(encoder))
    surrogate.load_state_dict(champion.surrogate.state_dict())
    state = MetaLearnerState.starting_from(surrogate.to(device), champion.log_step_sizes.to(device))
    outer = OuterLoopConfig(
        num_steps=config.num_steps,
        learning_rate=config.learning_rate,
        step_size_learning_rate=config.learning_rate,
        warmup_steps=min(20, config.num_steps),
        inner=champion.inner_config,
    )
    sampler = EpisodeSampler(pools, EpisodeConfig(config.tasks_per_batch))
    if sampler.num_tasks:
        loop = OuterLoop(state, sampler, outer, config.seed)
        course.go_on(loop)
        course.train(loop, device)
    inherited = {name: value for name, value in champion.manifest.items() if name not in _OWN_PROVENANCE}
    manifest = {
        **inherited,
        **course.origin,
        "fine_tuned_on": sorted(pool.task.name for pool in pools),
        "device": device,
    }
    built = finished(state, champion.inner_config, encoder, pools or [], manifest) if pools else champion
    kept = {key: champion.manifest[key] for key in ("priors", *WIDTHS) if key in champion.manifest}
    manifest = {**built.manifest, **kept}
    reference, universal = champion.default_reference, champion.universal  # which know more than a fine-tune's tasks
    return MetaPredictor(built.surrogate, built.log_step_sizes, reference, manifest, universal)


@dataclass(frozen=True)
class Judgement:
    """Two versions on the same cases, pair by pair, and the second one's figures for each task."""

    comparisons: dict[str, PairedComparison]
    metrics: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The comparisons as a document."""
        return {name: asdict(one) for name, one in self.comparisons.items()}


def compare(
    first: MetaPredictor,
    second: MetaPredictor,
    tasks: Sequence[MeasuredTask],
    logged: Sequence[LoggedCase],
    on_progress: Callable[[float, str], None] = lambda _percent, _stage: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Judgement:
    """Two versions on what fine-tuning keeps out of training: in the result the first one is called champion, the second one
    candidate.

    Raises:
        Cancelled: if `should_stop` answered True.
    """
    return _judged(first, second, _split(tasks)[1], tasks, logged, on_progress, should_stop, 0.0)


def _judged(
    champion: MetaPredictor,
    candidate: MetaPredictor,
    held_out: Sequence[MeasuredTask],
    tasks: Sequence[MeasuredTask],
    logged: Sequence[LoggedCase],
    on_progress: Callable[[float, str], None],
    should_stop: Callable[[], bool],
    start: float = 70.0,
) -> Judgement:
    share = (100.0 - start) / 4.0

    def part(number: int, name: str) -> Callable[[float], None]:
        def report(fraction: float) -> None:
            if should_stop():
                raise Cancelled
            on_progress(start + share * (number + fraction), name)

        return report

    numbers = (5, 10)
    before = score_episodes(champion, held_out, numbers, on_progress=part(0, "scoring the champion"))
    after = score_episodes(candidate, held_out, numbers, on_progress=part(1, "scoring the candidate"))
    comparisons = {
        "episodes_log_likelihood": PairedComparison.of([-s.nll for s in before], [-s.nll for s in after]),
        "episodes_kendall_tau": PairedComparison.of([s.kendall_tau for s in before], [s.kendall_tau for s in after]),
        "logged_log_likelihood": PairedComparison.of(
            _logged_likelihoods(champion, tasks, logged, part(2, "asking the champion what was asked before")),
            _logged_likelihoods(candidate, tasks, logged, part(3, "asking the candidate what was asked before")),
        ),
    }
    on_progress(100.0, "judged")
    return Judgement(comparisons, summary(after))


def _logged_likelihoods(
    meta: MetaPredictor,
    tasks: Sequence[MeasuredTask],
    logged: Sequence[LoggedCase],
    on_progress: Callable[[float], None],
) -> list[float]:
    """Log likelihood, without its constant, of each value under the forecast from what was known when it was asked."""
    likelihoods = []
    adaptations: dict[tuple[int, str], Any] = {}
    for place, case in enumerate(logged):
        on_progress(place / len(logged))
        key = (case.task_index, case.support.hash)
        if key not in adaptations:
            measured = tasks[case.task_index]
            adaptations[key] = meta.adapt(measured.task, measured.space, case.support)
        adapted = adaptations[key]
        error = adapted.errors_in_std([case.architecture], np.array([case.value]))[0]
        likelihoods.append(float(-0.5 * error**2 - adapted.log_std([case.architecture])[0]))
    return likelihoods


def verdict(comparisons: Mapping[str, PairedComparison]) -> tuple[bool, str]:
    """Whether the candidate is better, and why, in words that name the numbers."""
    with_pairs = {name: one for name, one in comparisons.items() if one.num_pairs > 1}
    if not with_pairs:
        return False, "not promoted: expected held-out episodes or logged forecasts to compare on, got none"
    worse = [name for name, one in with_pairs.items() if not one.difference >= -one.standard_error]  # NaN is worse
    better = [
        name
        for name, one in with_pairs.items()
        if one.num_pairs >= _MIN_PAIRS and one.difference > _SIGNIFICANT * one.standard_error
    ]
    numbers = "; ".join(
        f"{name} {one.champion:.3f} -> {one.candidate:.3f} (±{one.standard_error:.3f}, {one.num_pairs} pairs)"
        for name, one in with_pairs.items()
    )
    if worse:
        return False, f"not promoted: worse on {', '.join(worse)}: {numbers}"
    if not better:
        return False, f"not promoted: no gain beyond chance (over {_MIN_PAIRS} or more pairs): {numbers}"
    return True, f"promoted: better on {', '.join(better)}, worse on none: {numbers}"
