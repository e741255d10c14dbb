"""The shared ground of strategies: what was proposed and told, randomness, state, and proposals that are new.

Fidelities and forecasts. Strategies that know one fidelity propose architectures at fidelity 1 and learn from outcomes of
fidelity 1. Lower ones are remembered but not learned from, since values of different budgets do not compare. Forecasts of
fidelity 1 are learned from as if they were measured, until a measured value takes their place; an architecture that was
forecast without having been proposed may still be proposed.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from predictor.architecture import HASH_ALGORITHM, Architecture
from predictor.errors import PredictorError, SearchError
from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, SearchStrategy, State
from predictor.search.fresh import FreshArchitectures
from predictor.search.history import History
from predictor.search.settings import StrategySettings

STATE_VERSION = 1


class RememberingStrategy(SearchStrategy):
    """A strategy of which a leaf says only what to propose next (`_propose`) and what to make of news (`_learn`).

    A leaf that keeps more than the history and the generator says so in `_own_state` and `_restore_own`.
    """

    def __init__(self, problem: SearchProblem, settings: StrategySettings, seed: int) -> None:
        if not isinstance(settings, self.settings_type):
            raise SearchError(
                f"{self.name}: expected settings of {self.settings_type.__name__}, got {type(settings).__name__}"
            )
        if seed < 0:
            raise SearchError(f"{self.name}: expected a seed of 0 or more, got {seed}")
        self.problem = problem
        self._settings = settings
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._history = History(problem.space)
        self._fresh = FreshArchitectures(problem.space, self._history)

    @abstractmethod
    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        """At least one and at most `count` different proposals that are new to the history; none if there is nothing to
        propose now."""

    @abstractmethod
    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        """News of an architecture at a fidelity, joined with what was known before; `is_first` if that was no value."""

    @abstractmethod
    def _own_state(self) -> State:
        """What else there is to keep, as JSON."""

    @abstractmethod
    def _restore_own(self, state: Mapping[str, Any]) -> None:
        """Into a new strategy whose history is restored already; raises whatever a document of another form causes."""

    def ask(self, count: int, forecaster: Forecaster | None = None) -> list[Proposal]:
        if self.needs_forecaster and forecaster is None:
            raise SearchError(f"{self.name}: expected a forecaster, got none")
        proposals: list[Proposal] = []
        while len(proposals) < count:
            wanted = count - len(proposals)
            found = self._unproposed_start()[:wanted] or self._propose(wanted, forecaster)
            if not found:
                break
            for proposal in found:
                self._history.propose(proposal)
            proposals += found
        return proposals

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in [self._checked(outcome) for outcome in outcomes]:
            earlier = self._history.outcome(outcome.architecture.hash, outcome.fidelity)
            is_first = earlier is None or earlier.values is None
            self._learn(self._history.note(outcome), is_first)

    def state(self) -> State:
        return {
            **self._identity(),
            "settings": dataclasses.asdict(self._settings),
            "generator": generator_state(self._rng),
            "history": self._history.state(),
            "own": self._own_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._check_identity(state)
        restored = type(self)(self.problem, self._settings, self._seed)
        try:
            restored._rng = restored_generator(state["generator"])
            restored._history.restore(state["history"])
            restored._restore_own(state["own"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, PredictorError) as error:
            raise SearchError(
                f"{self.name}: expected what its `state` returned, got another document: {error!r}"
            ) from error
        vars(self).update(vars(restored))  # all of it or, after an error, nothing

    def _identity(self) -> State:
        """What a state must agree on to be of the same strategy and problem."""
        return {
            "version": STATE_VERSION,
            "hash_algorithm": HASH_ALGORITHM,
            "strategy": self.name,
            "search_space": self.problem.space.name,
            "objectives": [[metric.name, metric.direction] for metric in self.problem.objectives],
        }

    def _check_identity(self, state: Mapping[str, Any]) -> None:
        for key, expected in self._identity().items():
            if state.get(key) != expected:
                raise SearchError(f"{self.name}: expected a state with {key} {expected!r}, got {state.get(key)!r}")
        own, told = dataclasses.asdict(self._settings), state.get("settings")
        if not isinstance(told, Mapping) or any(own.get(key) != value for key, value in told.items()):
            raise SearchError(f"{self.name}: expected a state with the settings {own}, got {told!r}")

    def _checked(self, outcome: Outcome) -> Outcome:
        if outcome.values is not None and len(outcome.values) != len(self.problem.objectives):
            raise SearchError(
                f"{self.name}: expected {len(self.problem.objectives)} values, one an objective, "
                f"got {len(outcome.values)}"
            )
        return dataclasses.replace(outcome, architecture=self._history.own(outcome.architecture))

    def _unproposed_start(self) -> list[Proposal]:
        """Architectures to begin with that are still new."""
        owned = {one.hash: one for one in map(self._history.own, self.problem.start)}
        return [Proposal(one, origin="to begin with") for one in owned.values() if self._history.is_new(one)]

    def _random_proposal(self) -> list[Proposal]:
        """A random architecture that is new; none if nothing is left."""
        drawn = self._fresh.draw(self._rng)
        return [] if drawn is None else [Proposal(drawn, origin="random")]

    def _is_new(self, architecture: Architecture) -> bool:
        return self._history.is_new(architecture)


def generator_state(rng: np.random.Generator) -> State:
    """A generator as JSON: its large numbers as text."""
    state: Mapping[str, Any] = rng.bit_generator.state
    return {
        "bit_generator": state["bit_generator"],
        "state": {key: str(value) for key, value in state["state"].items()},
        "has_uint32": state["has_uint32"],
        "uinteger": state["uinteger"],
    }


def restored_generator(state: Mapping[str, Any]) -> np.random.Generator:
    """The generator that `generator_state` described; raises whatever a document of another form causes."""
    rng = np.random.default_rng(0)
    rng.bit_generator.state = {**state, "state": {key: int(value) for key, value in state["state"].items()}}
    return rng
