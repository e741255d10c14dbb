"""From what the outer loop learned to a model version: priors, default reference, calibration, metrics, manifest."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from predictor.calibration import WIDTHS, Widths, WidthTable, factor_for_coverage
from predictor.checkpoint import MANIFEST_FORMAT, encoding_fingerprint
from predictor.encoding import SpaceReference, quantiles_of
from predictor.meta.episodes import TaskPool
from predictor.meta.inner_loop import InnerLoopConfig
from predictor.meta.outer_loop import MetaLearnerState
from predictor.meta.universal_fitting import fit_universal_mean
from predictor.meta_predictor import MetaPredictor, is_trusted
from predictor.scoring import EpisodeScore, score_episodes
from predictor.surrogate.encoder import EncoderConfig
from predictor.surrogate.related_tasks import is_cost
from predictor.surrogate.standardisation import scale_priors
from predictor.surrogate.surrogate import Surrogate, SurrogateConfig
from predictor.tasks import MeasuredTask

CALIBRATION_NUMBERS = (1, 2, 3, 5, 10, 20, 50, 100)


def default_reference(pools: Sequence[TaskPool]) -> SpaceReference:
    """Mean over spaces of each feature, its spread within and between them, and quantiles of all of them together."""
    distinct = {id(pool.reference): pool.reference for pool in pools}
    means = torch.stack([reference.mean for reference in distinct.values()])
    stds = torch.stack([reference.std for reference in distinct.values()])
    spread = (stds.square().mean(0) + means.var(0, correction=0)).sqrt()
    known = [reference.quantiles for reference in distinct.values() if reference.quantiles is not None]
    return SpaceReference(
        means.mean(0), torch.where(spread > 1e-3, spread, 1.0), quantiles_of(torch.cat(known)) if known else None
    )


def priors_of(pools: Sequence[TaskPool]) -> dict[str, dict[str, float]]:
    """What location and scale these tasks have, by metric family, for a manifest."""
    found = scale_priors([(pool.task, pool.values) for pool in pools])
    return {family: asdict(prior) for family, prior in found.items()}


def finished(
    state: MetaLearnerState,
    inner: InnerLoopConfig,
    encoder: EncoderConfig,
    pools: Sequence[TaskPool],
    provenance: Mapping[str, Any],
) -> MetaPredictor:
    """The moving averages of what was learned, as a model version that is not yet calibrated and has no universal mean."""
    surrogate = Surrogate(SurrogateConfig(encoder))
    averages = {name: value.detach().cpu().clone() for name, value in state.averages.items()}
    log_step_sizes = averages.pop("log_step_sizes")
    surrogate.load_state_dict(averages)
    manifest = {
        **provenance,
        "format": MANIFEST_FORMAT,
        "encoding": encoding_fingerprint(),
        "surrogate": asdict(encoder),
        "inner": asdict(inner),
        "priors": priors_of(pools),
        "num_parameters": sum(parameter.numel() for parameter in surrogate.parameters()),
    }
    return MetaPredictor(surrogate, log_step_sizes, default_reference(pools), manifest)


def with_universal_mean(
    meta: MetaPredictor,
    pools: Sequence[TaskPool],
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda _fraction: None,
) -> MetaPredictor:
    """The same surrogate with a universal mean learned anew from these tasks: another version, to be calibrated anew."""
    universal = fit_universal_mean(pools, seed, on_progress)
    manifest = {**meta.manifest, "universal_mean": universal.sizes}
    surrogate = copy.deepcopy(meta.surrogate)
    return MetaPredictor(surrogate, meta.log_step_sizes, default_reference(pools), manifest, universal)


def calibrated(
    meta: MetaPredictor,
    kept_out: Sequence[MeasuredTask],
    numbers: Sequence[int] = CALIBRATION_NUMBERS,
    num_repeats: int = 3,
    on_progress: Callable[[float], None] = lambda _fraction: None,
    sources: Sequence[MeasuredTask] = (),
) -> MetaPredictor:
    """The same parameters with interval widths learned from tasks that took no part in training: each on its own, and those that may rely on
    relatives among the sources once more with these, quality and costs apart. A version that has no such task uses the nearest there are."""
    untold = {name: value for name, value in meta.manifest.items() if name not in WIDTHS}
    plain = MetaPredictor.from_bytes(meta.to_bytes(), untold)
    said = {one.task.name: plain.related(one.task, one.space, sources) for one in kept_out} if sources else {}
    heard = {name: related for name, related in said.items() if related is not None and is_trusted(related)}
    hearing = [one for one in kept_out if one.task.name in heard]
    share = len(kept_out) / max(len(kept_out) + len(hearing), 1)  # of the work
    alone = score_episodes(plain, kept_out, numbers, num_repeats, on_progress=lambda done: on_progress(share * done))
    beside = score_episodes(
        plain, hearing, numbers, num_repeats,
        on_progress=lambda done: on_progress(share + (1.0 - share) * done), related=heard,
    )  # fmt: skip
    costs = {one.task.name for one in hearing if is_cost(one.task.metric)}
    of_quality, of_costs = (_widths([s for s in beside if (s.task in costs) == side]) for side in (False, True))
    return with_manifest(plain, Widths(_widths(alone) or WidthTable(), of_quality, of_costs).to_manifest())


def _widths(scores: Sequence[EpisodeScore]) -> WidthTable | None:
    errors: dict[int, dict[str, list[np.ndarray[Any, Any]]]] = {}
    for score in scores:
        errors.setdefault(score.num_observations, {}).setdefault(score.task, []).append(score.errors_in_std)
    if not errors:
        return None
    reached = tuple(sorted(errors))  # no task may have enough measurements for the largest numbers
    factors = tuple(_balanced_factor(errors[number]) for number in reached)
    return WidthTable(reached, factors)


def _balanced_factor(errors_by_task: Mapping[str, Sequence[np.ndarray[Any, Any]]]) -> float:
    """Factor for 90 % coverage over all tasks, each counting the same."""
    rng = np.random.default_rng(0)
    pooled = [rng.choice(np.concatenate(errors), 200) for errors in errors_by_task.values()]
    return float(np.clip(factor_for_coverage(np.concatenate(pooled).tolist()), 0.3, 10.0))


def with_manifest(meta: MetaPredictor, changes: Mapping[str, Any]) -> MetaPredictor:
    """The same parameters under a manifest with these entries."""
    return MetaPredictor.from_bytes(meta.to_bytes(), {**meta.manifest, **changes})


def summary(scores: Sequence[EpisodeScore]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean τ, negative log likelihood and coverage by task and number of observations, for a manifest."""
    grouped: dict[str, dict[str, list[EpisodeScore]]] = {}
    for score in scores:
        grouped.setdefault(score.task, {}).setdefault(str(score.num_observations), []).append(score)
    return {
        task: {
            number: {
                "kendall_tau": round(float(np.mean([s.kendall_tau for s in group])), 4),
                "nll": round(float(np.mean([s.nll for s in group])), 4),
                "coverage": round(float(np.mean([s.coverage for s in group])), 4),
            }
            for number, group in numbers.items()
        }
        for task, numbers in grouped.items()
    }
