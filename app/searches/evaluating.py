"""What proposals are worth: looked up, forecast, or measured before; and by how much they break constraints.

Notation: S architectures, M objectives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.candidates.constraints import BoundConstraint
from app.inference import Forecaster, ParsedArchitecture, ServedTask
from app.inference.proposing import ForecastColumns
from app.inference.searching import Known, Proposed
from app.observations import repository as observations
from app.observations.summaries import mean_and_std
from app.searches.schemas import Source
from app.tables import TaskRecord
from app.trials import repository as trials

Values = tuple[float, ...]
"""One for each objective, in its unit."""


@dataclass(frozen=True)
class Outcome:
    """What came of a proposal; `values` is None where it has none, and then `reason` says why."""

    values: Values | None
    fidelity: float  # as a share of the final one
    source: Source
    reason: str | None = None
    violation: float = 0.0

    def told(self, proposed: Proposed) -> list[Known]:
        """As a strategy hears of it. What came at another fidelity than was asked for ends the waiting for that one, too: as a
        failure where it was stopped early, and with the same value where a later one was known already."""
        own = Known(proposed.architecture, self.values, self.fidelity, self.violation, self.source == "forecast")
        if self.fidelity == proposed.fidelity:
            return [own]
        values = self.values if self.fidelity > proposed.fidelity else None
        return [own, replace(own, values=values, fidelity=proposed.fidelity)]


class Constraints:
    """The constraints of a search. What its own tasks measure is judged by its own values."""

    def __init__(self, bound: Sequence[BoundConstraint], task_ids: Sequence[int]) -> None:
        self._bound = bound
        self._places = {task_id: place for place, task_id in enumerate(task_ids)}

    def feasibility(
        self, forecaster: Forecaster, served: Mapping[int, ServedTask], architectures: Sequence[ParsedArchitecture]
    ) -> NDArray[np.float64]:  # (S,)
        """How probable it is that all of them hold, taken as independent; `served` are the search's own tasks by id."""
        probability = np.ones(len(architectures))
        for one in self._bound:
            own = None if one.task_id is None else served.get(one.task_id)
            if own is None:
                mean, std, _ = one.source(architectures)
            else:
                columns = ForecastColumns.of(forecaster.forecast(own, architectures))
                mean, std = columns.mean, columns.std
            probability = probability * one.constraint.probability(mean, std)
        return probability

    def violations(
        self, architectures: Sequence[ParsedArchitecture], values: Sequence[Values | None]
    ) -> list[float]:  # (S,)
        """By how much they are broken in all, as shares of their bounds; 0 where all hold, or there is no value."""
        found = [0.0] * len(architectures)
        for one in self._bound:
            for row, value in enumerate(self._column(one, architectures, values)):
                if values[row] is not None:
                    found[row] += one.constraint.violation(value)
        return found

    def _column(
        self, bound: BoundConstraint, architectures: Sequence[ParsedArchitecture], values: Sequence[Values | None]
    ) -> list[float]:
        place = None if bound.task_id is None else self._places.get(bound.task_id)
        if place is None:
            column: list[float] = bound.source(architectures)[0].tolist()
            return column
        return [math.nan if one is None else one[place] for one in values]


def fidelity_of(task: TaskRecord, share: float) -> float | None:
    """The task's own fidelity that is such a share of the final one, whole where that is; None: the final one, or the task does
    not say which that is."""
    if share >= 1.0 or task.max_fidelity is None:
        return None
    wanted = share * task.max_fidelity
    return max(1.0, float(round(wanted))) if task.max_fidelity.is_integer() else wanted


@dataclass(frozen=True)
class MeasuredValue:
    """What a task has observed of an architecture, at which share of the final fidelity."""

    value: float
    share: float


def measured_value(session: Session, task: TaskRecord, architecture_id: str, share: float) -> MeasuredValue | None:
    """The mean of what was observed at that share or, where nothing was, at the final fidelity; else at the highest below."""
    final = observations.final_fidelity(session, task)
    early = trials.early_values(session, task.id, architecture_id)
    wanted = fidelity_of(task, share)
    exact = next((one.value for one in early if wanted is not None and one.fidelity == wanted), None)
    if exact is not None:
        return MeasuredValue(exact, share)
    finals = observations.final_values(session, task, final, [architecture_id]).get(architecture_id)
    if finals:
        return MeasuredValue(mean_and_std(finals)[0], 1.0)
    below = [one for one in early if final is not None and one.fidelity < final]
    return MeasuredValue(below[-1].value, below[-1].fidelity / final) if below and final else None


def joined(found: Sequence[MeasuredValue | None], share: float, source: Source, missing: str = "") -> Outcome:
    """What is known of one architecture in all tasks as one outcome; `missing` is why there is none where a task knows nothing."""
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return Outcome(None, share, source, missing)
    return Outcome(tuple(one.value for one in known), min(one.share for one in known), source)


def forecast_outcomes(
    forecaster: Forecaster, served: Sequence[ServedTask], proposals: Sequence[Proposed]
) -> list[Outcome]:
    """What the tasks' forecasts say of proposals."""
    parsed = [one.architecture for one in proposals]
    columns = [ForecastColumns.of(forecaster.forecast(one, parsed)).mean.tolist() for one in served]
    return [_forecast(values, one) for values, one in zip(zip(*columns, strict=True), proposals, strict=True)]


def _forecast(values: Values, proposal: Proposed) -> Outcome:
    if all(map(math.isfinite, values)):
        return Outcome(values, proposal.fidelity, "forecast")
    return Outcome(None, proposal.fidelity, "forecast", "its forecast is not a number")


def looked_up(session: Session, tasks: Sequence[TaskRecord], proposals: Sequence[Proposed]) -> list[Outcome]:
    """What the tasks have observed of proposals."""
    found = []
    for one in proposals:
        values = [measured_value(session, task, one.architecture.id, one.fidelity) for task in tasks]
        found.append(joined(values, one.fidelity, "table", "the task has observed no value of it"))
    return found
