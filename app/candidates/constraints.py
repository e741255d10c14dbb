"""Constraints such as `latency_ms <= 12`: on another task's metric on the same architectures, or on what they state themselves.

Notation: S architectures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.candidates.repository import Measured
from app.errors import InvalidContentError
from app.inference import ParsedArchitecture, ServedTask
from app.inference.proposing import Constraint, ForecastColumns, global_attribute, read_constraint
from app.tables import TaskRecord

Column = NDArray[np.float64]


class MetricSource(Protocol):
    """Where the values of a metric come from."""

    def __call__(self, architectures: Sequence[ParsedArchitecture]) -> tuple[Column, Column, NDArray[np.bool_]]:
        """Mean (S,), standard deviation (S,) and whether it was measured (S,); NaN where nothing is known."""


@dataclass(frozen=True)
class BoundConstraint:
    """A constraint together with where its values come from."""

    constraint: Constraint
    task_name: str | None
    source: MetricSource
    task_id: int | None = None


def parse_constraint(text: str) -> Constraint:
    """Reads `metric <= number`; raises InvalidContentError."""
    try:
        return read_constraint(text)
    except InvalidContentError as error:
        raise _refused(error.detail) from error


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


def _refused(message: str) -> InvalidContentError:
    return InvalidContentError(message, [{"location": ["query", "constraint"], "message": message}])
