"""The interface of a search space, and the shared ground of spaces whose architectures are vectors of decisions.

Notation: D decisions.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.errors import NotationError, NotInSpaceError, SpaceTooLargeError
from predictor.search_spaces.skeletons import Skeleton, WholeGraph
from predictor.search_spaces.stepwise import Path, Step, Stepwise

MAX_ENUMERATED = 200_000
_MAX_DRAWS = 1_000

Notation = str | Mapping[str, object] | Sequence[object]
"""An architecture as a user writes it: the space's own text, or JSON where the space has a JSON form."""


class SearchSpace(ABC):
    """The set of buildable architectures. Immutable; every method may be called from any thread.

    `parse` and `format` are inverse: `parse(format(a)) == a`. Random choices come from the generator that is passed in.
    """

    name: str
    is_open: bool = False
    """True when architectures come from outside (any graph will do), so that random ones say nothing about them."""
    skeleton: Skeleton = WholeGraph()
    """What surrounds the architectures in the network that is really trained."""

    @abstractmethod
    def parse(self, notation: Notation) -> Architecture:
        """The architecture that `notation` names, with `genotype` set to its text in this space's notation.

        Raises:
            NotationError: if it is not in this space's notation; says what was expected and what came.
        """

    @abstractmethod
    def format(self, architecture: Architecture) -> str:
        """The architecture in this space's notation.

        Raises:
            NotInSpaceError: if this space cannot express it.
        """

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Architecture:
        """A random architecture of this space."""

    @abstractmethod
    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """Every different architecture that is one decision (or one edit) away.

        Raises:
            NotInSpaceError: if this space cannot express the architecture.
        """

    @abstractmethod
    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A random neighbour, drawn without listing all of them; the architecture itself if it has no neighbour."""

    @abstractmethod
    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        """A child that takes each part from one of its parents."""

    @abstractmethod
    def size(self) -> int | None:
        """How many genotypes there are; None when there is no end of them."""

    @abstractmethod
    def enumerate(self) -> Iterator[Architecture]:
        """Every genotype once (isomorphic ones included).

        Raises:
            SpaceTooLargeError: if there are more than `MAX_ENUMERATED`.
        """

    @abstractmethod
    def features(self, architecture: Architecture) -> tuple[float, ...]:
        """The decisions behind an architecture of this space as numbers (one-hot, or scaled to [0, 1]), always equally
        many; empty where architectures do not come from decisions. Decisions that do not apply always give the same numbers.

        Raises:
            NotInSpaceError: if this space cannot express the architecture.
        """

    @abstractmethod
    def stepwise(self) -> Stepwise | None:
        """Its architectures as decided step by step; None where they do not come from decisions."""

    def features_of_all(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:
        """(Q, features) the same of Q architectures.

        Raises:
            NotInSpaceError: if this space cannot express one of them.
        """
        if not architectures:
            return np.zeros((0, 0), np.float32)
        return np.array([self.features(one) for one in architectures], np.float32)


@dataclass(frozen=True)
class Decision:
    """One choice among `choices`, which are shown to users as they stand here. `module` is the part of the architecture that it
    is about (a stage, a cell, a node …); empty where it is about the whole."""

    name: str
    choices: tuple[str | int | float, ...]
    module: str = ""


Choices = tuple[int, ...]
"""(D,) for every decision the index of what was chosen; 0 where the decision does not apply."""


class DecisionSpace(SearchSpace):
    """A space whose architectures are D choices among finite alternatives.

    A leaf says how choices are written (`_read`, `_write`), what graph they build (`_build`), which choices a graph came
    from (`_recover`) and, where some decisions do not always apply or not all vectors are valid, `_settled`, `_is_valid` and
    `_open_choices`.
    """

    decisions: tuple[Decision, ...]

    @abstractmethod
    def _read(self, notation: Notation) -> Choices:
        """Choices from notation; raises NotationError."""

    @abstractmethod
    def _write(self, choices: Choices) -> str:
        """The canonical text of settled choices."""

    @abstractmethod
    def _build(self, choices: Choices, genotype: str) -> Architecture:
        """The graph of settled choices."""

    @abstractmethod
    def _recover(self, architecture: Architecture) -> Choices | None:
        """Choices whose graph this is, found from the graph alone; None if there are none."""

    @abstractmethod
    def _settled(self, choices: Choices) -> Choices:
        """The same choices with 0 wherever the decision does not apply (return them as they are if all always do)."""

    @abstractmethod
    def _is_valid(self, choices: Choices) -> bool:
        """Whether settled choices name an architecture of this space."""

    @abstractmethod
    def _open_choices(self, place: int, known: Mapping[int, int]) -> Sequence[int]:
        """Which choices the decision at that place has, given the choices at others; only 0 where it does not apply.

        Those about the whole are decided first. Whoever keeps to open choices ends at a valid architecture.
        """

    def parse(self, notation: Notation) -> Architecture:
        choices = self._settled(self._read(notation))
        if not self._is_valid(choices):
            raise NotationError(f"{self.name}: expected a buildable architecture, got {_shortened(notation)}")
        return self.decode(choices)

    def format(self, architecture: Architecture) -> str:
        return self._write(self.choices_of(architecture))

    def decode(self, choices: Choices) -> Architecture:
        """The architecture of valid choices."""
        settled = self._settled(choices)
        return self._build(settled, self._write(settled))

    def settled(self, choices: Choices) -> Choices | None:
        """The same choices with 0 wherever the decision does not apply; None if they name no architecture of this space."""
        settled = self._settled(choices)
        return settled if self._is_valid(settled) else None

    def choices_of(self, architecture: Architecture) -> Choices:
        """The settled choices that build the architecture.

        Raises:
            NotInSpaceError: if this space cannot express it.
        """
        if architecture.genotype is not None:
            try:
                choices = self._settled(self._read(architecture.genotype))
            except NotationError:
                pass  # made by another space: only the graph counts
            else:
                if self._is_valid(choices) and self.decode(choices).hash == architecture.hash:
                    return choices
        recovered = self._recover(architecture)
        if recovered is None:
            raise NotInSpaceError(
                f"{self.name}: expected an architecture of this space, got a graph of {architecture.num_nodes} nodes "
                "that none of its genotypes builds"
            )
        return self._settled(recovered)

    def features(self, architecture: Architecture) -> tuple[float, ...]:
        return tuple(
            itertools.chain.from_iterable(
                one_hot[choice]
                for one_hot, choice in zip(self._one_hots, self._choices_by_text(architecture), strict=True)
            )
        )

    def features_of_all(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:
        chosen = np.array([self._choices_by_text(one) for one in architectures], np.intp)
        rows = np.zeros((len(architectures), sum(len(one.choices) for one in self.decisions)), np.float32)
        rows[np.arange(len(rows))[:, None], chosen.reshape(-1, len(self.decisions)) + self._first_columns] = 1.0
        return rows

    @cached_property
    def _first_columns(self) -> NDArray[np.intp]:  # (D,) of each decision's one-hot
        sizes = [len(one.choices) for one in self.decisions]
        return np.cumsum([0, *sizes[:-1]], dtype=np.intp)

    def _choices_by_text(self, architecture: Architecture) -> Choices:
        """Like `choices_of`, but takes the genotype's word for it when it reads as one of this space."""
        if architecture.genotype is not None:
            try:
                return self._settled(self._read(architecture.genotype))
            except NotationError:
                pass  # made by another space: only the graph counts
        return self.choices_of(architecture)

    @cached_property
    def _one_hots(self) -> tuple[tuple[tuple[float, ...], ...], ...]:
        return tuple(
            tuple(tuple(float(place == choice) for place in range(len(d.choices))) for choice in range(len(d.choices)))
            for d in self.decisions
        )

    def stepwise(self) -> Stepwise:
        return self._steps

    @cached_property
    def _steps(self) -> DecisionSteps:
        return DecisionSteps(self)

    def sample(self, rng: np.random.Generator) -> Architecture:
        for _ in range(_MAX_DRAWS):
            choices = self._settled(tuple(int(rng.integers(len(d.choices))) for d in self.decisions))
            if self._is_valid(choices):
                return self.decode(choices)
        raise NotInSpaceError(f"{self.name}: expected a valid architecture within {_MAX_DRAWS} random draws, got none")

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        own = self.choices_of(architecture)
        found: dict[str, Architecture] = {}
        for place, decision in enumerate(self.decisions):
            for choice in range(len(decision.choices)):
                changed = self._settled((*own[:place], choice, *own[place + 1 :]))
                if changed != own and self._is_valid(changed):
                    neighbour = self.decode(changed)
                    found.setdefault(neighbour.hash, neighbour)
        found.pop(architecture.hash, None)
        return list(found.values())

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        own = self.choices_of(architecture)
        for _ in range(_MAX_DRAWS):
            place = int(rng.integers(len(self.decisions)))
            choice = int(rng.integers(len(self.decisions[place].choices)))
            changed = self._settled((*own[:place], choice, *own[place + 1 :]))
            if changed != own and self._is_valid(changed):
                mutant = self.decode(changed)
                if mutant.hash != architecture.hash:
                    return mutant
        return architecture

    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        parents = (self.choices_of(first), self.choices_of(second))
        for _ in range(_MAX_DRAWS):
            taken = rng.integers(2, size=len(self.decisions))
            child = self._settled(tuple(parents[int(which)][place] for place, which in enumerate(taken)))
            if self._is_valid(child):
                return self.decode(child)
        return first

    def size(self) -> int | None:
        return math.prod(len(decision.choices) for decision in self.decisions)

    def enumerate(self) -> Iterator[Architecture]:
        vectors = math.prod(len(decision.choices) for decision in self.decisions)
        if vectors > MAX_ENUMERATED:
            raise SpaceTooLargeError(f"{self.name}: expected at most {MAX_ENUMERATED} genotypes to list, got {vectors}")
        for choices in itertools.product(*(range(len(decision.choices)) for decision in self.decisions)):
            if choices == self._settled(choices) and self._is_valid(choices):
                yield self.decode(choices)


class DecisionSteps(Stepwise):
    """The decisions of such a space step by step: first those about the whole, then the others as they stand."""

    def __init__(self, space: DecisionSpace) -> None:
        self._space = space
        self._order = sorted(range(len(space.decisions)), key=lambda place: space.decisions[place].module != "")
        decisions = [space.decisions[place] for place in self._order]
        self.steps = tuple(Step(one.name, tuple(map(str, one.choices)), one.module) for one in decisions)

    def open_options(self, path: Sequence[int]) -> Sequence[int]:
        known = dict(zip(self._order, path, strict=False))
        return self._space._open_choices(self._order[len(path)], known)

    def build(self, path: Sequence[int], rng: np.random.Generator) -> Architecture:
        choices = dict(zip(self._order, path, strict=True))
        return self._space.decode(tuple(choices[place] for place in range(len(choices))))

    def path_of(self, architecture: Architecture) -> Path:
        choices = self._space.choices_of(architecture)
        return tuple(choices[place] for place in self._order)


def _shortened(notation: Notation) -> str:
    text = repr(notation)
    return text if len(text) <= 200 else f"{text[:200]}…"
