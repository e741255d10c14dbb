"""While an evaluation runs: intermediate results go to the service, advice comes back, a signal ends it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from app.client import ClientError, Document, LeaseLostError, Trial
from app.errors import AppError
from app.inference.evaluating import Interrupted, Measured, Reporter, value_of


@dataclass(frozen=True)
class Told:
    """Of a task, what its measurements have to fit."""

    name: str
    metric: str
    unit: str
    max_fidelity: float | None

    @classmethod
    def of(cls, task: Document) -> Told:
        """From the task's document."""
        metric = task["metric"]
        return cls(task["name"], metric["name"], metric["unit"], task["max_fidelity"])

    def value(self, measured: Measured) -> float:
        """What counts in this task; raises InvalidContentError if it was not measured."""
        return value_of(measured, self.metric, self.unit)

    def fidelity(self, measured: Measured) -> float | None:
        """On the task's own scale."""
        return None if self.max_fidelity is None else measured.fidelity * self.max_fidelity


class TrialReporter(Reporter):
    """Tells of one seed's evaluation. The service may be away for a while: what could not be told is left out."""

    def __init__(
        self, trial: Trial, task: Told, seed: int, stopping: threading.Event, takes_advice: bool, bar: Any
    ) -> None:
        self._trial, self._task, self._seed, self._bar = trial, task, seed, bar
        self._stopping, self._takes_advice = stopping, takes_advice

    def measured(self, measured: Measured) -> bool:
        show(self._bar, measured, self._task)
        if self._task.max_fidelity is None or measured.fidelity >= 1.0:
            return True
        try:
            value = self._task.value(measured)
        except AppError:  # only in the end is it measured
            return True
        try:
            cost = measured.cost_seconds
            self._trial.report(value, fidelity=self._task.fidelity(measured), seed=self._seed, cost=cost)
            return not (self._takes_advice and self._trial.should_stop())
        except LeaseLostError:
            raise Interrupted from None
        except ClientError as error:
            self._bar.write(f"trial {self._trial.id}: an intermediate result could not be told: {error}")
            return True

    def keep_alive(self) -> None:
        if self._stopping.is_set() or self._trial.is_lost:
            raise Interrupted


def show(bar: Any, measured: Measured, task: Told) -> None:
    """How far it is, for people."""
    bar.n = round(100.0 * measured.fidelity)
    shown = [
        f"{name} {value:.4g}" for name, value in measured.metrics.items() if name in ("accuracy_percent", task.metric)
    ]
    bar.set_postfix_str(", ".join(shown))


def new_bar(label: str) -> Any:
    """A bar that fills up to the full budget; none where the output is no terminal."""
    return tqdm(total=100, unit="%", desc=label, disable=None, leave=False, bar_format="{desc} {bar} {n}% {postfix}")
