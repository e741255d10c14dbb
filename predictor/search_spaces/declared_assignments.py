"""Assignments of values to the slots of a declared space: which slots apply, and all assignments there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from predictor.search_spaces.declared_definition import Definition, LayerGroup, Slot
from predictor.search_spaces.declared_values import Domain, Value, value_key

Assignment = dict[Slot, Value]
"""The value of every slot that applies, each after those that it depends on."""

Propose = Callable[[Slot, Assignment], Value | None]
"""The value of a slot that applies, given those before it; None if there is none."""


def num_layers(group: LayerGroup, values: Mapping[Slot, object]) -> int:
    """How many layers the group has; 0 where the decision that says so does not apply."""
    if isinstance(group.repeat, int):
        return group.repeat
    told = values.get((group.repeat, -1), 0)
    return told if isinstance(told, int) and 0 <= told <= group.max_layers else 0


class Assignments:
    """The rules of one declared space. Immutable."""

    def __init__(self, definition: Definition) -> None:
        self._slots = definition.slots
        self._by_name = definition.by_name
        self._group_of = {member.name: group for group in definition.groups for member in group.members}

    def settled(self, propose: Propose) -> Assignment | None:
        """Asks for the value of every slot that applies; None as soon as there is none."""
        found: Assignment = {}
        for slot in self._slots:
            if self.applies(slot, found):
                value = propose(slot, found)
                if value is None:
                    return None
                found[slot] = value
        return found

    def applies(self, slot: Slot, known: Assignment) -> bool:
        """Whether the slot has a value, given those of the slots before it."""
        name, layer = slot
        if layer >= 0 and layer >= num_layers(self._group_of[name], known):
            return False
        for other, allowed in self._by_name[name].when:
            needed = (other, -1 if self._by_name[other].repeat is None else layer)
            if needed not in known or value_key(known[needed]) not in allowed:
                return False
        return True

    def every(self) -> Iterator[Assignment]:
        """All assignments, the last slot's value changing fastest; lazily."""
        waiting = [self._alternatives(self._slots[0], {})]
        known: Assignment = {}
        while waiting:
            slot = self._slots[len(waiting) - 1]
            known.pop(slot, None)
            try:
                value = next(waiting[-1])
            except StopIteration:
                waiting.pop()
                continue
            if value is not None:
                known[slot] = value
            if len(waiting) == len(self._slots):
                yield dict(known)
            else:
                waiting.append(self._alternatives(self._slots[len(waiting)], known))

    def domain(self, slot: Slot) -> Domain:
        """What the slot may be."""
        return self._by_name[slot[0]].domain

    def _alternatives(self, slot: Slot, known: Assignment) -> Iterator[Value | None]:
        return iter(self.domain(slot).values()) if self.applies(slot, known) else iter((None,))
