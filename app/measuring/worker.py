"""The loop of a measuring worker: lease a trial, evaluate it, tell what came of it.

A process that is killed leaves its lease and the state of its training. The next one in its slot has its name, is handed the
same trial first, and goes on from that state. A signal to end gives the trial back, and keeps the state for whoever gets it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.client import Client, ClientError, Document, LeaseLostError, Trial
from app.client_calls import UnreachableError
from app.client_trials import FailedForGoodError, GiveBackError, InfeasibleError, NothingToMeasureError
from app.errors import InvalidContentError
from app.inference import evaluating, search_space
from app.inference.evaluating import Evaluator, Interrupted, Measured, Outcome
from app.measuring.reporting import Told, TrialReporter, new_bar, show
from app.measuring.slots import Slot

_SERVER_ERRORS, _TOO_MANY_REQUESTS, _CONFLICT = 500, 429, 409
_MAX_FAILURES = 3


class UnusableEvaluatorError(GiveBackError):
    """It measures something else than the task is about, or nothing at all: no trial could be completed."""


class EvaluationFailedError(ClientError):
    """There is no value this time."""


@dataclass(frozen=True)
class MeasureConfig:
    """What a worker does besides evaluating; `also`: other tasks of the same search space that get their metric of every final
    result."""

    task: str
    seeds: tuple[int, ...] = (0,)
    lease_seconds: float = 60.0
    takes_advice: bool = True
    max_trials: int | None = None
    once: bool = False  # ends where there is nothing to measure
    pause_seconds: float = 5.0  # before it asks again
    also: tuple[str, ...] = ()
    members: Mapping[str, Any] = field(default_factory=dict)  # of what is asked: acquisition, constraints


class Budget:
    """How many trials may still begin; shared by threads."""

    def __init__(self, count: int | None) -> None:
        self._left, self._lock = count, threading.Lock()

    def take(self) -> bool:
        """Whether one more may begin."""
        with self._lock:
            if self._left is None:
                return True
            self._left -= 1
            return self._left >= 0

    def give_back(self) -> None:
        """One did not begin after all."""
        with self._lock:
            if self._left is not None:
                self._left += 1


class MeasuringWorker:
    """Measures trials of one task, one at a time, until it is told to stop. Belongs to one thread."""

    def __init__(
        self,
        client: Client,
        evaluator: Evaluator,
        config: MeasureConfig,
        slot: Slot,
        stopping: threading.Event,
        say: Callable[[str], None],
    ) -> None:
        self._client, self._evaluator, self._config, self._slot = client, evaluator, config, slot
        self._stopping, self._say = stopping, say
        task = client.task(config.task)
        self._told = Told.of(task)
        self._also = [Told.of(client.task(name)) for name in config.also]
        described = client.search_space(task["search_space"])
        self._space = search_space(described["name"], described["definition"])

    def run(self, budget: Budget) -> int:
        """Measures until there is no more to do, or it is told to stop; how many trials got a value.

        Raises:
            ClientError: if the service refuses, or the evaluator's results are not what the task is about.
        """
        count = failures = 0
        while not self._stopping.is_set() and budget.take():
            try:
                count += self._measure_one()
                failures = 0
            except (InfeasibleError, FailedForGoodError, EvaluationFailedError):
                failures = 0  # the service was told
            except NothingToMeasureError:
                budget.give_back()
                if self._config.once:
                    return count
                self._stopping.wait(self._config.pause_seconds)
            except ClientError as error:
                budget.give_back()
                failures += 1
                self._endure(error, failures)
        return count

    def _endure(self, error: ClientError, failures: int) -> None:
        """Waits where waiting may help; raises the error where it does not."""
        if isinstance(error, GiveBackError) and not isinstance(error, UnusableEvaluatorError):
            return
        if isinstance(error, LeaseLostError) or error.status == _CONFLICT:  # it was ended elsewhere
            self._say(f"{error}; going on with another")
            return
        if not _may_pass(error) or (self._config.once and failures >= _MAX_FAILURES):
            raise error
        self._say(f"the service does not answer, trying again: {error}")
        self._stopping.wait(self._config.pause_seconds)

    def _measure_one(self) -> int:
        with self._client.trial(
            self._config.task, self._slot.worker_id, self._config.lease_seconds, **self._config.members
        ) as trial:
            finals = self._evaluated(trial)
        self._slot.forget(self._told.name, trial.id)
        self._say(f"trial {trial.id} completed: {_summary(finals, self._told)}")
        self._tell_others(trial, finals)
        return 1

    def _evaluated(self, trial: Trial) -> list[Measured]:
        """Every seed, one after the other."""
        evaluator = self._evaluator.with_state(self._slot.trial_folder(self._told.name, trial.id))
        finals: list[Measured] = []
        for seed in self._config.seeds:
            with new_bar(f"trial {trial.id} seed {seed}") as bar:
                reporter = TrialReporter(trial, self._told, seed, self._stopping, self._config.takes_advice, bar)
                try:
                    outcome = evaluating.evaluate(evaluator, self._space, trial.genotype, 1.0, seed, reporter)
                except Interrupted:
                    self._end_interrupted(trial)
                except InvalidContentError as error:  # no other trial would do better
                    raise UnusableEvaluatorError(str(error)) from error
                measured = self._final(trial, outcome)
                show(bar, measured, self._told)
            finals.append(measured)
            self._report(trial, measured, seed)
            if outcome.result is not None and outcome.result.stopped_early:
                self._say(f"trial {trial.id} stopped early at {measured.fidelity:.0%} of the budget")
                break
        return finals

    def _end_interrupted(self, trial: Trial) -> None:
        if trial.is_lost:
            raise LeaseLostError(f"expected to have trial {trial.id} still, got a lease that is lost")
        raise GiveBackError("the worker was told to end")

    def _final(self, trial: Trial, outcome: Outcome) -> Measured:
        """The final result; raises what ends the trial otherwise."""
        if outcome.result is not None:
            return outcome.result.final
        self._say(f"trial {trial.id} {outcome.status}: {outcome.reason}")
        if outcome.status == "infeasible" or not outcome.may_succeed_later:
            self._slot.forget(self._told.name, trial.id)
        if outcome.status == "infeasible":
            raise InfeasibleError(outcome.reason)
        raise EvaluationFailedError(outcome.reason) if outcome.may_succeed_later else FailedForGoodError(outcome.reason)

    def _report(self, trial: Trial, measured: Measured, seed: int) -> None:
        try:
            value = self._told.value(measured)
        except InvalidContentError as error:
            raise UnusableEvaluatorError(str(error)) from error
        trial.report(value, fidelity=self._told.fidelity(measured), seed=seed, cost=measured.cost_seconds)

    def _tell_others(self, trial: Trial, finals: Sequence[Measured]) -> None:
        """Other metrics of the same architecture, to the tasks that are about them; nothing of what was stopped early."""
        measured = [one for one in zip(finals, self._config.seeds, strict=False) if one[0].fidelity >= 1.0]
        for told in self._also if measured else ():
            try:
                self._client.post_observations(told.name, [self._row(told, trial, *one) for one in measured])
            except (ClientError, InvalidContentError) as error:
                self._say(f"trial {trial.id}: task {told.name} could not be told: {error}")

    def _row(self, told: Told, trial: Trial, measured: Measured, seed: int) -> Document:
        return {
            "architecture": trial.genotype,
            "value": told.value(measured),
            "fidelity": told.fidelity(measured),
            "seed": seed,
            "client_key": f"measured:{self._told.name}:{trial.id}:{seed}",
        }


def _may_pass(error: ClientError) -> bool:
    status = error.status or 0
    return isinstance(error, UnreachableError) or status >= _SERVER_ERRORS or status == _TOO_MANY_REQUESTS


def _summary(finals: Sequence[Measured], told: Told) -> str:
    values = ", ".join(f"{told.value(one):.6g}" for one in finals)
    costs = {name: finals[0].metrics[name] for name in ("params", "latency_ms") if name in finals[0].metrics}
    seconds = [one.cost_seconds for one in finals if one.cost_seconds is not None]
    shown = [f"{told.metric} {values} {told.unit}", *(f"{name} {value:.6g}" for name, value in costs.items())]
    return ", ".join([*shown, f"{sum(seconds):.1f} s"] if seconds else shown)
