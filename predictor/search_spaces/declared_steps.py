"""The decisions of a declared space step by step.

Listed values are one option each, and so are the numbers of a small grid. A larger grid or a range of real numbers is cut
into at most 12 ranges, of which an option is one; numbers that other decisions depend on are always options of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np

from predictor.architecture import Architecture
from predictor.search_spaces.declared_assignments import Assignment, Assignments
from predictor.search_spaces.declared_definition import Definition, Slot
from predictor.search_spaces.declared_values import Domain, Grid, Listed, Range, Value
from predictor.search_spaces.stepwise import Path, Step, Stepwise

MAX_PARTS = 12


class DeclaredSteps(Stepwise):
    """Made by the space itself, which says how to build an assignment and how to find it again."""

    def __init__(
        self,
        definition: Definition,
        decode: Callable[[Assignment], Architecture],
        assignment_of: Callable[[Architecture], Assignment],
    ) -> None:
        self._assignments = Assignments(definition)
        self._decode = decode
        self._assignment_of = assignment_of
        self._slots = definition.slots
        self._latest: tuple[Path, Assignment] = ((), {})
        parts = {one.name: _parts(one.domain, _kept_apart(definition, one.name)) for one in definition.decisions}
        self._parts = tuple(parts[name] for name, _ in self._slots)
        self.steps = tuple(
            Step(_label(slot), tuple(map(_shown, options)), _module(definition, slot))
            for slot, options in zip(self._slots, self._parts, strict=True)
        )

    def open_options(self, path: Sequence[int]) -> Sequence[int]:
        place = len(path)
        return range(len(self._parts[place])) if self._applies(place, self._known(tuple(path))) else (0,)

    def build(self, path: Sequence[int], rng: np.random.Generator) -> Architecture:
        known: Assignment = {}
        for place, slot in enumerate(self._slots):
            if self._applies(place, known):
                known[slot] = self._drawn(place, path[place], rng)
        return self._decode(known)

    def path_of(self, architecture: Architecture) -> Path:
        known = self._assignment_of(architecture)
        return tuple(self._option(place, known[slot]) if slot in known else 0 for place, slot in enumerate(self._slots))

    def _applies(self, place: int, known: Assignment) -> bool:
        return self._assignments.applies(self._slots[place], known)

    def _known(self, path: Path) -> Assignment:
        """First values of what was taken: conditions never tell the values of one part from each other.

        Whoever decides step by step asks for one step more each time, so the last answer is kept and gone on from.
        """
        begun, before = self._latest
        if begun != path[: len(begun)]:
            begun, before = (), {}
        known = dict(before)
        for place in range(len(begun), len(path)):
            if self._applies(place, known):
                known[self._slots[place]] = self._parts[place][path[place]].default
        self._latest = (path, known)  # one assignment, so that threads see a whole pair
        return known

    def _drawn(self, place: int, option: int, rng: np.random.Generator) -> Value:
        drawn = self._parts[place][option].sample(rng)
        whole = self._assignments.domain(self._slots[place])
        read = whole.read(drawn)  # as the whole decision spells it
        return whole.default if read is None else read

    def _option(self, place: int, value: Value) -> int:
        return next(number for number, part in enumerate(self._parts[place]) if part.read(value) is not None)


def _label(slot: Slot) -> str:
    return slot[0] if slot[1] < 0 else f"{slot[0]}[{slot[1]}]"


def _module(definition: Definition, slot: Slot) -> str:
    """Decisions that share layers are about those layers."""
    repeat = definition.by_name[slot[0]].repeat
    return "" if repeat is None else f"layers of {repeat}"


def _shown(part: Domain) -> str:
    ends = [str(value) for value in part.values()] if isinstance(part, Range) else []
    if isinstance(part, Grid) and part.count > 1:
        ends = [str(part.low), str(part.high)]
    return f"{ends[0]} to {ends[-1]}" if ends else str(part.default)


def _kept_apart(definition: Definition, name: str) -> frozenset[Hashable] | None:
    """Keys of the values that others depend on; None if those are all of them, as where it is a number of layers."""
    if any(group.repeat == name for group in definition.groups):
        return None
    conditions = (allowed for one in definition.decisions for other, allowed in one.when if other == name)
    return frozenset(itertools.chain.from_iterable(conditions))


def _parts(domain: Domain, apart: frozenset[Hashable] | None) -> tuple[Domain, ...]:
    """The domain cut into the options of a step, in order."""
    match domain:
        case Range():
            return tuple(_range_parts(domain))
        case Grid() if apart is not None and domain.count > MAX_PARTS:
            return tuple(domain.parts(MAX_PARTS, apart))
        case _:
            return tuple(Listed((value,), ordered=True) for value in domain.values())


def _range_parts(domain: Range) -> Iterator[Range]:
    if domain.low == domain.high:
        yield domain
        return
    ends = [domain.at(number / MAX_PARTS) for number in range(MAX_PARTS + 1)]
    for low, high in itertools.pairwise(ends):
        yield Range(low, high, domain.log)
