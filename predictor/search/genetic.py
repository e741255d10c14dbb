"""A genetic algorithm (Holland, "Adaptation in Natural and Artificial Systems", 1975; for architectures: Xie & Yuille,
"Genetic CNN", ICCV 2017): tournament selection, crossover, mutation, and an elite that lives on."""

from __future__ import annotations

from dataclasses import dataclass

from predictor.search.base import Outcome, SearchProblem
from predictor.search.generations import GenerationalStrategy, GenerationSettings
from predictor.search.merit import Merit, merit
from predictor.search.settings import setting


@dataclass(frozen=True)
class GeneticSettings(GenerationSettings):
    """How hard they compete, and how many live on."""

    tournament: int = setting(3, "How many parents compete to breed.", low=1, high=100_000)
    elites: int = setting(4, "How many of the best live on whatever their children are.", low=0, high=100_000)


class GeneticAlgorithm(GenerationalStrategy):
    """One generation replaces the other, but for the elite."""

    name = "genetic"
    description = "Breeds generations by selection, crossover and mutation; the best few of each live on."
    source = "Holland, Adaptation in Natural and Artificial Systems, 1975; Xie & Yuille, Genetic CNN, ICCV 2017"
    settings_type = GeneticSettings

    def __init__(self, problem: SearchProblem, settings: GeneticSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._config = settings

    def _merit(self, outcome: Outcome) -> Merit:
        return merit(self.problem, outcome)

    def _parent(self) -> Outcome:
        size = min(self._config.tournament, len(self._parents))
        drawn = self._rng.choice(len(self._parents), size, replace=False)
        return max(self._outcomes_of([self._parents[place] for place in drawn]), key=self._merit)

    def _survivors(self, parents: list[Outcome], children: list[Outcome]) -> list[Outcome]:
        ranked = sorted(parents, key=self._merit, reverse=True)
        elite, others = ranked[: self._config.elites], ranked[self._config.elites :]
        rest = max(0, self._config.population - len(elite))
        replaced = [*sorted(children, key=self._merit, reverse=True), *others]  # parents where too few children came
        return [*elite, *replaced[:rest]][: self._config.population]
