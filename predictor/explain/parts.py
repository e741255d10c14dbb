"""The parts of an architecture: what could have been decided otherwise in it, and what comes of it.

A part is a decision where the search space has some, and else an operation or an edge of the graph. How architectures are
changed depends on where they come from; explanations know nothing of that. No change leaves the space: what it does not
express is not offered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import numpy as np

from predictor.architecture import Architecture, Operation

PartKind = Literal["decision", "operation", "edge"]
VariantT = TypeVar("VariantT")


@dataclass(frozen=True)
class Part:
    """One of them. `nodes` are numbers in the architecture's canonical form: the operation's, or the edge's two ends."""

    kind: PartKind
    name: str
    chosen: str
    nodes: tuple[int, ...] = ()

    @property
    def group(self) -> str:
        """What parts of other architectures may be compared with it: the same decision, or else any operation or edge."""
        return self.name if self.kind == "decision" else self.kind


@dataclass(frozen=True)
class Choice:
    """One way to decide a part, with the architecture that comes of it."""

    label: str
    architecture: Architecture
    is_own: bool = False


class Parts(ABC, Generic[VariantT]):
    """The parts of one architecture, by their number in `parts`. May be used from any thread.

    A variant is another architecture's way to decide everything; what it decides need not all apply.
    """

    architecture: Architecture
    parts: tuple[Part, ...]

    @abstractmethod
    def choices(self, number: int) -> list[Choice]:
        """All ways to decide a part; the own one is among them unless numbers are merely spread over a range. Several may be the
        same network."""

    @abstractmethod
    def variant(self, rng: np.random.Generator) -> VariantT:
        """A random one."""

    @abstractmethod
    def mixed(self, variant: VariantT, kept: Sequence[bool]) -> Architecture | None:
        """The variant with the own way to decide those of the parts that are kept; None where that is no architecture of the
        space. With all of them it is the own architecture."""

    def alternatives(self, number: int) -> list[Choice]:
        """The ways to decide a part otherwise."""
        return [choice for choice in self.choices(number) if not choice.is_own]


def described(operation: Operation) -> str:
    """Such as conv(kernel_size=3, stride=1)."""
    attributes = ", ".join(f"{name}={value}" for name, value in operation.attributes)
    return f"{operation.kind}({attributes})" if attributes else operation.kind
