"""Scores of forecasts against measured values, and paired comparisons of two model versions.

Notation: Q forecasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from predictor.meta_predictor import MetaPredictor
from predictor.surrogate.related_tasks import RelatedTasks
from predictor.tasks import MeasuredTask

Array = NDArray[np.float64]


def kendall_tau(first: Array, second: Array) -> float:
    """Kendall's τ-b of two rankings (Kendall, Biometrika 1945); 0 when one of them is constant."""
    a, b = np.sign(np.subtract.outer(first, first)), np.sign(np.subtract.outer(second, second))
    norm = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


@dataclass(frozen=True)
class EpisodeScore:
    """How forecasts after adaptation to some observations of a task compared with the rest of its measurements."""

    task: str
    num_observations: int
    kendall_tau: float
    nll: float  # mean negative log likelihood of a normal distribution, standardised units, without its constant
    coverage: float  # share of values inside the 90 % interval
    errors_in_std: Array  # (Q,)


def score_episode(
    meta: MetaPredictor,
    measured: MeasuredTask,
    num_observations: int,
    num_query: int,
    rng: np.random.Generator,
    related: RelatedTasks | None = None,
) -> EpisodeScore:
    """Adapts to randomly chosen observations and scores forecasts of others that are left out."""
    order = rng.permutation(len(measured.measured))
    known = measured.measured.select(order[:num_observations])
    asked = measured.measured.select(order[num_observations : num_observations + num_query])
    adapted = meta.adapt(measured.task, measured.space, known, related)
    predictions = adapted.predict(asked.architectures)
    errors = adapted.errors_in_std(asked.architectures, asked.targets)
    inside = (predictions.lower <= asked.targets) & (asked.targets <= predictions.upper)
    log_std = adapted.log_std(asked.architectures)
    return EpisodeScore(
        measured.task.name,
        num_observations,
        kendall_tau(predictions.mean, asked.targets),
        float(np.mean(0.5 * errors**2 + log_std)),
        float(np.mean(inside)),
        errors,
    )


def score_episodes(
    meta: MetaPredictor,
    tasks: Sequence[MeasuredTask],
    numbers: Sequence[int],
    num_repeats: int = 3,
    num_query: int = 100,
    seed: int = 0,
    on_progress: Callable[[float], None] = lambda _fraction: None,
    related: Mapping[str, RelatedTasks] = MappingProxyType({}),
) -> list[EpisodeScore]:
    """Every task with every number of observations, repeated; the draws depend on the seed alone, so versions can be paired.

    `related` are what is heard of others, by name of the task that hears it.
    """
    scores = []
    plan = [
        (place, measured, number, repeat)
        for place, measured in enumerate(tasks)
        for number in numbers
        for repeat in range(num_repeats)
        if len(measured.measured) >= number + 10
    ]
    for done, (place, measured, number, repeat) in enumerate(plan, start=1):
        rng = np.random.default_rng([seed, place, number, repeat])
        heard = related.get(measured.task.name)
        scores.append(score_episode(meta, measured, number, num_query, rng, heard))
        on_progress(done / len(plan))
    return scores


@dataclass(frozen=True)
class PairedComparison:
    """Mean difference candidate − champion over paired cases, with its standard error; larger is better."""

    num_pairs: int
    champion: float
    candidate: float
    difference: float
    standard_error: float

    @classmethod
    def of(cls, champion: Sequence[float], candidate: Sequence[float]) -> PairedComparison:
        """From scores (larger is better) in the same order."""
        first, second = np.asarray(champion, float), np.asarray(candidate, float)
        gains = second - first
        error = float(gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else math.inf
        if len(gains) == 0:
            return cls(0, 0.0, 0.0, 0.0, 0.0)
        return cls(len(gains), float(first.mean()), float(second.mean()), float(gains.mean()), error)
