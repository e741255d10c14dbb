"""The shared ground of strategies that breed generation by generation.

Parents breed until as many outcomes have come as a generation has members; then the fittest of parents and children become
the next parents. Nobody waits: while outcomes are out, the same parents go on breeding.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictor.architecture import Architecture
from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, State
from predictor.search.breeding import Breeder
from predictor.search.remembering import RememberingStrategy
from predictor.search.settings import StrategySettings, setting

_MAX_COURTED = 4


@dataclass(frozen=True)
class GenerationSettings(StrategySettings):
    """How many breed, and how."""

    population: int = setting(20, "How many architectures a generation has.", low=2, high=100_000)
    crossover_rate: float = setting(0.9, "Probability that a child has two parents.", low=0.0, high=1.0)
    mutation_rate: float = setting(
        0.5,
        "Probability that a child of two parents is mutated, too; one of a single parent always is.",
        low=0.0,
        high=1.0,
    )


class GenerationalStrategy(RememberingStrategy):
    """A leaf says who breeds (`_parent`) and who survives (`_survivors`)."""

    def __init__(self, problem: SearchProblem, settings: GenerationSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._generation_settings = settings
        self._breeder = Breeder(problem.space, self._history)
        self._parents: list[str] = []  # hashes
        self._children: list[str] = []
        self._num_told = 0  # in this generation, failures included
        self._generation = 0

    @abstractmethod
    def _parent(self) -> Outcome:
        """One of the parents, by its fitness."""

    @abstractmethod
    def _survivors(self, parents: list[Outcome], children: list[Outcome]) -> list[Outcome]:
        """The parents of the next generation."""

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return None

    @property
    def parents(self) -> tuple[Architecture, ...]:
        """Those that breed now."""
        return tuple(map(self._history.architecture, self._parents))

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        if not self._parents:
            return self._random_proposal()
        child = self._breeder.new_child(self._bred, self._rng)
        if child is None:
            return self._random_proposal()
        return [Proposal(child, origin=f"a child of generation {self._generation}")]

    def _bred(self) -> Architecture:
        space, chance = self.problem.space, self._generation_settings
        child = self._parent().architecture
        has_two = len(self._parents) > 1 and self._rng.random() < chance.crossover_rate
        if has_two:
            child = space.crossover(child, self._partner(child), self._rng)
        if not has_two or self._rng.random() < chance.mutation_rate:
            child = space.mutate(child, self._rng)
        return child

    def _partner(self, first: Architecture) -> Architecture:
        """Another parent, unless fitness makes that too unlikely."""
        drawn = (self._parent().architecture for _ in range(_MAX_COURTED))
        return next((one for one in drawn if one != first), first)

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        if outcome.fidelity != 1.0 or not is_first:
            return
        self._num_told += 1
        if outcome.values is not None:
            self._children.append(outcome.architecture.hash)
        if self._num_told >= self._generation_settings.population and self._parents + self._children:
            survivors = self._survivors(self._outcomes_of(self._parents), self._outcomes_of(self._children))
            self._parents = [survivor.architecture.hash for survivor in survivors]
            self._children, self._num_told = [], 0
            self._generation += 1

    def _outcomes_of(self, hashes: list[str]) -> list[Outcome]:
        return [outcome for outcome in map(self._history.outcome, hashes) if outcome is not None]

    def _own_state(self) -> State:
        return {
            "parents": list(self._parents),
            "children": list(self._children),
            "num_told": self._num_told,
            "generation": self._generation,
        }

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        self._parents = [self._history.architecture(str(one)).hash for one in state["parents"]]
        self._children = [self._history.architecture(str(one)).hash for one in state["children"]]
        self._num_told, self._generation = int(state["num_told"]), int(state["generation"])
