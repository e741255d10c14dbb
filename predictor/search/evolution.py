"""Regularised evolution (Real et al., "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019).

A queue of living architectures, in the order in which their outcomes came. The best of a random sample of them is mutated;
when a child comes in, the oldest dies, however good it was. What could not be evaluated never lives. A foreign architecture,
which nobody here asked for, takes the place of the worst if it is better: of all that was measured before, the best live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictor.architecture import Architecture
from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, State
from predictor.search.breeding import Breeder
from predictor.search.merit import Merit, merit
from predictor.search.remembering import RememberingStrategy
from predictor.search.settings import StrategySettings, setting


@dataclass(frozen=True)
class EvolutionSettings(StrategySettings):
    """How many live, and how hard they compete."""

    population: int = setting(20, "How many architectures live at a time.", low=2, high=100_000)
    tournament: int = setting(5, "How many of them compete to be mutated.", low=1, high=100_000)


class RegularizedEvolution(RememberingStrategy):
    """Mutation, tournaments and ageing; no crossover."""

    name = "evolution"
    description = (
        "Mutates the best of a random few of the living architectures; the oldest dies (regularised evolution)."
    )
    source = "Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019"
    settings_type = EvolutionSettings

    def __init__(self, problem: SearchProblem, settings: EvolutionSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._config = settings
        self._breeder = Breeder(problem.space, self._history)
        self._alive: list[str] = []  # hashes, the oldest first

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return None

    @property
    def alive(self) -> tuple[Architecture, ...]:
        """The living, the oldest first."""
        return tuple(map(self._history.architecture, self._alive))

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        is_settled = max(len(self._alive), self._history.num_proposed) >= self._config.population
        if not (self._alive and is_settled):
            return self._random_proposal()
        child = self._breeder.new_child(lambda: self.problem.space.mutate(self._parent(), self._rng), self._rng)
        return self._random_proposal() if child is None else [Proposal(child, origin="a mutation of a living one")]

    def _parent(self) -> Architecture:
        """The best of a random sample of the living."""
        size = min(self._config.tournament, len(self._alive))
        drawn = [self._alive[place] for place in self._rng.choice(len(self._alive), size, replace=False)]
        return self._history.architecture(max(drawn, key=self._merit))

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        if outcome.fidelity != 1.0 or outcome.values is None or not is_first:
            return
        self._alive.append(outcome.architecture.hash)
        if len(self._alive) > self._config.population:
            is_child = self._history.was_proposed(outcome.architecture)
            self._alive.remove(self._alive[0] if is_child else self._worst())

    def _worst(self) -> str:
        return min(self._alive, key=self._merit)

    def _merit(self, name: str) -> Merit:
        outcome = self._history.outcome(name)
        return (0, 0.0) if outcome is None else merit(self.problem, outcome)

    def _own_state(self) -> State:
        return {"alive": list(self._alive)}

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        self._alive = [self._history.architecture(str(one)).hash for one in state["alive"]]
