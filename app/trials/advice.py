"""Whether to go on measuring: the final value forecast from intermediate ones, against the best that was measured.

How values at a fidelity go with final ones is learned from the task's own finished architectures, as a regression of the
former on the latter: so what the surrogate expects of the architecture and what was measured of it early are independent news of
its final value, and multiply (Bayes). The surrogate's expectation is one that has not seen those early values yet. Where
too few are finished, an adaptation that has seen them answers, to which the fidelity is a related task (decision 0014).

Notation: N finished architectures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from app.candidates.service import CandidateService
from app.database import Database
from app.errors import ConflictError, NotReadyError
from app.inference import MIN_RELATED, Inference, parse_architecture
from app.observations import repository as observations
from app.tables import TaskRecord, TrialRecord
from app.tasks import service as tasks
from app.trials import repository, service
from app.trials.repository import EarlyValue
from app.trials.schemas import AdviceOut, FinalForecast, IntermediateValue
from app.trials.states import OPEN

MIN_CURVES = 5
_MAX_LEVELS = 8  # fidelities, the highest ones
_MIN_NOISE = 0.01  # of the spread of values at a fidelity: nothing foretells exactly

Method = Literal["learning_curves", "adaptation", "none"]


@dataclass(frozen=True)
class Normal:
    """What is expected of a value."""

    mean: float
    std: float

    def probability_beyond(self, bound: float, is_maximized: bool) -> float:
        """That the value is better than the bound."""
        distance = (self.mean - bound) if is_maximized else (bound - self.mean)
        if self.std <= 0.0:
            return float(distance > 0.0)
        return 0.5 * math.erfc(-distance / (self.std * math.sqrt(2.0)))


@dataclass(frozen=True)
class Curves:
    """Finished architectures of a task: values at one lower fidelity, and final ones."""

    early: Sequence[float]  # (N,)
    final: Sequence[float]  # (N,)

    def final_of(self, value: float, expected: Normal | None) -> Normal:
        """The final value of an architecture of which one early value is known, and what was expected of it before that;
        without an expectation, what is usual among the finished ones."""
        early, final = np.asarray(self.early, dtype=np.float64), np.asarray(self.final, dtype=np.float64)
        prior = expected or Normal(float(final.mean()), float(final.std(ddof=1)))
        spread = float(((final - final.mean()) ** 2).sum())
        slope = float(((final - final.mean()) * early).sum()) / spread if spread > 0.0 else 0.0
        if slope <= 0.0 or prior.std <= 0.0:  # they do not go together: nothing is learned from it
            return prior
        left = early - early.mean() - slope * (final - final.mean())
        floor = _MIN_NOISE * float(early.std())
        count = len(early)
        noise = max(float((left**2).sum()) / (count - 2), floor**2) * (1.0 + 1.0 / count)
        seen = float(final.mean()) + (value - float(early.mean())) / slope
        precision, news = prior.std**-2, slope**2 / noise
        mean = (precision * prior.mean + news * seen) / (precision + news)
        return Normal(mean, (precision + news) ** -0.5)


@dataclass(frozen=True)
class _Known:
    """What the database says of one trial."""

    task: TaskRecord
    trial: TrialRecord
    early: Sequence[EarlyValue]  # below the final fidelity, the lowest first
    others: Mapping[float, Mapping[str, float]]  # by fidelity, the highest ones: values of all architectures

    @property
    def compared(self) -> Sequence[EarlyValue]:
        """Those that others are compared at, the lowest fidelity first."""
        return [one for one in self.early if one.fidelity in self.others]

    @property
    def is_maximized(self) -> bool:
        return self.task.direction == "maximize"


@dataclass(frozen=True)
class _Basis:
    """A forecast and what it rests on."""

    method: Method
    forecast: Normal | None
    fidelity: float | None = None
    num_curves: int = 0


class AdviceService:
    """One for an application. May be called from any thread."""

    def __init__(self, database: Database, inference: Inference, candidates: CandidateService) -> None:
        self._database = database
        self._inference = inference
        self._candidates = candidates

    def advise(self, task_name: str, trial_id: int, threshold: float) -> AdviceOut:
        """Whether to go on measuring; to go on where too little is known.

        Raises:
            NotFoundError: if there is no such task or trial.
            ConflictError: if the trial has ended.
        """
        with self._database.read() as session:
            task = tasks.find(session, task_name)
            trial = service.find(session, task, trial_id)
            if trial.state not in OPEN:
                raise ConflictError(f"expected a trial that has not ended, got {trial.id}, which is {trial.state}")
            final = observations.final_fidelity(session, task) or math.inf
            values = repository.early_values(session, task.id, trial.architecture_id)
            early = [one for one in values if one.fidelity < final]
            others = {
                one.fidelity: repository.values_at(session, task.id, one.fidelity) for one in early[-_MAX_LEVELS:]
            }
        finals = dict(self._candidates.measured(task.id).values)
        finals.pop(trial.architecture_id, None)
        known = _Known(task, trial, early, others)
        basis = self._basis(known, finals)
        best = (max if known.is_maximized else min)(finals.values(), default=None)
        return _answer(known, basis, best, threshold)

    def _basis(self, known: _Known, finals: Mapping[str, float]) -> _Basis:
        for one in reversed(known.compared):
            measured = known.others[one.fidelity]
            pairs = [(value, finals[other]) for other, value in sorted(measured.items()) if other in finals]
            if len(pairs) >= MIN_CURVES:
                curves = Curves(*zip(*pairs, strict=True))
                forecast = curves.final_of(one.value, self._expected(known))
                return _Basis("learning_curves", forecast, one.fidelity, len(pairs))
        asked = [one for one in known.compared if len(known.others[one.fidelity]) >= MIN_RELATED]
        forecast_now = self._forecast_now(known, knows=asked[-1].newest_id) if asked else None
        if forecast_now is not None:
            return _Basis("adaptation", forecast_now, asked[-1].fidelity)
        return _Basis("none", self._expected(known))

    def _expected(self, known: _Known) -> Normal | None:
        """What the surrogate expects without having seen the early values: what it says now, or said when the trial was
        handed out."""
        oldest = min((one.oldest_id for one in known.early), default=None)
        now = self._forecast_now(known, knows_not=oldest)
        if now is not None:
            return now
        trial = known.trial
        if trial.forecast_mean is None or trial.forecast_std is None:
            return None
        return Normal(trial.forecast_mean, trial.forecast_std)

    def _forecast_now(self, known: _Known, knows: int = 0, knows_not: int | None = None) -> Normal | None:
        """The surrogate's forecast, if it has seen the one observation and not the other."""
        try:
            served = self._inference.load(str(known.task.id))
        except NotReadyError:
            return None
        newest = served.last_observation_id
        if newest < knows or (knows_not is not None and newest >= knows_not):
            return None
        with self._database.read() as session:
            genotype = repository.genotype(session, known.trial.architecture_id, known.task.search_space)
        parsed = parse_architecture(served.space, genotype)
        (forecast,) = self._inference.forecaster.forecast(served, [parsed])
        return Normal(forecast.mean, forecast.std)


def _answer(known: _Known, basis: _Basis, best: float | None, threshold: float) -> AdviceOut:
    forecast = basis.forecast
    probability = None
    if forecast is not None and best is not None:
        probability = forecast.probability_beyond(best, known.is_maximized)
    should_stop = basis.method != "none" and probability is not None and probability < threshold
    return AdviceOut(
        trial_id=known.trial.id,
        advice="stop" if should_stop else "continue",
        because=_because(known, basis, best, probability, threshold),
        forecast=None if forecast is None else FinalForecast(mean=forecast.mean, std=forecast.std),
        probability=probability,
        threshold=threshold,
        best_measured=best,
        method=basis.method,
        fidelity=basis.fidelity,
        num_curves=basis.num_curves,
        intermediate=[IntermediateValue(fidelity=one.fidelity, value=one.value) for one in known.early],
    )


def _because(known: _Known, basis: _Basis, best: float | None, probability: float | None, threshold: float) -> str:
    if not known.early:
        return "no intermediate value of it was reported yet"
    if best is None:
        return "no other architecture has a final value to compare with yet"
    if basis.method == "none" or probability is None:
        return f"fewer than {MIN_CURVES} other architectures have a value at its fidelities and a final one"
    side = "less than" if probability < threshold else "not less than"
    return f"the probability to become better than {best:.6g} is {probability:.3g}, {side} {threshold:.3g}"
