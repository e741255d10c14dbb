"""What other tasks of the same search space say of architectures.

Where one of them has measured an architecture, that value counts as far as the task is reliable; for the rest a kernel ridge
regression on a few hundred of their architectures answers (subset of regressors; Rasmussen & Williams, "Gaussian Processes for
Machine Learning", 2006, chapter 8), one set of landmarks for all, so that dozens of tasks cost hardly more than one. Everything
is in standardised goodness of each task, so that what is good in one of them points the same way as what is good in another.

Notation: Q asked architectures, A measured ones, L landmarks, R related tasks, W columns of a view.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from predictor.architecture import Architecture
from predictor.surrogate.standardisation import Standardisation
from predictor.tasks import MeasuredTask, Metric, SupportSet, Task

Views = Callable[[Sequence[Architecture]], tuple[Tensor, ...]]
"""Architectures as tensors, each (Q, W), that do not depend on any task."""

MIN_OBSERVATIONS = 20
"""What a task must have measured before it is asked for its opinion."""

MAX_RELATED = 32
_MAX_LANDMARKS = 512
_MAX_KNOWN = 20_000  # architectures, the most observed task's first
_MAX_FITTED = 2_000  # architectures of one task
_RIDGES = tuple(10.0**power for power in np.arange(-3.0, 2.1, 0.5))
_JITTER = 1e-6
_LARGEST_SHARE = 0.7
_OTHER_METRIC = 0.1  # how much a task of another metric counts
_UNSHRUNK = 0.1  # share of the unshrunk opinion among those of related tasks
_POWER_OF_AGREEMENT = 4
_BENEFIT_OF_DOUBT = 0.3  # agreement counts as if a task of this weight agreed fully
_MOST_COMPARED = 2_000  # architectures
_MOST_PAIRS = 4  # of tasks, to tell how far two metrics go together
_LIMIT = 5.0  # standardised units
_COSTS = frozenset({"latency", "energy", "size", "throughput", "training_time"})


def is_cost(metric: Metric) -> bool:
    """Whether a metric tells what a network takes; the others tell how good it is."""
    return metric.family in _COSTS


def are_related(first: Task, second: Task) -> bool:
    """Whether one task's values may tell the other's: both of one search space, and both of cost or both of quality."""
    same_side = is_cost(first.metric) == is_cost(second.metric)
    return first.search_space == second.search_space and same_side and first != second


@dataclass(frozen=True)
class RelatedTasks:
    """Opinions of related tasks. Immutable; may be called from any thread."""

    landmarks: tuple[Tensor, ...]  # (L, W) each, placed
    centers: tuple[Tensor, ...]  # (W,) each
    scales: Tensor  # (views,)
    weights: Tensor  # (1 + L, R), the first row constant
    reliability: Tensor  # (R,) which share of a task's variance the others of its own architectures foretell, 0 to 1
    agreement: (
        Tensor  # (R,) how much its opinion is that of the others, 0 to 1: an outlier tells least of yet another task
    )
    closest: Tensor  # (R,) shares of those that measure the same metric, if there are any; adds up to 1
    measured: Tensor  # (A, R) standardised goodness with some of its noise taken off, NaN where there is none
    surprise: Tensor  # (A,) what was taken off the closest: it may be no noise, or one that tasks share
    hashes: tuple[str, ...]  # (A,)

    @classmethod
    def of(cls, tasks: Sequence[MeasuredTask], views: Views, asked: Task | None = None) -> RelatedTasks | None:
        """From other tasks' measurements; None if none of them has measured enough. Those of another metric than the asked
        task's count for less."""
        large_enough = [one for one in tasks if len(one.measured) >= MIN_OBSERVATIONS]
        kinships = _kinships(asked, large_enough)
        closest_first = sorted(
            large_enough, key=lambda one: (-kinships[one.task.metric.name], -len(one.measured), one.task.name)
        )
        chosen = closest_first[:MAX_RELATED]
        if not chosen:
            return None
        known: dict[str, Architecture] = {}
        for one in chosen:
            known.update((architecture.hash, architecture) for architecture in one.measured.architectures)
        known = dict(itertools.islice(known.items(), _MAX_KNOWN))
        place = {key: number for number, key in enumerate(known)}
        total = torch.zeros(len(known), len(chosen))
        count = torch.zeros_like(total)
        for column, one in enumerate(chosen):
            goodness = Standardisation.warped(one.task, one.measured.targets).forward(one.measured.targets)
            places = torch.tensor([place.get(architecture.hash, -1) for architecture in one.measured.architectures])
            kept = (places >= 0).nonzero()[:, 0]
            values = torch.from_numpy(goodness).float().clamp(-_LIMIT, _LIMIT)[kept]
            total[:, column].index_add_(0, places[kept], values)
            count[:, column].index_add_(
                0, places[kept], torch.ones(len(kept))
            )  # a network may be in it in several notations
        raw = total / count
        found = cls._fitted(list(known.values()), raw, views)
        kinship = torch.tensor(_without_majorities(asked, chosen, kinships))
        agreement = _agreement(found.measured, kinship.square() * found.reliability)
        found = replace(found, reliability=found.reliability * kinship, agreement=agreement)
        closest = found._trust * (kinship == kinship.max())
        closest = closest / closest.sum()
        return replace(found, closest=closest, surprise=(raw - found.measured).nan_to_num() @ closest)

    @classmethod
    def _fitted(cls, architectures: Sequence[Architecture], measured: Tensor, views: Views) -> RelatedTasks:
        order = torch.randperm(len(architectures), generator=torch.Generator().manual_seed(0))
        marks = views([architectures[row] for row in order[:_MAX_LANDMARKS].tolist()])
        centers = tuple(view.mean(0) for view in marks)
        scales = torch.stack([_typical_distance(view) for view in marks])
        landmarks = tuple((v - c) / s for v, c, s in zip(marks, centers, scales, strict=True))
        hashes = tuple(one.hash for one in architectures)
        nothing = torch.zeros(0)
        plain = cls(landmarks, centers, scales, torch.zeros(0, 0), nothing, nothing, nothing, measured, nothing, hashes)
        kernel = _matern(landmarks, landmarks).double()
        kernel.diagonal().add_(_JITTER)
        factor = torch.linalg.cholesky(kernel)
        likeness = plain._likeness(architectures, views)  # (A, L)
        features = torch.linalg.solve_triangular(factor, likeness.double().T, upper=False).T
        columns = []
        for column in range(measured.shape[1]):
            rows = order[~measured[order, column].isnan()][:_MAX_FITTED]
            columns.append(_ridge(features[rows], measured[rows, column].double()))
        constants, sizes, reliability = (torch.stack(part, dim=-1).float() for part in zip(*columns, strict=True))
        weights = torch.linalg.solve_triangular(factor.T.float(), sizes, upper=True)  # (L, R)
        weights = torch.cat([constants[None], weights])
        foretold = (weights[0] + likeness @ weights[1:]).clamp(-_LIMIT, _LIMIT)
        shrunk = torch.lerp(foretold, measured, reliability)
        ones, nothing = torch.ones_like(reliability), torch.zeros(len(hashes))
        return cls(landmarks, centers, scales, weights, reliability, ones, ones / len(ones), shrunk, nothing, hashes)

    def __call__(self, architectures: Sequence[Architecture], views: Views) -> Tensor:  # (Q, R)
        """Standardised goodness of architectures by every related task."""
        rows = torch.tensor([self._place.get(one.hash, -1) for one in architectures], dtype=torch.long)
        opinions = self.measured[rows.clamp(min=0)].clone()
        opinions[rows < 0] = math.nan
        asked = opinions.isnan().any(1).nonzero()[:, 0]
        if len(asked):
            likeness = self._likeness([architectures[row] for row in asked.tolist()], views)
            answers = (self.weights[0] + likeness @ self.weights[1:]).clamp(-_LIMIT, _LIMIT)
            opinions[asked] = torch.where(opinions[asked].isnan(), answers, opinions[asked])
        return opinions

    def mean(self, opinions: Tensor) -> Tensor:  # (Q, R) -> (Q,)
        """One opinion of all, in which those count for more that are more reliable."""
        return opinions @ (self._trust * self.reliability)  # what is unreliable should move little

    def contrasts(self, opinions: Tensor) -> Tensor:  # (Q, R) -> (Q, R)
        """How each differs from the mean of all, times the root of what it counts: inner products are the covariance of
        architectures over tasks, as far as these are a fair draw of tasks."""
        trust = self._trust
        differences = opinions - (opinions @ trust)[:, None]
        return differences * (trust / (1.0 - trust.square().sum()).clamp(min=0.1)).sqrt()

    def unshrunk(self, architectures: Sequence[Architecture], opinions: Tensor) -> Tensor:  # (Q,), (Q, R) -> (Q,)
        """One opinion of the closest with nothing taken off: what looked like noise in them may turn out to be none."""
        rows = torch.tensor([self._place.get(one.hash, -1) for one in architectures], dtype=torch.long)
        surprise = torch.cat([self.surprise, torch.zeros(1)])[rows]  # the last row: architectures that nobody measured
        return opinions @ self.closest + surprise

    @property
    def share(self) -> float:
        """How much all of them count beside a surrogate before anything tells who is right."""
        return _LARGEST_SHARE * self.trust

    @property
    def trust(self) -> float:
        """How far the most reliable one can be relied on, 0 to 1."""
        return float(self.reliability.max()) ** 2

    @property
    def shares(self) -> tuple[float, ...]:  # (2 + R,)
        """How much the surrogate counts, all tasks unshrunk, and each of them, before anything tells who is right."""
        each = (self.share * (1.0 - _UNSHRUNK) * self._trust).tolist()
        return 1.0 - self.share, self.share * _UNSHRUNK, *each

    @property
    def _trust(self) -> Tensor:  # (R,) adds up to 1
        weights = self.reliability.square() * self.agreement**_POWER_OF_AGREEMENT + _JITTER
        return weights / weights.sum()

    def _likeness(self, architectures: Sequence[Architecture], views: Views) -> Tensor:  # (Q, L)
        found = zip(views(architectures), self.centers, self.scales, strict=True)
        return _matern(tuple((view - center) / scale for view, center, scale in found), self.landmarks)

    @property
    def _place(self) -> Mapping[str, int]:
        known: Mapping[str, int] | None = self.__dict__.get("_places")
        if known is None:
            known = {key: row for row, key in enumerate(self.hashes)}
            object.__setattr__(self, "_places", known)
        return known

    def tensors(self) -> dict[str, Tensor]:
        """Everything, for safetensors."""
        named = {f"landmarks.{number}": view for number, view in enumerate(self.landmarks)}
        named |= {f"centers.{number}": center for number, center in enumerate(self.centers)}
        digits = torch.frombuffer(bytearray(bytes.fromhex("".join(self.hashes))), dtype=torch.uint8)
        is_measured = ~self.measured.isnan()  # stored numbers have to be finite
        return named | {
            "scales": self.scales,
            "weights": self.weights,
            "reliability": self.reliability,
            "agreement": self.agreement,
            "closest": self.closest,
            "measured": self.measured.nan_to_num(),
            "surprise": self.surprise,
            "is_measured": is_measured.to(torch.uint8),
            "hashes": digits,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> RelatedTasks:
        """From what `tensors` returned; raises KeyError, TypeError or ValueError if it is something else."""
        num_views = len(tensors["scales"])
        landmarks, centers = (
            tuple(tensors[f"{name}.{number}"] for number in range(num_views)) for name in ("landmarks", "centers")
        )
        digits = bytes(tensors["hashes"].tolist()).hex()
        hashes = tuple(digits[start : start + 32] for start in range(0, len(digits), 32))
        scales, weights, reliability, agreement, measured = (
            tensors[name] for name in ("scales", "weights", "reliability", "agreement", "measured")
        )
        closest = tensors["closest"]
        for name, one in (("agreement", agreement), ("closest", closest)):
            if one.shape != reliability.shape:
                raise ValueError(f"expected {name} of shape {tuple(reliability.shape)}, got {tuple(one.shape)}")
        num_rows_of = {"weights": 1 + len(tensors["landmarks.0"]), "measured": len(hashes), "is_measured": len(hashes)}
        for name, num_rows in num_rows_of.items():
            expected, found = (num_rows, len(reliability)), tuple(tensors[name].shape)
            if found != expected:
                raise ValueError(f"expected {name} of shape {expected}, got {found}")
        measured, surprise = measured.masked_fill(tensors["is_measured"] == 0, math.nan), tensors["surprise"]
        if surprise.shape != (len(hashes),):
            raise ValueError(f"expected a surprise of shape {(len(hashes),)}, got {tuple(surprise.shape)}")
        return cls(landmarks, centers, scales, weights, reliability, agreement, closest, measured, surprise, hashes)


def _kinships(asked: Task | None, tasks: Sequence[MeasuredTask]) -> dict[str, float]:
    """How much tasks of each metric count: fully if it is the asked task's, else as far as the two metrics went together where
    other tasks measured both of the same architectures, data set and device."""
    names = {one.task.metric.name for one in tasks}
    if asked is None:
        return dict.fromkeys(names, 1.0)
    places = {(one.task.metric.name, one.task.dataset, one.task.device): one for one in tasks}
    found = dict.fromkeys(names, _OTHER_METRIC)
    for name in names - {asked.metric.name}:
        pairs = [
            (one, places[asked.metric.name, dataset, device])
            for (metric, dataset, device), one in places.items()
            if metric == name and (asked.metric.name, dataset, device) in places
        ]
        if pairs:
            likeness = [_likeness_of_values(first.measured, second.measured) for first, second in pairs[:_MOST_PAIRS]]
            signs = pairs[0][0].task.metric.sign * pairs[0][1].task.metric.sign
            found[name] = max(_OTHER_METRIC, signs * math.fsum(likeness) / len(likeness))
    found[asked.metric.name] = 1.0
    return found


def _without_majorities(
    asked: Task | None, tasks: Sequence[MeasuredTask], kinships: Mapping[str, float]
) -> list[float]:
    """How much each task counts: other metrics of one data set and device count as one between them, however many they are."""
    places = [(one.task.dataset, one.task.device) for one in tasks]
    is_same = [asked is None or one.task.metric.name == asked.metric.name for one in tasks]
    others = Counter(place for place, same in zip(places, is_same, strict=True) if not same)
    return [
        kinships[one.task.metric.name] / (1.0 if same else math.sqrt(others[place]))
        for one, place, same in zip(tasks, places, is_same, strict=True)
    ]


def _likeness_of_values(first: SupportSet, second: SupportSet) -> float:
    """Spearman's correlation over architectures that both have; 0 where there are few."""
    values = {one.hash: value for one, value in zip(first.architectures, first.values, strict=True)}
    pairs = [
        (values[one.hash], value)
        for one, value in zip(second.architectures, second.values, strict=True)
        if one.hash in values
    ][:_MOST_COMPARED]
    if len(pairs) < MIN_OBSERVATIONS:
        return 0.0
    ranks = torch.tensor(pairs, dtype=torch.float64).argsort(dim=0).argsort(dim=0).double()
    return float(torch.corrcoef(ranks.T)[0, 1].nan_to_num())


def _agreement(opinions: Tensor, weights: Tensor) -> Tensor:  # (A, R) NaN where there is none, (R,) -> (R,)
    """Weighted mean over the other tasks of the correlation with them where both have an opinion; 1 where there is no other."""
    rows = torch.randperm(len(opinions), generator=torch.Generator().manual_seed(1))[:_MOST_COMPARED]
    opinions = opinions[rows]
    known = ~opinions.isnan()
    found = torch.ones(len(weights))
    for column in range(len(weights)):
        both = known & known[:, column, None]
        others = torch.arange(len(weights)) != column
        enough = others & (both.sum(0) >= MIN_OBSERVATIONS)
        if bool((weights[enough] > 0).any()):
            correlations = torch.stack(
                [_correlation(opinions[both[:, one]][:, [column, one]]) for one in enough.nonzero()[:, 0]]
            )
            agreed = (weights[enough] * correlations).sum() + _BENEFIT_OF_DOUBT
            found[column] = agreed / (weights[enough].sum() + _BENEFIT_OF_DOUBT)
    return found


def _correlation(pairs: Tensor) -> Tensor:  # (A, 2) -> ()
    """What of it is positive; 0 where one of them does not vary."""
    return torch.corrcoef(pairs.T)[0, 1].nan_to_num().clamp(min=0.0)


def _typical_distance(view: Tensor) -> Tensor:
    """Root mean squared distance between landmarks; 1 where they are all alike."""
    spread = 2.0 * (view - view.mean(0)).square().mean(0).sum()  # without columns: 0
    return torch.where(spread > 1e-9, spread.sqrt(), torch.ones(()))


def _matern(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:  # (Q, W) each, (L, W) each -> (Q, L)
    """Sum over views of Matérn kernels of smoothness 3/2."""
    total = torch.zeros(len(first[0]), len(second[0]))
    for one, other in zip(first, second, strict=True):
        if one.shape[1]:
            reach = math.sqrt(3.0) * torch.cdist(one, other)
            total.addcmul_(reach + 1.0, torch.exp(-reach))
    return total


def _ridge(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # (A, L), (A,) -> (), (L,), ()
    """Constant, weights and the share of the variance that is foretold, the ridge chosen by generalised cross-validation (Golub, Heath & Wahba, Technometrics 1979)."""
    constant = targets.mean()
    spread, axes = torch.linalg.eigh(inputs.T @ inputs)
    spread, turned = spread.clamp(min=0.0), inputs @ axes
    seen = turned.T @ (targets - constant)
    best: tuple[float, Tensor] = (math.inf, torch.zeros_like(seen))
    for ridge in _RIDGES:
        weights = seen / (spread + ridge)
        free = 1.0 - float((spread / (spread + ridge)).sum() + 1.0) / len(targets)
        error = float((targets - constant - turned @ weights).square().mean())
        score = error / free**2 if free > 0 else math.inf
        if score < best[0]:
            best = (score, axes @ weights)
    variance = float(targets.var(correction=0))
    reliability = 1.0 - best[0] / variance if variance > 0 else 0.0
    return constant, best[1], torch.tensor(reliability).clamp(0.0, 1.0)
