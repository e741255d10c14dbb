"""Operators: what a framework computes, one step at a time, before it becomes an architecture.

Both readers fill the same graph in an order in which inputs come first. What depends on constants alone is a constant.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from predictor.architecture import AttributeValue
from predictor.errors import FormatError

MAX_OPERATORS = 50_000
MAX_KNOWN_NUMBERS = 64
"""Constants of more numbers are weights: their shape is kept, and what they hold is not looked at."""

Shape = tuple[int | None, ...]
Numbers = tuple[int | float, ...]

CONSTANT = "constant"
PASSED = "view"
"""The kind of whatever hands on what it gets: reshapes, casts, slices, dropout."""


@dataclass(frozen=True)
class Operator:
    """One step. `macs` and `params` are None where they are not known."""

    kind: str
    inputs: tuple[int, ...] = ()
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    shape: Shape | None = None
    numbers: Numbers | None = None  # what a small constant holds, or the number that a scale, shift or power takes
    axes: tuple[int, ...] = ()
    params: int = 0
    macs: int | None = 0


class OperatorGraph:
    """Operators by number, the inputs of each before itself."""

    def __init__(self) -> None:
        self.operators: list[Operator] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def __getitem__(self, number: int) -> Operator:
        return self.operators[number]

    def add(self, operator: Operator) -> int:
        """Its number. An operator of nothing but constants becomes a constant.

        Raises:
            FormatError: if there are too many.
        """
        if len(self.operators) >= MAX_OPERATORS:
            raise FormatError(f"expected at most {MAX_OPERATORS} operators, got more")
        if operator.inputs and all(self.operators[one].kind == CONSTANT for one in operator.inputs):
            operator = Operator(CONSTANT, shape=operator.shape, numbers=operator.numbers)
        self.operators.append(operator)
        return len(self.operators) - 1

    def add_input(self, shape: Shape | None) -> int:
        """A place where data comes in."""
        self.inputs.append(self.add(Operator("input", shape=shape)))
        return self.inputs[-1]

    def add_constant(self, shape: Shape | None, numbers: Sequence[int | float] | None = None) -> int:
        """A weight, or a small constant whose numbers count."""
        kept = tuple(numbers) if numbers is not None and len(numbers) <= MAX_KNOWN_NUMBERS else None
        return self.add(Operator(CONSTANT, shape=shape, numbers=kept))

    def is_constant(self, number: int) -> bool:
        """Whether it does not depend on any input."""
        return self.operators[number].kind == CONSTANT

    def scalar(self, number: int) -> float | None:
        """The one number that a constant holds; None if it holds several or they are not known."""
        numbers = self.operators[number].numbers
        return float(numbers[0]) if numbers is not None and len(numbers) == 1 else None

    def become(self, number: int, **changes: object) -> None:
        """Changes one operator."""
        self.operators[number] = replace(self.operators[number], **changes)  # type: ignore[arg-type]

    def reached(self) -> set[int]:
        """Those that outputs depend on."""
        found = set(self.outputs)
        for number in range(len(self.operators) - 1, -1, -1):
            if number in found:
                found.update(self.operators[number].inputs)
        return found

    def num_readers(self) -> Counter[int]:
        """For each operator how many of those that outputs depend on read it; an output is a reader."""
        readers = Counter(self.outputs)
        for number in self.reached():
            readers.update(set(self.operators[number].inputs))
        return readers


def size_of(shape: Shape | None) -> int | None:
    """How many numbers a tensor of that shape has."""
    if shape is None or any(one is None for one in shape):
        return None
    return math.prod(one for one in shape if one is not None)
