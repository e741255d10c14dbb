"""Architectures to begin with on a task of which nothing was measured, from what the task is like.

How alike two tasks rank architectures is learned from all pairs of earlier tasks that share a search space, as a function of how
far apart their descriptions are: log(affinity) is linear in the distances, with weights that are not negative. What earlier tasks
of the asked space say of an architecture is then averaged by affinity and joined with the zero-shot forecast. After Wong et al.,
"Transfer Learning with Neural AutoML", NeurIPS 2018, and Feurer, Springenberg & Hutter, "Initializing Bayesian Hyperparameter
Optimization via Meta-Learning", AAAI 2015, who go by the nearest tasks' best.

Notation: P pairs of tasks, K distances, T earlier tasks of the asked space, Q candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.acquisition import select_diverse
from predictor.architecture import Architecture
from predictor.descriptors import NUMBERS, DatasetDescriptor
from predictor.meta_predictor import MetaPredictor
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.related_tasks import MIN_OBSERVATIONS, are_related
from predictor.tasks import MeasuredTask, SupportSet, Task

Array = NDArray[np.float64]
_NUM_DISTANCES = len(NUMBERS) + 4  # those of descriptors with kind, then metric, device, and the data set not described
_MAX_COMPARED = 2_000  # architectures that two tasks are compared on
_LEAST_AFFINITY = 0.02
_PRIOR_WEIGHT = 0.1  # of a distance before anything was learned
_PRIOR_STRENGTH = 1.0  # it counts like this many pairs a spread apart
_NUM_STEPS = 2_000
_LARGEST_SHARE = 0.9  # of earlier tasks beside the zero-shot forecast
_POWER = 4.0  # how much more the nearest task counts than the others

Descriptors = Mapping[str, DatasetDescriptor]
"""By the name of the data set; those that are missing are merely told apart."""


def task_distances(first: Task, second: Task, descriptors: Descriptors) -> Array:  # (K,)
    """How far apart two tasks are described."""
    own, other = descriptors.get(first.dataset), descriptors.get(second.dataset)
    known = own is not None and other is not None
    apart = own.distances(other) if own is not None and other is not None else np.zeros(len(NUMBERS) + 1)
    undescribed = float(not known and first.dataset != second.dataset)
    return np.array([*apart, float(first.metric != second.metric), float(first.device != second.device), undescribed])


def observed_affinity(first: MeasuredTask, second: MeasuredTask) -> float | None:
    """Rank correlation over architectures that both measured, no less than 0; None where they are too few."""
    theirs = {one.hash: value for one, value in second.measured}
    pairs = [(value, theirs[one.hash]) for one, value in first.measured if one.hash in theirs]
    if len(pairs) < MIN_OBSERVATIONS:
        return None
    step = max(len(pairs) // _MAX_COMPARED, 1)
    signs = first.task.metric.sign, second.task.metric.sign
    own, other = (
        np.argsort(np.argsort(sign * np.array(column)))
        for sign, column in zip(signs, zip(*pairs[::step], strict=True), strict=True)
    )
    return max(0.0, float(np.corrcoef(own, other)[0, 1]))


@dataclass(frozen=True)
class TaskAffinity:
    """How alike tasks rank architectures, as a function of their descriptions."""

    weights: tuple[float, ...]  # (K,)
    num_pairs: int  # that it was learned from

    @classmethod
    def learned(cls, tasks: Sequence[MeasuredTask], descriptors: Descriptors) -> TaskAffinity:
        """From all pairs of tasks that share a search space and are both of quality or both of cost."""
        distances, targets = [], []
        for number, first in enumerate(tasks):
            for second in tasks[number + 1 :]:
                seen = observed_affinity(first, second) if are_related(first.task, second.task) else None
                if seen is not None:
                    distances.append(task_distances(first.task, second.task, descriptors))
                    targets.append(-np.log(max(seen, _LEAST_AFFINITY)))
        return cls(
            tuple(_non_negative(np.array(distances).reshape(-1, _NUM_DISTANCES), np.array(targets))), len(targets)
        )

    def __call__(self, first: Task, second: Task, descriptors: Descriptors) -> float:
        """Between 0 and 1."""
        return float(np.exp(-np.dot(self.weights, task_distances(first, second, descriptors))))


def _non_negative(distances: Array, targets: Array) -> Array:  # (P, K), (P,) -> (K,)
    """Least squares with weights of 0 or more that are drawn towards a small one, by projected gradient steps."""
    scale = np.maximum(distances.std(axis=0), 1e-3) if len(distances) else np.ones(_NUM_DISTANCES)
    inputs, prior = distances / scale, _PRIOR_WEIGHT * np.ones(_NUM_DISTANCES)
    curvature = inputs.T @ inputs + _PRIOR_STRENGTH * np.eye(_NUM_DISTANCES)
    pull = inputs.T @ targets + _PRIOR_STRENGTH * prior
    weights, step = prior.copy(), 1.0 / np.linalg.eigvalsh(curvature)[-1]
    for _ in range(_NUM_STEPS):
        weights = np.maximum(weights - step * (curvature @ weights - pull), 0.0)
    return np.asarray(weights / scale)


@dataclass(frozen=True)
class WarmStartConfig:
    """How many candidates are looked at, and how unlike proposals are to be."""

    max_listed: int = 30_000
    num_random: int = 2_000
    num_best: int = 50  # of every earlier task
    diversity: float = 0.1


@dataclass(frozen=True)
class WarmStart:
    """Proposals for tasks of which nothing was measured."""

    version: MetaPredictor
    earlier: tuple[MeasuredTask, ...]
    descriptors: Descriptors
    affinity: TaskAffinity
    config: WarmStartConfig = WarmStartConfig()

    @classmethod
    def of(cls, version: MetaPredictor, earlier: Sequence[MeasuredTask], descriptors: Descriptors) -> WarmStart:
        """Learns how alike tasks are from the earlier ones."""
        return cls(version, tuple(earlier), descriptors, TaskAffinity.learned(earlier, descriptors))

    def propose(self, task: Task, space: SearchSpace, count: int, rng: np.random.Generator) -> list[Architecture]:
        """The most promising first; they differ from each other."""
        candidates = self.candidates(task, space, rng)
        scores = self.scores(task, space, candidates)
        near = np.argsort(-scores, kind="stable")[: max(50 * count, 500)]
        features = self.version.adapt(task, space, SupportSet()).features([candidates[row] for row in near])
        rows = select_diverse(scores[near], features, count, self.config.diversity)
        return [candidates[near[row]] for row in rows]

    def candidates(self, task: Task, space: SearchSpace, rng: np.random.Generator) -> list[Architecture]:
        """The whole space where it is small; else random ones, and the best of earlier tasks."""
        size = space.size()
        if size is not None and size <= self.config.max_listed:
            return list({one.hash: one for one in space.enumerate()}.values())
        found = (
            {}
            if space.is_open
            else {one.hash: one for one in (space.sample(rng) for _ in range(self.config.num_random))}
        )
        for one in self._of_space(task):
            order = np.argsort(-one.task.metric.sign * one.measured.targets, kind="stable")[: self.config.num_best]
            found.update((one.measured.architectures[row].hash, one.measured.architectures[row]) for row in order)
        return list(found.values())

    def scores(self, task: Task, space: SearchSpace, candidates: Sequence[Architecture]) -> Array:  # (Q,)
        """The zero-shot forecast, which hears all earlier tasks of the space alike, and what it says if it hears one of them
        alone, the more the more alike that one is."""
        known = self._of_space(task)
        own = self._goodness(task, space, candidates, known)
        if not known:
            return own
        opinions = [self._goodness(task, space, candidates, [one]) for one in known]
        weights = [self.affinity(task, one.task, self.descriptors) for one in known]
        trust = np.array(weights) ** _POWER
        said = np.array(opinions).T @ (trust / trust.sum())
        share = _LARGEST_SHARE * max(weights)
        return np.asarray((1.0 - share) * own + share * said)

    def _goodness(
        self, task: Task, space: SearchSpace, candidates: Sequence[Architecture], heard: Sequence[MeasuredTask]
    ) -> Array:  # (Q,)
        related = self.version.related(task, space, heard)
        forecast = self.version.adapt(task, space, SupportSet(), related).predict(candidates)
        return _standardised(task.metric.sign * forecast.mean)

    def _of_space(self, task: Task) -> list[MeasuredTask]:
        related = [one for one in self.earlier if are_related(task, one.task)]
        return [one for one in related if len(one.measured) >= MIN_OBSERVATIONS]


def _standardised(values: Array) -> Array:
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-12))
