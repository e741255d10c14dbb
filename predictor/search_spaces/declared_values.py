"""The values that a declared decision may take: listed, on a grid of numbers, or any number of a range.

Steps: a neighbour in a grid is one step or a tenth of the range away, in a continuous range a tenth of it (of the logarithmic
range if `log`); a mutation of a number is a gaussian step of a tenth of the range. Listed values are all neighbours.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from predictor.search_spaces.json_notation import is_number

Value = bool | int | float | str

_STEP = 0.1
_TOLERANCE = 1e-9


def value_key(value: Value) -> Hashable:
    """Equal for equal values: True, 1 and "1" are three, 1 and 1.0 are one."""
    return ("truth" if isinstance(value, bool) else "text" if isinstance(value, str) else "number", value)


class Domain(ABC):
    """What one decision may be. Immutable."""

    @property
    @abstractmethod
    def count(self) -> int | None:
        """How many values there are; None in a continuous range."""

    @property
    @abstractmethod
    def num_features(self) -> int:
        """How many numbers `features` gives."""

    @property
    @abstractmethod
    def expected(self) -> str:
        """The values in words, for error messages."""

    @abstractmethod
    def read(self, value: object) -> Value | None:
        """The value as this domain spells it; None if it is no value of this domain."""

    @abstractmethod
    def values(self) -> Iterator[Value]:
        """Every value in order; of a continuous range only its ends."""

    @abstractmethod
    def spread(self, count: int) -> list[Value]:
        """Different values from the first to the last, evenly apart (over the logarithm if so declared): at most `count` >= 2
        numbers, and all of what is listed."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Value:
        """A random value, evenly (over the logarithm if so declared)."""

    @abstractmethod
    def neighbours(self, value: Value) -> list[Value]:
        """Values one step away (see the module)."""

    @abstractmethod
    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        """A random value near this one; this one only if there is no other."""

    @abstractmethod
    def features(self, value: Value) -> tuple[float, ...]:
        """(num_features,) numbers in [0, 1]."""

    @property
    def default(self) -> Value:
        """The first value."""
        return next(self.values())


@dataclass(frozen=True)
class Listed(Domain):
    """The values of a categorical (one-hot features) or ordinal decision (its place, scaled)."""

    listed: tuple[Value, ...]
    ordered: bool

    @property
    def count(self) -> int:
        return len(self.listed)

    @property
    def num_features(self) -> int:
        return 1 if self.ordered else len(self.listed)

    @property
    def expected(self) -> str:
        shown = ", ".join(map(ascii, self.listed[:12]))
        return f"one of {shown}{', …' if len(self.listed) > 12 else ''}"

    def read(self, value: object) -> Value | None:
        if not isinstance(value, bool | int | float | str):
            return None
        key = value_key(value)
        return next((own for own in self.listed if value_key(own) == key), None)

    def values(self) -> Iterator[Value]:
        return iter(self.listed)

    def spread(self, count: int) -> list[Value]:
        return list(self.listed)

    def sample(self, rng: np.random.Generator) -> Value:
        return self.listed[int(rng.integers(len(self.listed)))]

    def neighbours(self, value: Value) -> list[Value]:
        return [other for other in self.listed if value_key(other) != value_key(value)]

    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        others = self.neighbours(value)
        return others[int(rng.integers(len(others)))] if others else value

    def features(self, value: Value) -> tuple[float, ...]:
        place = [value_key(own) for own in self.listed].index(value_key(value))
        if self.ordered:
            return (place / max(1, len(self.listed) - 1),)
        return tuple(float(number == place) for number in range(len(self.listed)))


@dataclass(frozen=True)
class Grid(Domain):
    """low, low + step, … high: an integer decision, or a real one with a step."""

    low: int | float
    high: int | float
    step: int | float
    log: bool = False

    @property
    def num_features(self) -> int:
        return 1

    @property
    def count(self) -> int:
        return round((_exact(self.high) - _exact(self.low)) / _exact(self.step)) + 1

    @property
    def _is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.step, int)

    @property
    def expected(self) -> str:
        kind = "a whole number" if self._is_whole else "a number"
        steps = "" if self._is_whole and self.step == 1 else f" in steps of {self.step}"
        return f"{kind} from {self.low} to {self.high}{steps}"

    def read(self, value: object) -> Value | None:
        if not is_number(value) or not self.low <= value <= self.high:  # type: ignore[operator]
            return None
        own = self._at(self._place(value))  # type: ignore[arg-type]
        return own if abs(own - value) <= (0 if self._is_whole else _TOLERANCE * self.step) else None  # type: ignore[operator]

    def values(self) -> Iterator[Value]:
        return (self._at(place) for place in range(self.count))

    def spread(self, count: int) -> list[Value]:
        if self.count <= count:
            return list(self.values())
        numbers = (_from_unit(unit, self.low, self.high, self.log) for unit in np.linspace(0.0, 1.0, count).tolist())
        return [self._at(place) for place in dict.fromkeys(self._clipped(self._place(number)) for number in numbers)]

    def parts(self, most: int, apart: Collection[Hashable] = ()) -> list[Grid]:
        """Runs of neighbouring values that lie in the same of `most` equal parts of the range, in order; those whose keys are in
        `apart` are runs of their own. No value in between is looked at: there may be billions."""
        alone = [self._place(value) for value in map(self.read, _numbers(apart)) if value is not None]  # type: ignore[arg-type]
        cuts = {0, *(self._first_in(part, most) for part in range(1, most)), *alone, *(place + 1 for place in alone)}
        starts = sorted(place for place in cuts if place < self.count)
        ends = [*starts[1:], self.count]
        return [
            Grid(self._at(start), self._at(end - 1), self.step, self.log)
            for start, end in zip(starts, ends, strict=True)
        ]

    def _first_in(self, part: int, most: int) -> int:
        """The place of the first value that lies in that part of the range or beyond; the count if none does."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            if min(most - 1, int(self._unit(self._at(middle)) * most)) < part:
                low = middle + 1
            else:
                high = middle
        return low

    def sample(self, rng: np.random.Generator) -> Value:
        if not self.log:
            return self._at(int(rng.integers(self.count)))
        low, high = math.log(self.low - 0.5 * self.step), math.log(self.high + 0.5 * self.step)
        return self._at(self._clipped(self._place(math.exp(rng.uniform(low, high)))))

    def neighbours(self, value: Value) -> list[Value]:
        own, leap = self._place(value), max(1, round(_STEP * self.count))  # type: ignore[arg-type]
        places = sorted({own - leap, own - 1, own + 1, own + leap})
        return [self._at(place) for place in places if 0 <= place < self.count]

    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        own = self._place(value)  # type: ignore[arg-type]
        if self.count == 1:
            return value
        moved = self._unit(value) + _STEP * rng.standard_normal()  # type: ignore[arg-type]
        place = self._clipped(self._place(_from_unit(min(1.0, max(0.0, moved)), self.low, self.high, self.log)))
        if place == own:
            place = own + (1 if moved >= self._unit(value) else -1)  # type: ignore[arg-type]
        return self._at(place if 0 <= place < self.count else own + (1 if place < 0 else -1))

    def features(self, value: Value) -> tuple[float, ...]:
        return (self._unit(value),)  # type: ignore[arg-type]

    def _at(self, place: int) -> int | float:
        if self._is_whole:
            return int(self.low + place * self.step)
        return float(_exact(self.low) + place * _exact(self.step)) + 0.0  # no negative zero

    def _place(self, value: int | float) -> int:
        if self._is_whole and isinstance(value, int):
            return round((value - int(self.low)) // int(self.step))
        return round((value - self.low) / self.step)

    def _clipped(self, place: int) -> int:
        return min(self.count - 1, max(0, place))

    def _unit(self, value: int | float) -> float:
        return _to_unit(value, self.low, self.high, self.log)


@dataclass(frozen=True)
class Range(Domain):
    """Any number from low to high."""

    low: float
    high: float
    log: bool = False

    @property
    def count(self) -> None:
        return None

    @property
    def num_features(self) -> int:
        return 1

    @property
    def expected(self) -> str:
        return f"a number from {self.low} to {self.high}"

    def read(self, value: object) -> Value | None:
        if not is_number(value) or not self.low <= value <= self.high:  # type: ignore[operator]
            return None
        return float(value) + 0.0  # type: ignore[arg-type]  # no negative zero

    def values(self) -> Iterator[Value]:
        return iter((self.low, self.high))

    def spread(self, count: int) -> list[Value]:
        return list(dict.fromkeys(self.at(unit) for unit in np.linspace(0.0, 1.0, count).tolist()))

    def sample(self, rng: np.random.Generator) -> Value:
        return self.at(rng.uniform())

    def neighbours(self, value: Value) -> list[Value]:
        own = _to_unit(value, self.low, self.high, self.log)  # type: ignore[arg-type]
        around = [self.at(max(0.0, own - _STEP)), self.at(min(1.0, own + _STEP))]
        return [other for other, _ in itertools.groupby(around) if other != value]

    def mutate(self, value: Value, rng: np.random.Generator) -> Value:
        moved = _to_unit(value, self.low, self.high, self.log) + _STEP * rng.standard_normal()  # type: ignore[arg-type]
        reflected = abs(moved) if moved <= 1.0 else 2.0 - moved
        return self.at(min(1.0, max(0.0, reflected)))

    def features(self, value: Value) -> tuple[float, ...]:
        return (_to_unit(value, self.low, self.high, self.log),)  # type: ignore[arg-type]

    def at(self, unit: float) -> float:
        """The number at that share of the range (of its logarithm if so declared)."""
        return min(self.high, max(self.low, _from_unit(unit, self.low, self.high, self.log))) + 0.0


def _numbers(keys: Collection[Hashable]) -> Iterator[object]:
    """The numbers behind keys of values."""
    return (key[1] for key in keys if isinstance(key, tuple) and key[0] == "number")


def _exact(number: int | float) -> Decimal:
    """As the user wrote it: 0.1 is a tenth."""
    return Decimal(repr(number))


def _to_unit(value: int | float, low: int | float, high: int | float, log: bool) -> float:
    if low == high:
        return 0.0
    if log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _from_unit(unit: float, low: int | float, high: int | float, log: bool) -> float:
    if log:
        return math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
    return float(low + unit * (high - low))
