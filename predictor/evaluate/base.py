"""The interface of evaluators: what an architecture is worth, by training it, looking it up, or asking somebody else.

Metrics have their unit in the name: accuracy_percent, latency_ms, train_seconds, params, flops (multiply-accumulates).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from predictor.architecture import Architecture
from predictor.errors import EvaluationError, FailedEvaluationError

MAX_METRICS = 256


@dataclass(frozen=True)
class Measured:
    """What is known on a share of the full budget (1: all of it).

    Raises:
        FailedEvaluationError: if a value is not finite.
    """

    fidelity: float
    metrics: Mapping[str, float]
    cost_seconds: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.fidelity <= 1.0:
            raise FailedEvaluationError(f"expected a fidelity in (0, 1], got {self.fidelity}")
        for name, value in self.metrics.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise FailedEvaluationError(f"expected {name[:80]} to be a finite number, got {value!r:.80}")


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation said in the end, and on the way there; `stopped_early`: what is final is of a lower fidelity."""

    final: Measured
    curve: tuple[Measured, ...] = ()
    stopped_early: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)  # for people: device, data set, from where it went on

    def value(self, metric: str, unit: str) -> float:
        """The final value of a metric, in a task's unit.

        Raises:
            EvaluationError: if nothing of that name and unit was measured.
        """
        return value_of(self.final, metric, unit)


class Reporter(ABC):
    """Whom an evaluator tells how far it is. Called from the thread that evaluates."""

    @abstractmethod
    def measured(self, measured: Measured) -> bool:
        """Takes an intermediate result; whether to go on."""

    @abstractmethod
    def keep_alive(self) -> None:
        """Called again and again between results; raises `Interrupted` where the evaluation is to end at once."""


class Interrupted(Exception):  # noqa: N818  no error: somebody asked for it
    """The evaluation was asked to end; nothing is lost but time."""


class Silent(Reporter):
    """Lets every evaluation run to its end."""

    def measured(self, measured: Measured) -> bool:
        return True

    def keep_alive(self) -> None:
        return


class Evaluator(ABC):
    """Evaluates architectures of one search space. One evaluation at a time in a thread; different threads may evaluate at
    once. The same architecture, fidelity and seed give the same accuracy on the same machine where the evaluator can see to it.
    """

    @abstractmethod
    def evaluate(
        self, architecture: Architecture, fidelity: float = 1.0, seed: int = 0, reporter: Reporter | None = None
    ) -> EvaluationResult:
        """What the architecture is worth on that share of the full budget.

        Raises:
            UnbuildableError: if there is no such network.
            FailedEvaluationError: if there is no value.
            Interrupted: if the reporter says so.
        """

    def with_state(self, folder: Path) -> Evaluator:
        """The same, keeping in that folder what it needs to go on after its process was killed, if it can."""
        return self


_UNITS: Mapping[str, Mapping[str, float]] = {
    "percent": {"%": 1.0, "percent": 1.0, "fraction": 0.01, "ratio": 0.01, "1": 0.01},
    "ms": {"ms": 1.0, "s": 1e-3, "us": 1e3, "µs": 1e3},
    "seconds": {"s": 1.0, "seconds": 1.0, "min": 1.0 / 60.0, "h": 1.0 / 3600.0, "ms": 1e3},
    "count": {"1": 1.0, "": 1.0, "count": 1.0, "K": 1e-3, "M": 1e-6, "G": 1e-9},
}
_KNOWN: Mapping[str, tuple[str, str, bool]] = {
    "accuracy": ("accuracy_percent", "percent", False),
    "test_accuracy": ("test_accuracy_percent", "percent", False),
    "val_accuracy": ("validation_accuracy_percent", "percent", False),
    "validation_accuracy": ("validation_accuracy_percent", "percent", False),
    "error": ("accuracy_percent", "percent", True),
    "latency": ("latency_ms", "ms", False),
    "latency_ms": ("latency_ms", "ms", False),
    "train_seconds": ("train_seconds", "seconds", False),
    "train_time_s": ("train_seconds", "seconds", False),
    "training_time": ("train_seconds", "seconds", False),
    "params": ("params", "count", False),
    "flops": ("flops", "count", False),
    "macs": ("flops", "count", False),
}
"""By a task's metric: the measured name, its kind of unit, and whether it is what is missing to the whole."""


def value_of(measured: Measured, metric: str, unit: str) -> float:
    """A task's metric among what was measured, in the task's unit: a metric that is measured under just that name is taken as
    it is.

    Raises:
        EvaluationError: if there is none, or its unit is unknown.
    """
    name, kind, is_complement = _KNOWN.get(metric, (metric, "", False))
    if name not in measured.metrics or (metric in measured.metrics and metric != name):
        name, kind, is_complement = metric, "", False
    if name not in measured.metrics:
        raise EvaluationError(
            f"expected {metric!r:.80} among what was measured, got {', '.join(sorted(measured.metrics)) or 'nothing'}"
        )
    factors = _UNITS.get(kind, {unit: 1.0})
    if unit not in factors:
        raise EvaluationError(
            f"expected the unit of {metric!r:.80} to be one of {', '.join(factors)}, got {unit!r:.80}"
        )
    value = float(measured.metrics[name])
    return factors[unit] * (100.0 - value if is_complement else value)


def measured_to_json(measured: Measured) -> dict[str, Any]:
    """As `measured_from_json` reads it."""
    return {"fidelity": measured.fidelity, "metrics": dict(measured.metrics), "cost_seconds": measured.cost_seconds}


def measured_from_json(document: object, fidelity: float) -> Measured:
    """What somebody else says of an architecture: `{"metrics": {…}, "fidelity": …, "cost_seconds": …}`; all but the metrics may
    be missing. `fidelity` is what was asked for.

    Raises:
        FailedEvaluationError: if it has another form.
    """
    match document:
        case {"metrics": dict(metrics)} if 0 < len(metrics) <= MAX_METRICS and all(
            isinstance(one, str) for one in metrics
        ):
            own, cost = document.get("fidelity"), document.get("cost_seconds")  # type: ignore[attr-defined]
            for name, value in (("fidelity", own), ("cost_seconds", cost)):
                if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                    raise FailedEvaluationError(f"expected {name} to be a number, got {value!r:.80}")
            return Measured(fidelity if own is None else float(own), metrics, None if cost is None else float(cost))
    raise FailedEvaluationError(f'expected {{"metrics": {{name: number}}}}, got {document!r:.200}')
