"""A space of which only listed architectures count: those of a published table, or those that a user can build.

Notation: S listed architectures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.errors import InvalidDefinitionError, NotInSpaceError, SpaceTooLargeError
from predictor.search_spaces.base import MAX_ENUMERATED, Notation, SearchSpace
from predictor.search_spaces.stepwise import Stepwise

_MAX_STEPS = 50


class ListedSpace(SearchSpace):
    """Another space less everything that is not listed. Goes by the other's name, and by its notation and features.

    Of several genotypes of one network the first counts. A mutation walks through the other space until it meets a listed
    architecture, and draws one where it meets none.

    Raises:
        InvalidDefinitionError: if nothing is listed.
    """

    def __init__(self, whole: SearchSpace, architectures: Sequence[Architecture]) -> None:
        if not architectures:
            raise InvalidDefinitionError("expected at least one architecture in the list, got none")
        self.whole, self.name = whole, whole.name
        self._listed: dict[str, Architecture] = {}
        for one in architectures:
            self._listed.setdefault(one.hash, one)
        self._ordered = list(self._listed.values())
        self._is_whole = len({one.genotype for one in architectures}) == whole.size()

    def parse(self, notation: Notation) -> Architecture:
        return self._own(self.whole.parse(notation))

    def format(self, architecture: Architecture) -> str:
        return self.whole.format(self._own(architecture))

    def sample(self, rng: np.random.Generator) -> Architecture:
        return self._ordered[int(rng.integers(len(self._ordered)))]

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        found = self.whole.neighbours(self._own(architecture))
        return [self._listed[one.hash] for one in found if one.hash in self._listed]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        own = reached = self._own(architecture)
        if len(self._ordered) == 1:
            return own
        for _ in range(_MAX_STEPS):
            reached = self.whole.mutate(reached, rng)
            if reached.hash != own.hash and reached.hash in self._listed:
                return self._listed[reached.hash]
        others = [one for one in self._ordered if one.hash != own.hash]
        return others[int(rng.integers(len(others)))]

    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        parents = self._own(first), self._own(second)
        for _ in range(_MAX_STEPS):
            child = self.whole.crossover(*parents, rng)
            if child.hash in self._listed:
                return self._listed[child.hash]
        return parents[0]

    def stepwise(self) -> Stepwise | None:
        """The other space's, where all of it is listed; else None, since its steps would lead to what is not."""
        return self.whole.stepwise() if self._is_whole else None

    def size(self) -> int | None:
        return len(self._ordered)

    def enumerate(self) -> Iterator[Architecture]:
        if len(self._ordered) > MAX_ENUMERATED:
            raise SpaceTooLargeError(
                f"{self.name}: expected at most {MAX_ENUMERATED} architectures to list, got {len(self._ordered)}"
            )
        return iter(self._ordered)

    def features(self, architecture: Architecture) -> tuple[float, ...]:
        return self.whole.features(architecture)

    def features_of_all(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:
        return self.whole.features_of_all(architectures)

    def _own(self, architecture: Architecture) -> Architecture:
        if architecture.hash not in self._listed:
            raise NotInSpaceError(
                f"{self.name}: expected one of {len(self._ordered)} listed architectures, got another"
            )
        return self._listed[architecture.hash]
