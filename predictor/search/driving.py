"""Runs a search in the caller's own process: ask, evaluate, tell, until the budget is spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from predictor.errors import SearchError
from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, SearchStrategy
from predictor.search.random_search import RandomSearch
from predictor.search.settings import StrategySettings
from predictor.tasks import SupportSet

Evaluate = Callable[[Proposal], Outcome]
"""What a proposal turns out to be worth: a training, a table, a user's own command."""


class LearningForecaster(Forecaster, Protocol):
    """A forecaster that learns from outcomes, such as `LocalForecaster`."""

    @property
    def is_ready(self) -> bool:
        """Whether it has heard enough to say anything."""

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """What was measured."""


@dataclass(frozen=True)
class Budget:
    """How much may be measured: full trainings, and how many at a time.

    An evaluation of a lower fidelity costs its share of a full one.

    Raises:
        SearchError: if there is nothing to spend or no room for a proposal.
    """

    evaluations: float
    at_a_time: int = 1

    def __post_init__(self) -> None:
        if not (self.evaluations > 0 and self.at_a_time >= 1):
            raise SearchError(f"expected a positive budget and at least 1 at a time, got {self}")


class TableLookUp:
    """Evaluates by a table of values: one tuple of them for each architecture, by its hash.

    What the table lacks cannot be measured: its outcome has no values.
    """

    def __init__(self, values: dict[str, tuple[float, ...]]) -> None:
        self._values = values

    @classmethod
    def of(cls, *measured: SupportSet) -> TableLookUp:
        """From what was measured for each objective; architectures that all of them know."""
        columns = [{one.hash: value for one, value in each} for each in measured]
        shared = set.intersection(*(set(column) for column in columns))
        return cls({key: tuple(column[key] for column in columns) for key in shared})

    def __call__(self, proposal: Proposal) -> Outcome:
        return Outcome(proposal.architecture, self._values.get(proposal.architecture.hash), proposal.fidelity)


@dataclass(frozen=True)
class SearchRun:
    """Everything that was measured, in order."""

    problem: SearchProblem
    outcomes: tuple[Outcome, ...]

    def best(self, objective: int = 0) -> Outcome | None:
        """The best final outcome by one objective among those whose constraints hold; None if there is none."""
        metric = self.problem.objectives[objective]
        found = [
            one for one in self.outcomes if one.values is not None and one.fidelity == 1.0 and one.violation == 0.0
        ]
        return max(found, key=lambda one: metric.sign * (one.values or ())[objective], default=None)


def run_search(
    problem: SearchProblem,
    strategy: SearchStrategy,
    evaluate: Evaluate,
    budget: Budget,
    forecaster: LearningForecaster | None = None,
    known: Sequence[Outcome] = (),
    is_enough: Callable[[Outcome], bool] = lambda _outcome: False,
    seed: int = 0,
) -> SearchRun:
    """Runs until the budget is spent, nothing is left to try, or an outcome is enough.

    What is `known` costs nothing. Random architectures come first where the forecaster cannot say anything yet; `seed` is theirs.
    """
    run = _Run(problem, strategy, forecaster, seed)
    run.tell(known)
    outcomes: list[Outcome] = []
    spent = 0.0
    while spent < budget.evaluations:
        proposals = run.ask(min(budget.at_a_time, max(1, round(budget.evaluations - spent))))
        if not proposals:
            break
        new = [evaluate(one) for one in proposals]
        spent += sum(one.fidelity for one in proposals)
        outcomes += new
        run.tell(new)
        if any(map(is_enough, new)):
            break
    return SearchRun(problem, tuple(outcomes))


class _Run:
    """A strategy and a forecaster that hear the same."""

    def __init__(
        self,
        problem: SearchProblem,
        strategy: SearchStrategy,
        forecaster: LearningForecaster | None,
        seed: int,
    ) -> None:
        self._strategy, self._forecaster = strategy, forecaster
        self._random = RandomSearch(problem, StrategySettings(), seed)

    def ask(self, count: int) -> list[Proposal]:
        if self._forecaster is not None and not self._forecaster.is_ready and self._strategy.needs_forecaster:
            return self._random.ask(count)
        ready = self._forecaster if self._forecaster is not None and self._forecaster.is_ready else None
        return self._strategy.ask(count, ready)

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self._random.tell(outcomes)
        self._strategy.tell(outcomes)
        if self._forecaster is not None:
            self._forecaster.tell(outcomes)
