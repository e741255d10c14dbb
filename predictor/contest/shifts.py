"""Architectures unlike those that were measured: do out-of-distribution scores and spreads tell where forecasts go wrong?

Two shifts. A part of a space is measured and the whole of it is asked about; or a task of the open space `graph` has measured
graphs of one kind and is asked about others: other spaces', some whose operations nobody knows, giant ones.

Notation: S support architectures, Q asked ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture, Operation
from predictor.benchmarks.base import BenchmarkTask
from predictor.contest.episodes import Draw
from predictor.contest.scores import association
from predictor.errors import BenchmarkError
from predictor.prediction import Predictions

Array = NDArray[np.float64]
_NUM_BUCKETS = 5
_GIANT = (200, 600)  # fewest and most operations
_SKIP_RATE = 0.2


def _convolutions(architecture: Architecture) -> list[Operation]:
    return [one for one in architecture.operations if one.kind == "conv"]


PARTS: Mapping[str, Callable[[Architecture], bool]] = {
    "the whole space": lambda _cell: True,
    "at most one convolution": lambda cell: len(_convolutions(cell)) <= 1,
    "no convolution larger than 1 × 1": lambda cell: all(one.get("kernel_size") == 1 for one in _convolutions(cell)),
}
"""What is measured; the first is there to compare with."""


def draw_from_part(
    measured: BenchmarkTask, part: Callable[[Architecture], bool], num_observations: int, num_asked: int, seed: int
) -> Draw:
    """Different networks of that part as support set, any others as asked ones; the same for the same seed.

    Raises:
        BenchmarkError: if the part has fewer networks.
    """
    order = np.random.default_rng([seed, zlib.crc32(measured.task.name.encode())]).permutation(len(measured)).tolist()
    known: dict[str, int] = {}
    for row in order:
        if len(known) == num_observations:
            break
        if part(measured.architectures[row]):
            known.setdefault(measured.architectures[row].hash, row)
    if len(known) < num_observations:
        raise BenchmarkError(f"{measured.task.name}: expected {num_observations} networks to measure, got {len(known)}")
    asked = [row for row in order if measured.architectures[row].hash not in known][:num_asked]
    return Draw(measured, np.array(list(known.values()), np.int64), np.array(asked, np.int64))


@dataclass(frozen=True, eq=False)
class Answers:
    """What was said of Q architectures, and what came of it; in standard deviations of the task's values."""

    ood_score: Array  # (Q,)
    std: Array  # (Q,)
    width: Array  # (Q,) of the 90 % interval
    error: Array  # (Q,) absolute; NaN where nothing was measured
    inside: Array  # (Q,) 1 where the value is inside the interval, 0 where it is not; NaN where nothing was measured

    @classmethod
    def of(cls, predictions: Predictions, spread: float, truth: Array | None = None) -> Answers:
        """From forecasts, the standard deviation of the task's values, and values where there are some."""
        error = inside = np.full(len(predictions), np.nan)
        if truth is not None:
            error = np.abs(truth - predictions.mean) / spread
            inside = ((predictions.lower <= truth) & (truth <= predictions.upper)).astype(float)
        width = (predictions.upper - predictions.lower) / spread
        return cls(predictions.ood_score, predictions.std / spread, width, error, inside)

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """All of them, in order."""
        return cls(*(np.concatenate([getattr(one, field.name) for one in parts]) for field in fields(cls)))

    def select(self, rows: NDArray[np.bool_]) -> Answers:
        """These of them."""
        return Answers(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.ood_score)

    def warning(self, by: str) -> float:
        """Spearman's ρ of `ood_score` or `std` with the error."""
        return association(getattr(self, by), self.error)


def buckets(answers: Answers, by: str = "ood_score") -> list[Answers]:
    """Fifths by a column, ascending. Equal values are never parted, so there may be fewer."""
    values = getattr(answers, by)
    edges = np.unique(np.quantile(values, np.arange(1, _NUM_BUCKETS) / _NUM_BUCKETS))
    place = np.searchsorted(edges, values)
    return [answers.select(place == number) for number in range(len(edges) + 1) if (place == number).any()]


def told_apart(strange: Array, familiar: Array) -> float:
    """In which share of pairs the strange one has the larger score, ties counted half (area under the ROC curve)."""
    apart = np.sign(np.subtract.outer(strange, familiar))
    return float((apart.mean() + 1.0) / 2.0)


def with_unknown_kinds(architecture: Architecture, share: float, rng: np.random.Generator) -> Architecture:
    """The same graph in which that share of the operations, at least one, is of kinds that nobody knows."""
    inner = [place for place, one in enumerate(architecture.operations) if one.kind not in ("input", "output")]
    chosen = set(rng.permutation(inner)[: max(round(share * len(inner)), 1)].tolist())
    operations = [
        Operation.of(f"mystery_{one.kind}") if place in chosen else one
        for place, one in enumerate(architecture.operations)
    ]
    return replace(architecture, operations=tuple(operations), genotype=None)


def giant(rng: np.random.Generator) -> Architecture:
    """A chain of hundreds of convolutions with some connections that skip ahead."""
    count = int(rng.integers(_GIANT[0], _GIANT[1] + 1))
    operations = [Operation.of("conv", kernel_size=int(rng.choice((1, 3))), stride=1) for _ in range(count)]
    chain = [(place, place + 1) for place in range(count + 1)]
    skips = [
        (place, min(place + int(rng.integers(2, 10)), count + 1)) for place in range(count) if rng.random() < _SKIP_RATE
    ]
    edges = dict.fromkeys([*chain, *skips])
    return Architecture.build([Operation.of("input"), *operations, Operation.of("output")], edges)


def nonsense(
    familiar: Sequence[Architecture], count: int, rng: np.random.Generator
) -> dict[str, tuple[Architecture, ...]]:
    """Graphs of which nobody measured anything, made of familiar ones or of nothing."""
    chosen = [familiar[place] for place in rng.integers(len(familiar), size=count).tolist()]
    strange = partial(with_unknown_kinds, rng=rng)
    return {
        "a third of the operations of unknown kinds": tuple(strange(one, 1 / 3) for one in chosen),
        "all operations of unknown kinds": tuple(strange(one, 1.0) for one in chosen),
        "chains of hundreds of operations": tuple(giant(rng) for _ in range(max(count // 10, 2))),
    }
