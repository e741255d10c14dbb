"""Parts of architectures that are vectors of decisions.

Notation: D decisions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictor.architecture import Architecture
from predictor.explain.parts import Choice, Part, Parts
from predictor.search_spaces.base import Choices, DecisionSpace


class DecisionParts(Parts[Choices]):
    """Each decision that applies is a part.

    Raises:
        NotInSpaceError: if the space cannot express the architecture.
    """

    def __init__(self, space: DecisionSpace, architecture: Architecture) -> None:
        self._space = space
        self._own = space.choices_of(architecture)
        self.architecture = space.decode(self._own)
        self._places = [place for place in range(len(self._own)) if self._applies(place)]
        self.parts = tuple(
            Part("decision", space.decisions[place].name, self._label(place, self._own[place]))
            for place in self._places
        )

    def choices(self, number: int) -> list[Choice]:
        place = self._places[number]
        found: dict[int, Choice] = {}
        moved: dict[int, Choice] = {}  # some spaces take the nearest for what they do not have, or renumber
        for choice in range(len(self._space.decisions[place].choices)):
            settled = self._changed(place, choice)
            if settled is not None:
                made = Choice(self._label(place, choice), self._space.decode(settled), choice == self._own[place])
                (found if settled[place] == choice else moved)[choice] = made
        known = {one.architecture.hash for one in found.values()}
        found.update((choice, one) for choice, one in moved.items() if one.architecture.hash not in known)
        return [found[choice] for choice in sorted(found)]

    def variant(self, rng: np.random.Generator) -> Choices:
        vector = list(self._space.choices_of(self._space.sample(rng)))
        for place, decision in enumerate(self._space.decisions):
            drawn = int(rng.integers(len(decision.choices)))
            if self._space.settled((*vector[:place], drawn, *vector[place + 1 :])) == tuple(vector):
                vector[place] = drawn  # it does not apply there, but may elsewhere
        return tuple(vector)

    def mixed(self, variant: Choices, kept: Sequence[bool]) -> Architecture | None:
        vector = list(variant)
        for place, is_kept in zip(self._places, kept, strict=True):
            if is_kept:
                vector[place] = self._own[place]
        settled = self._space.settled(tuple(vector))
        return None if settled is None else self._space.decode(settled)

    def _changed(self, place: int, choice: int) -> Choices | None:
        return self._space.settled((*self._own[:place], choice, *self._own[place + 1 :]))

    def _applies(self, place: int) -> bool:
        """Whether anything but the own choice makes a difference."""
        others = range(len(self._space.decisions[place].choices))
        return any(self._changed(place, other) not in (None, self._own) for other in others)

    def _label(self, place: int, choice: int) -> str:
        return str(self._space.decisions[place].choices[choice])
