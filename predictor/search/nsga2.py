"""NSGA-II (Deb, Pratap, Agarwal & Meyarivan, "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", IEEE TEVC 2002;
for architectures: Lu et al., "NSGA-Net", GECCO 2019).

Parents and children together are sorted into fronts, constraints first; the best fronts survive, and of the one that does
not fit whole the least crowded. Two random parents compete to breed by front, then by crowding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictor.search.base import Outcome
from predictor.search.generations import GenerationalStrategy, GenerationSettings
from predictor.search.pareto import crowding_distances, front_numbers, goodness_of


class NSGA2(GenerationalStrategy):
    """Several objectives at once: the whole trade-off instead of one best."""

    name = "nsga2"
    description = (
        "Breeds towards the whole trade-off of several objectives: non-dominated sorting and crowding (NSGA-II)."
    )
    source = "Deb et al., A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II, IEEE TEVC 2002"
    settings_type = GenerationSettings
    takes_several_objectives = True

    def _parent(self) -> Outcome:
        outcomes = self._outcomes_of(self._parents)
        drawn = self._rng.choice(len(outcomes), min(2, len(outcomes)), replace=False)
        fronts, crowding = self._fitness(outcomes)
        return outcomes[int(min(drawn, key=lambda place: (fronts[place], -crowding[place])))]

    def _survivors(self, parents: list[Outcome], children: list[Outcome]) -> list[Outcome]:
        everybody = [*parents, *children]
        fronts, crowding = self._fitness(everybody)
        order = sorted(range(len(everybody)), key=lambda place: (fronts[place], -crowding[place]))
        return [everybody[place] for place in order[: self._generation_settings.population]]

    def _fitness(self, outcomes: list[Outcome]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(N,) the front of each, and how far its neighbours on it are."""
        goodness = goodness_of(self.problem, outcomes)
        fronts = front_numbers(goodness, np.array([outcome.violation for outcome in outcomes]))
        crowding = np.zeros(len(outcomes))
        for front in np.unique(fronts):
            crowding[fronts == front] = crowding_distances(goodness[fronts == front])
        return fronts, crowding
