"""Parts of architectures of declared spaces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictor.architecture import Architecture
from predictor.explain.parts import Choice, Part, Parts
from predictor.search_spaces.declared import DeclaredSpace
from predictor.search_spaces.declared_assignments import Assignment
from predictor.search_spaces.declared_definition import Slot
from predictor.search_spaces.declared_values import Value, value_key

_MOST_NUMBERS = 7
"""Values that stand for a range of more numbers."""


class DeclaredParts(Parts[Assignment]):
    """Each decision that applies, in each of its layers, is a part. What applies only since another was decided otherwise takes
    the layer's before it, or else its first value.

    Raises:
        NotInSpaceError: if the space cannot express the architecture.
    """

    def __init__(self, space: DeclaredSpace, architecture: Architecture) -> None:
        self._space = space
        self._own = space.assignment(architecture)
        self.architecture = space.built(self._own)
        self._slots = [slot for slot in space.definition.document_slots if self._is_free(slot)]
        self.parts = tuple(Part("decision", _name(slot), _label(self._own[slot])) for slot in self._slots)

    def choices(self, number: int) -> list[Choice]:
        slot = self._slots[number]
        own = value_key(self._own[slot])
        return [
            Choice(_label(value), self._space.built({**self._own, slot: value}), value_key(value) == own)
            for value in self._space.domain(slot).spread(_MOST_NUMBERS)
        ]

    def variant(self, rng: np.random.Generator) -> Assignment:
        drawn = self._space.assignment(self._space.sample(rng))
        rest = (slot for slot in self._space.definition.document_slots if slot not in drawn)
        return {**drawn, **{slot: self._space.domain(slot).sample(rng) for slot in rest}}

    def mixed(self, variant: Assignment, kept: Sequence[bool]) -> Architecture | None:
        own = {slot: self._own[slot] for slot, is_kept in zip(self._slots, kept, strict=True) if is_kept}
        return self._space.built({**variant, **own})

    def _is_free(self, slot: Slot) -> bool:
        return slot in self._own and self._space.domain(slot).count != 1


def _name(slot: Slot) -> str:
    return slot[0] if slot[1] < 0 else f"{slot[0]}[{slot[1]}]"


def _label(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
