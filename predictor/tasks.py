"""Task, Metric, Observation, SupportSet: what a surrogate adapts to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.errors import InvalidMetricError, InvalidSupportSetError
from predictor.search_spaces.base import SearchSpace

Direction = Literal["maximize", "minimize"]

METRIC_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("latency", ("latency", "_ms", "inference")),
    ("energy", ("energy", "_mj", "kwh", "co2")),
    ("size", ("params", "flops", "macs", "memory", "size")),
    ("throughput", ("throughput", "img_s", "fps")),
    ("training_time", ("train_time", "train_seconds", "training")),
    ("loss", ("loss", "perplexity", "error", "nats", "rmse", "mae")),
    ("accuracy", ("acc", "top1", "top5", "map", "iou", "ssim", "auc", "f1", "perf", "score")),
)
"""Family of a metric and the pieces of text in its name that tell it, first match wins."""

_TOLD_AS = {"loss": "accuracy", "other": "accuracy", "size": "latency"}

LOGARITHMIC_FAMILIES = frozenset({"latency", "energy", "size", "throughput", "training_time"})
"""Families whose positive values differ by factors rather than by amounts."""


@dataclass(frozen=True)
class Metric:
    """What is measured: its name, its unit and which way is better.

    Raises:
        InvalidMetricError: if the name is empty or the direction is neither maximize nor minimize.
    """

    name: str
    unit: str
    direction: Direction

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidMetricError("expected a metric's name to be non-empty text, got none")
        if self.direction not in ("maximize", "minimize"):
            raise InvalidMetricError(f"expected direction to be maximize or minimize, got {self.direction!r}")

    @property
    def sign(self) -> float:
        """+1 when larger values are better, -1 when smaller ones are."""
        return 1.0 if self.direction == "maximize" else -1.0

    def clipped(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values within what the unit allows: percentages between 0 and 100, fractions between 0 and 1."""
        whole = {"%": 100.0, "percent": 100.0, "fraction": 1.0}.get(self.unit)
        return values if whole is None else np.clip(values, 0.0, whole)

    @property
    def percent_per_unit(self) -> float:
        """100 for accuracies that are told as a fraction, 1 for everything else."""
        return 100.0 if self.family == "accuracy" and self.unit in ("fraction", "ratio") else 1.0

    @property
    def family(self) -> str:
        """What the metric is about; `other` where its name and unit do not tell."""
        text = f"{self.name} {self.unit}".lower()
        return next((family for family, hints in METRIC_FAMILIES if any(hint in text for hint in hints)), "other")

    @property
    def told_as(self) -> str:
        """Its family, or where hardly any task of meta-training has that one whose goodness goes with it: an error rate's is that of
        the accuracy that it leaves. What an unknown metric that is minimised tells, a cost or an error, nobody knows."""
        if self.family == "other" and self.direction == "minimize":
            return self.family
        return _TOLD_AS.get(self.family, self.family)


@dataclass(frozen=True)
class Task:
    """Search space × data set × metric (× device)."""

    search_space: str
    dataset: str
    metric: Metric
    device: str | None = None

    @property
    def name(self) -> str:
        """Readable and unique among tasks."""
        parts = [self.search_space, self.dataset, self.metric.name]
        return "/".join([*parts, self.device] if self.device else parts)


@dataclass(frozen=True)
class Observation:
    """One measured value of one architecture, in the task's metric unit.

    `fidelity` is the training budget behind the value as a fraction of the full one (1.0 = final). `seed` tells repeated
    measurements apart. `std_error` is the standard deviation of this value's own error where that is known, in the same
    unit: of a mean of several runs, say, or of accuracy on a small test set.

    Raises:
        InvalidSupportSetError: if the value is not finite, the fidelity is outside (0, 1], or the error is negative or not
            finite.
    """

    architecture: Architecture
    value: float
    seed: int | None = None
    fidelity: float = 1.0
    std_error: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise InvalidSupportSetError(f"expected an observation's value to be finite, got {self.value}")
        if not 0.0 < self.fidelity <= 1.0:
            raise InvalidSupportSetError(f"expected a fidelity in (0, 1], got {self.fidelity}")
        if self.std_error is not None and not _is_error(self.std_error):
            raise InvalidSupportSetError(
                f"expected an observation's std_error to be finite and not negative, got {self.std_error}"
            )


def _is_error(size: float) -> bool:
    return math.isfinite(size) and size >= 0.0


@dataclass(frozen=True)
class SupportSet:
    """What a surrogate adapts on: full-fidelity observations of one task, repeated measurements averaged.

    May be empty: then the surrogate answers from what it meta-learned alone. `std_errors` holds what was told of the errors
    of the values themselves; noise that nobody told of, such as that of other seeds, is learned.

    Raises:
        InvalidSupportSetError: if lengths differ, a value is not finite, or an error is negative or not finite.
    """

    architectures: tuple[Architecture, ...] = ()
    values: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()  # how many measurements each value is the mean of
    std_errors: tuple[float, ...] = ()  # known error of each value, 0 where unknown; none given: unknown of all

    def __post_init__(self) -> None:
        if not self.std_errors:
            object.__setattr__(self, "std_errors", (0.0,) * len(self.architectures))
        if not len(self.architectures) == len(self.values) == len(self.counts):
            raise InvalidSupportSetError(
                "expected as many values and counts as architectures, got "
                f"{len(self.architectures)} architectures, {len(self.values)} values, {len(self.counts)} counts"
            )
        if len(self.std_errors) != len(self.architectures):
            raise InvalidSupportSetError(
                f"expected as many std_errors as architectures, got {len(self.std_errors)} and {len(self.architectures)}"
            )
        if not all(math.isfinite(value) for value in self.values):
            raise InvalidSupportSetError("expected finite values, got NaN or infinity")
        if not all(map(_is_error, self.std_errors)):
            raise InvalidSupportSetError("expected finite std_errors that are not negative, got another")

    @classmethod
    def of(cls, observations: Iterable[Observation]) -> SupportSet:
        """Groups full-fidelity observations by architecture; lower fidelities are left out.

        Errors of repeats are taken as independent, and one that was not told as 0.
        """
        groups: dict[str, list[Observation]] = {}
        for observation in observations:
            if observation.fidelity == 1.0:
                groups.setdefault(observation.architecture.hash, []).append(observation)
        members = [groups[key] for key in sorted(groups)]
        return cls(
            tuple(group[0].architecture for group in members),
            tuple(math.fsum(o.value for o in group) / len(group) for group in members),
            tuple(len(group) for group in members),
            tuple(math.hypot(*((one.std_error or 0.0) / len(group) for one in group)) for group in members),
        )

    def select(self, rows: Iterable[int]) -> SupportSet:
        """These members, in that order."""
        chosen = list(rows)
        return SupportSet(
            tuple(self.architectures[row] for row in chosen),
            tuple(self.values[row] for row in chosen),
            tuple(self.counts[row] for row in chosen),
            tuple(self.std_errors[row] for row in chosen),
        )

    def __len__(self) -> int:
        return len(self.architectures)

    def __iter__(self) -> Iterator[tuple[Architecture, float]]:
        return iter(zip(self.architectures, self.values, strict=True))

    @property
    def targets(self) -> NDArray[np.float64]:  # (S,)
        """The values as an array."""
        return np.asarray(self.values, dtype=np.float64)

    @property
    def hash(self) -> str:
        """32 hexadecimal digits that name exactly these values of these architectures, with the errors that are known."""
        digest = hashlib.sha256()
        members = zip(self.architectures, self.values, self.counts, self.std_errors, strict=True)
        for architecture, value, count, std_error in members:
            told = f" {std_error!r}" if std_error else ""  # so that sets without errors keep the hash they always had
            digest.update(f"{architecture.hash} {value!r} {count}{told}\n".encode())
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class MeasuredTask:
    """A task with its space and everything that was measured of it."""

    task: Task
    space: SearchSpace
    measured: SupportSet


def lower_fidelities(task: Task, space: SearchSpace, observations: Iterable[Observation]) -> list[MeasuredTask]:
    """What smaller budgets said, each budget as a task of its own that is related to this one."""
    levels: dict[float, list[Observation]] = {}
    for one in observations:
        if one.fidelity < 1.0:
            levels.setdefault(one.fidelity, []).append(replace(one, fidelity=1.0))
    return [
        MeasuredTask(
            replace(task, dataset=f"{task.dataset} at {level:.6g} of the budget"), space, SupportSet.of(members)
        )
        for level, members in sorted(levels.items())
    ]
