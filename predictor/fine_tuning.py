"""Fine-tuning: outer-loop training that goes on from the champion on all that was observed.

Episodes come from the users' tasks and, so that nothing learned before is lost, from the benchmark that ships (replay). The
candidate is compared with the champion pair by pair: on episodes of observations that were kept out of the fine-tuning, and
on forecasts that were answered before their observation came. It is better when it gains on at least one of them by more than
chance explains (`_SIGNIFICANT` standard errors over at least `_MIN_PAIRS` pairs) and loses on none by more than one standard
error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from predictor.architecture import Architecture
from predictor.benchmarks.pools import task_pools
from predictor.benchmarks.registry import read_all
from predictor.meta.episodes import EpisodeConfig, EpisodeSampler, TaskPool, support_pool
from predictor.meta.outer_loop import Engine, MetaLearnerState, OuterLoop, OuterLoopConfig, inner_engine
from predictor.meta_predictor import MetaPredictor
from predictor.meta_training import finished
from predictor.scoring import PairedComparison, score_episodes
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig
from predictor.tasks import MeasuredTask, SupportSet

_MIN_OBSERVATIONS = 16  # a task with fewer gives no episodes
_HELD_OUT_SHARE = 0.3
_MIN_PAIRS = 10
_SIGNIFICANT = 1.645  # one-sided 5 %


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
) -> FineTuneResult:
    """A candidate that continues the champion, judged against it.

    Raises:
        Cancelled: if `should_stop` answered True.
    """
    on_progress(0.0, "gathering episodes")
    training, held_out = _split(tasks, config.seed)
    pools = _pools(champion, training, config.replay)
    candidate = _trained(champion, pools, config, on_progress, should_stop)
    comparison, is_better, reason = _judged(champion, candidate, held_out, tasks, logged, on_progress, should_stop)
    return FineTuneResult(candidate.to_bytes(), dict(candidate.manifest), comparison, is_better, reason)


def _split(tasks: Sequence[MeasuredTask], seed: int) -> tuple[list[MeasuredTask], list[MeasuredTask]]:
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


def _trained(
    champion: MetaPredictor,
    pools: Sequence[TaskPool],
    config: FineTuneConfig,
    on_progress: Callable[[float, str], None],
    should_stop: Callable[[], bool],
) -> MetaPredictor:
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
    stopped = False

    def on_step(step: int, _loss: float) -> bool:
        nonlocal stopped
        stopped = should_stop()
        on_progress(70.0 * step / config.num_steps, f"outer loop on {device}, step {step} of {config.num_steps}")
        return not stopped

    if sampler.num_tasks:
        OuterLoop(state, sampler, outer, config.seed).run(config.num_steps, inner_engine(config.engine), on_step)
    if stopped:
        raise Cancelled
    manifest = {
        **champion.manifest,
        "parent": champion.version,
        "metrics": {},  # the champion's own say nothing about the candidate; its comparison is kept with the decision
        "fine_tuned_on": sorted(pool.task.name for pool in pools),
        "fine_tune": asdict(config),
        "device": device,
    }
    built = finished(state, champion.inner_config, encoder, pools or [], manifest) if pools else champion
    kept = {key: champion.manifest[key] for key in ("priors", "widths") if key in champion.manifest}
    tensors_reference = champion.default_reference
    return MetaPredictor(built.surrogate, built.log_step_sizes, tensors_reference, {**built.manifest, **kept})


def _judged(
    champion: MetaPredictor,
    candidate: MetaPredictor,
    held_out: Sequence[MeasuredTask],
    tasks: Sequence[MeasuredTask],
    logged: Sequence[LoggedCase],
    on_progress: Callable[[float, str], None],
    should_stop: Callable[[], bool],
) -> tuple[dict[str, Any], bool, str]:
    def part(start: float, name: str) -> Callable[[float], None]:
        def report(fraction: float) -> None:
            if should_stop():
                raise Cancelled
            on_progress(start + 10.0 * fraction, name)

        return report

    numbers = (5, 10)
    before = score_episodes(champion, held_out, numbers, on_progress=part(70.0, "scoring the champion"))
    after = score_episodes(candidate, held_out, numbers, on_progress=part(80.0, "scoring the candidate"))
    comparisons = {
        "episodes_log_likelihood": PairedComparison.of([-s.nll for s in before], [-s.nll for s in after]),
        "episodes_kendall_tau": PairedComparison.of([s.kendall_tau for s in before], [s.kendall_tau for s in after]),
        "logged_log_likelihood": PairedComparison.of(
            _logged_likelihoods(champion, tasks, logged), _logged_likelihoods(candidate, tasks, logged)
        ),
    }
    on_progress(100.0, "judged")
    is_better, reason = verdict(comparisons)
    return {name: asdict(one) for name, one in comparisons.items()}, is_better, reason


def _logged_likelihoods(
    meta: MetaPredictor, tasks: Sequence[MeasuredTask], logged: Sequence[LoggedCase]
) -> list[float]:
    """Log likelihood, without its constant, of each value under the forecast from what was known when it was asked."""
    likelihoods = []
    adaptations: dict[tuple[int, str], Any] = {}
    for case in logged:
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
