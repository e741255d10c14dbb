"""Architectures decided one decision after another: what learners that build them step by step need of a space.

A path is one option a step, in the order of the steps. Where a step does not apply, option 0 is its only open one. Whoever
takes open options alone always arrives at an architecture.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from predictor.architecture import Architecture

Path = tuple[int, ...]
"""One option a step; a beginning of it while the architecture is being decided."""


@dataclass(frozen=True)
class Step:
    """One decision on the way. `module` is the part of the architecture that it is about: a stage, a cell, its layers; empty
    where it is about the whole, like a depth or the wiring."""

    name: str
    options: tuple[str, ...]
    module: str = ""

    @cached_property
    def kind(self) -> str:
        """Equal for decisions of the same sort at different places: the name without its module and without numbers."""
        return re.sub(r"[0-9]+", "", self.name.removeprefix(self.module))


class Stepwise(ABC):
    """How the architectures of one space are decided step by step. Immutable; any thread may call it."""

    steps: tuple[Step, ...]

    @abstractmethod
    def open_options(self, path: Sequence[int]) -> Sequence[int]:
        """The options of the step after this beginning of a path, at least one, ascending."""

    @abstractmethod
    def build(self, path: Sequence[int], rng: np.random.Generator) -> Architecture:
        """The architecture of a path of open options; `rng` draws the exact number where an option is a range of numbers."""

    @abstractmethod
    def path_of(self, architecture: Architecture) -> Path:
        """A path that builds the architecture (up to the exact numbers of ranges).

        Raises:
            NotInSpaceError: if this space cannot express it.
        """
