"""Constraints such as `latency_ms <= 12`: on another task's metric on the same architectures, or on what they state themselves.

Notation: S architectures.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.candidates.repository import Measured
from app.errors import InvalidContentError
from app.inference import ParsedArchitecture, ServedTask
from app.inference.proposing import ForecastColumns, global_attribute
from app.tables import TaskRecord

_FORM = re.compile(r"\s*(.{1,128}?)\s*(<=|>=|<|>)\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*")

Column = NDArray[np.float64]


class MetricSource(Protocol):
    """Where the values of a metric come from."""

    def __call__(self, architectures: Sequence[ParsedArchitecture]) -> tuple[Column, Column, NDArray[np.bool_]]:
        """Mean (S,), standard deviation (S,) and whether it was measured (S,); NaN where nothing is known."""


@dataclass(frozen=True)
class Constraint:
    """One bound on one metric."""

    metric: str
    operator: str
    bound: float

    @property
    def is_upper(self) -> bool:
        """Whether small values satisfy it."""
        return self.operator.startswith("<")

    def violation(self, value: float) -> float:
        """By how much a value breaks it, as a share of the bound (or as it is, where that is 0); 0 where it holds. Where
        nothing is known, 1."""
        if math.isnan(value):
            return 1.0
        beyond = (value - self.bound) if self.is_upper else (self.bound - value)
        if beyond == 0.0 and self.operator in ("<", ">"):
            return sys.float_info.min
        return max(0.0, beyond) / (abs(self.bound) or 1.0)

    def probability(self, mean: Column, std: Column) -> Column:  # (S,)
        """How probable it is that normal values satisfy it; 0 where nothing is known."""
        distance = (self.bound - mean) if self.is_upper else (mean - self.bound)
        with np.errstate(divide="ignore", invalid="ignore"):
            forecast = _normal_cdf(distance / std)
        strict = self.operator in ("<", ">")
        exact = (distance > 0.0) if strict else (distance >= 0.0)
        return np.where(np.isnan(mean), 0.0, np.where(std > 0.0, forecast, exact))


@dataclass(frozen=True)
class BoundConstraint:
    """A constraint together with where its values come from."""

    constraint: Constraint
    task_name: str | None
    source: MetricSource
    task_id: int | None = None


def parse_constraint(text: str) -> Constraint:
    """Reads `metric <= number`; raises InvalidContentError."""
    match = _FORM.fullmatch(text)
    try:
        bound = float(match[3]) if match else math.nan
    except ValueError:
        bound = math.nan
    if match is None or not math.isfinite(bound):
        raise _refused(f"expected a constraint such as 'latency_ms<=12' (with <=, >=, < or >), got {text[:200]!r}")
    return Constraint(match[1], match[2], bound)


def find_task(
    constraint: Constraint, tasks: Sequence[TaskRecord], own: ServedTask, stated_metrics: Sequence[str]
) -> TaskRecord | None:
    """The task that a constraint speaks of; None for what the architectures state themselves.

    Raises:
        InvalidContentError: if no task, or more than one, measures the metric on this search space.
    """
    named = [task for task in tasks if task.name == constraint.metric]
    by_metric = [task for task in tasks if task.metric == constraint.metric]
    same_data = [task for task in by_metric if (task.dataset, task.device) == (own.task.dataset, own.task.device)]
    same_dataset = [task for task in by_metric if task.dataset == own.task.dataset]
    for found in (named, by_metric, same_data, same_dataset):
        if len(found) == 1:
            return found[0]
    if constraint.metric in stated_metrics:
        return None
    if by_metric:
        names = ", ".join(repr(task.name) for task in by_metric)
        raise _refused(f"expected {constraint.metric!r} to mean one task, got several; name one of {names}")
    available = sorted({name for task in tasks for name in (task.metric, task.name)} | set(stated_metrics))
    raise _refused(
        f"expected a constraint on a metric or task of search space {own.space.name!r} ({', '.join(available)}), "
        f"got {constraint.metric!r}"
    )


def stated_source(metric: str) -> MetricSource:
    """What the architectures state themselves, such as params."""

    def values(architectures: Sequence[ParsedArchitecture]) -> tuple[Column, Column, NDArray[np.bool_]]:
        found = [global_attribute(one, metric) for one in architectures]
        mean = np.asarray([math.nan if value is None else value for value in found], dtype=np.float64)
        return mean, np.zeros_like(mean), ~np.isnan(mean)

    return values


def task_source(
    measured: Measured, forecast: Callable[[Sequence[ParsedArchitecture]], ForecastColumns]
) -> MetricSource:
    """Measured values where there are any, forecasts elsewhere."""

    def values(architectures: Sequence[ParsedArchitecture]) -> tuple[Column, Column, NDArray[np.bool_]]:
        columns = forecast(architectures)
        mean, std = columns.mean.copy(), columns.std.copy()
        known = np.asarray([one.id in measured.values for one in architectures], dtype=np.bool_)
        mean[known] = [measured.values[one.id] for one in architectures if one.id in measured.values]
        std[known] = 0.0
        return mean, std, known

    return values


def _normal_cdf(values: Column) -> Column:
    """Exact to double precision, without a statistics library: math.erf for each value."""
    return np.asarray([0.5 * (1.0 + math.erf(value / math.sqrt(2.0))) for value in values.tolist()])


def _refused(message: str) -> InvalidContentError:
    return InvalidContentError(message, [{"location": ["query", "constraint"], "message": message}])
