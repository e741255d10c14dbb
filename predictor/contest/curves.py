"""Contestants that know what smaller budgets said of every architecture: learning curves.

Notation: Q architectures, F fidelities, D decision features of a space.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.baselines.gaussian_process import WIDE, process_forecaster
from predictor.baselines.linear_fits import LineFit
from predictor.baselines.standardised import Forecaster, StandardisedBaseline
from predictor.benchmarks.base import BenchmarkTask
from predictor.contest.contestants import Contestant, Kind, always, baseline_fingerprint
from predictor.contest.fingerprints import digest
from predictor.errors import BenchmarkError
from predictor.search_spaces.base import SearchSpace
from predictor.surrogate.hyperparameters import GPInputs
from predictor.tasks import SupportSet, Task

Array = NDArray[np.float64]
_SLOPE, _SLOPE_STD = 0.8, 0.3


class Curves:
    """What smaller budgets said, in standard scores over the whole table, from the smallest budget to the largest."""

    def __init__(self, measured: BenchmarkTask, fidelities: Sequence[str]) -> None:
        """The named fidelities of a table.

        Raises:
            BenchmarkError: if the table has no such fidelity or does not know it of every architecture.
        """
        missing = [name for name in fidelities if name not in measured.fidelities]
        if missing or not fidelities:
            raise BenchmarkError(
                f"{measured.task.name}: expected fidelities out of {', '.join(measured.fidelities)}, got {list(fidelities)}"
            )
        ordered = sorted(fidelities, key=lambda name: measured.fidelity_levels[name])
        values = np.stack([measured.fidelities[name] for name in ordered], axis=1)  # (R, F)
        if not np.isfinite(values).all():
            raise BenchmarkError(f"{measured.task.name}: expected every architecture's {ordered}, found gaps")
        scores = (values - values.mean(axis=0)) / values.std(axis=0)
        self._rows = dict(zip(map(_key, measured.architectures), measured.task.metric.sign * scores, strict=True))

    def of(self, architectures: Sequence[Architecture]) -> Array:  # (Q,) -> (Q, F)
        """Their curves."""
        return np.array([self._rows[_key(one)] for one in architectures])


def _key(architecture: Architecture) -> str:
    """Tables measure one network in several notations, each with a curve of its own."""
    return architecture.genotype or architecture.hash


class LastFidelity(StandardisedBaseline):
    """A line in what the largest of the smaller budgets said; without observations, its ranking."""

    name = "last fidelity"
    min_observations = 0

    def __init__(self, curves: Curves) -> None:
        self._curves = curves

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        last = self._curves.of(support.architectures)[:, -1] if len(support) else np.zeros(0)
        line = LineFit.fit(last, goodness, _SLOPE, _SLOPE_STD)
        return lambda architectures: line.predict(self._curves.of(architectures)[:, -1])


class CurveProcess(StandardisedBaseline):
    """A Gaussian process on curves and one-hot decisions around the last value's line, weights by marginal likelihood."""

    name = "GP on curve and decisions"

    def __init__(self, curves: Curves) -> None:
        self._curves = curves

    def _learned(self, task: Task, space: SearchSpace, support: SupportSet, goodness: Array) -> Forecaster:
        line = LineFit.fit(self._curves.of(support.architectures)[:, -1], goodness, _SLOPE, _SLOPE_STD)

        def inputs(architectures: Sequence[Architecture]) -> GPInputs:
            curves = self._curves.of(architectures)
            decisions = np.array([space.features(one) for one in architectures], np.float64)
            views = curves, decisions.reshape(len(architectures), -1)
            mean, _ = line.predict(curves[:, -1])
            return GPInputs(torch.from_numpy(mean)[:, None], tuple(map(torch.from_numpy, views)))

        return process_forecaster(inputs, support, goodness, WIDE)


def curve_contestants(measured: BenchmarkTask, fidelities: Sequence[str]) -> list[Contestant]:
    """Those that know these fidelities of every architecture and nothing else.

    Raises:
        BenchmarkError: see `Curves`.
    """
    curves = Curves(measured, fidelities)
    kinds: dict[Kind, StandardisedBaseline] = {"ranking": LastFidelity(curves), "curve": CurveProcess(curves)}
    return [
        Contestant(
            one.name, kind, digest(baseline_fingerprint(one, ""), *fidelities), one.min_observations, always(one)
        )
        for kind, one in kinds.items()
    ]
