"""A tool's own parameters as a declared search space, and values from the one to the other."""

from __future__ import annotations

import hashlib
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_LONGEST_TEXT = 100
_LARGEST_WHOLE = 2**53


class Parameter(ABC):
    """What one parameter may be."""

    @abstractmethod
    def declaration(self) -> dict[str, Any]:
        """The decision of a declared search space, without its name."""

    @abstractmethod
    def encode(self, value: Any) -> Any:
        """The decision's value; raises ValueError if the parameter has no such value."""

    @abstractmethod
    def decode(self, value: Any) -> Any:
        """The parameter's value."""


@dataclass(frozen=True)
class Choice(Parameter):
    """One of several values of any kind. Numbers that rise are an ordinal decision, and what JSON cannot tell apart goes by
    its place and its text."""

    choices: tuple[Any, ...]

    def declaration(self) -> dict[str, Any]:
        return {"type": "ordinal" if self._rises() else "categorical", "values": self._values()}

    def encode(self, value: Any) -> Any:
        return self._values()[self._index(value)]

    def decode(self, value: Any) -> Any:
        return self.choices[self._values().index(value)]

    def _index(self, value: Any) -> int:
        for index, choice in enumerate(self.choices):
            if choice is value or (type(choice) is type(value) and choice == value):
                return index
        raise ValueError(f"expected one of {self.choices!r:.200}, got {value!r:.80}")

    def _values(self) -> list[Any]:
        if self._rises() or all(
            isinstance(one, str) and 0 < len(one) <= _LONGEST_TEXT and one.isprintable() for one in self.choices
        ):
            return list(self.choices)
        return [
            f"{index}: {choice!r:.80}".encode("ascii", "replace").decode() for index, choice in enumerate(self.choices)
        ]

    def _rises(self) -> bool:
        numbers = [
            one
            for one in self.choices
            if type(one) in (int, float) and math.isfinite(one) and abs(one) < _LARGEST_WHOLE
        ]
        return len(numbers) == len(self.choices) and all(a < b for a, b in pairwise(numbers))


@dataclass(frozen=True)
class Whole(Parameter):
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def declaration(self) -> dict[str, Any]:
        more: dict[str, Any] = {"log": True} if self.log else {"step": self.step}
        return {"type": "integer", "low": self.low, "high": self.high, **more}

    def encode(self, value: Any) -> Any:
        if (
            int(value) != value
            or not self.low <= value <= self.high
            or (not self.log and (value - self.low) % self.step)
        ):
            raise ValueError(f"expected a whole number of {self}, got {value!r}")
        return int(value)

    def decode(self, value: Any) -> Any:
        return int(value)


@dataclass(frozen=True)
class Real(Parameter):
    """A number from `low` to `high`, both included; with a step, one of those that it leads to."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def declaration(self) -> dict[str, Any]:
        more: dict[str, Any] = {"log": True} if self.log else {} if self.step is None else {"step": self.step}
        return {"type": "real", "low": self.low, "high": self._highest(), **more}

    def encode(self, value: Any) -> Any:
        if not self.low <= value <= self.high:
            raise ValueError(f"expected a number of {self}, got {value!r}")
        if self.step is None:
            return float(value)
        low, step = Decimal(repr(self.low)), Decimal(repr(self.step))
        nearest = low + round((Decimal(repr(float(value))) - low) / step) * step
        if not math.isclose(float(nearest), value, rel_tol=1e-9, abs_tol=1e-9 * self.step):
            raise ValueError(f"expected a number of {self}, got {value!r}")
        return float(nearest)

    def decode(self, value: Any) -> Any:
        return float(value)

    def _highest(self) -> float:
        if self.step is None:
            return self.high
        low, step = Decimal(repr(self.low)), Decimal(repr(self.step))
        return float(low + (Decimal(repr(self.high)) - low) // step * step)


class ParameterSpace:
    """Parameters by name. Those of one value alone are left out of the search space, and kept in what is suggested.

    Raises:
        ValueError: if nothing is left to search.
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self._parameters = {name: parameters[name] for name in sorted(parameters)}
        if not self._parameters:
            raise ValueError("expected at least one parameter with more than one value, got none")
        self._names = _decision_names(list(self._parameters))

    @property
    def names(self) -> Sequence[str]:
        """The parameters' own names."""
        return list(self._parameters)

    @property
    def definition(self) -> dict[str, Any]:
        """The declared search space."""
        decisions = [
            {"name": self._names[name], **parameter.declaration()} for name, parameter in self._parameters.items()
        ]
        return {"version": 1, "decisions": decisions}

    @property
    def digest(self) -> str:
        """The same for the same definition."""
        return digest(self.definition)

    def encode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """An architecture of the space; raises ValueError if a parameter is missing, or has another value."""
        missing = [name for name in self._parameters if name not in values]
        if missing:
            raise ValueError(f"expected a value for {missing[0]!r}, got none")
        return {self._names[name]: one.encode(values[name]) for name, one in self._parameters.items()}

    def decode(self, genotype: str) -> dict[str, Any]:
        """The parameters' values in an architecture of the space."""
        written = json.loads(genotype)
        return {name: one.decode(written[self._names[name]]) for name, one in self._parameters.items()}


def digest(document: Any) -> str:
    """Twelve characters that are the same for the same document."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]


def _decision_names(names: Sequence[str]) -> dict[str, str]:
    """Names as declared search spaces take them: the same where possible, no two alike."""
    plain = {name: name for name in names if _NAME.fullmatch(name)}
    for index, name in enumerate(names):
        if name not in plain:
            plain[name] = _free(f"p{index}_{_NOT_IN_A_NAME.sub('_', name)}"[:60], set(plain.values()))
    return plain


def _free(name: str, taken: set[str]) -> str:
    return name if name not in taken else _free(f"{name}_", taken)
