"""Spaces whose architectures are cells on a fixed skeleton: what a cell's edges are, and which operations each may have.

A weight-sharing network holds every candidate operation of every edge at once, so it asks the space for its cells
(`CellSpace.cells`) and hands back what it has chosen as a *selection*: for every cell the edges that are kept, each with one
candidate.

Notation: E edges of a cell, O candidate operations of an edge.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from predictor.architecture import Architecture, Operation

Selection = tuple[tuple[tuple[int, int], ...], ...]
"""For every cell (edge, candidate) of each edge that is kept, in the order of the cell's edges."""


@dataclass(frozen=True)
class CandidateOperation:
    """One alternative on an edge; `operation` is None where nothing passes. Strides are the cell's affair, not its own."""

    name: str
    operation: Operation | None

    @property
    def is_skip(self) -> bool:
        """Whether it passes on what it gets, without weights of its own."""
        return self.operation is not None and self.operation.kind == "identity"


@dataclass(frozen=True)
class CellTemplate:
    """A cell before anything is chosen: `num_inputs` nodes that hold outputs of the cells before, then `num_nodes` that add
    up what their incoming edges bring. Every node may be fed by every earlier one."""

    name: str
    num_inputs: int
    num_nodes: int
    candidates: tuple[CandidateOperation, ...]  # (O,)
    inputs_per_node: int | None  # how many a node keeps, none of them empty; None: every edge has one candidate
    concatenates: bool  # the output is all inner nodes beside each other; otherwise it is the last one
    stride: int = 1  # of edges that come from inputs

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:  # (E, 2)
        """(source, target), ascending by target, then by source."""
        nodes = range(self.num_inputs, self.num_inputs + self.num_nodes)
        return tuple((source, target) for target in nodes for source in range(target))

    @cached_property
    def incoming(self) -> tuple[tuple[int, ...], ...]:
        """For every inner node the numbers of the edges that lead into it."""
        nodes = range(self.num_inputs, self.num_inputs + self.num_nodes)
        return tuple(tuple(edge for edge, ends in enumerate(self.edges) if ends[1] == node) for node in nodes)

    @cached_property
    def passing(self) -> tuple[int, ...]:
        """The candidates that pass something on."""
        return tuple(place for place, one in enumerate(self.candidates) if one.operation is not None)


class CellSpace(ABC):
    """What a search space of cells says besides what every space says. Immutable."""

    @property
    @abstractmethod
    def cells(self) -> tuple[CellTemplate, ...]:
        """The kinds of cells; at most one of them with a stride."""

    @abstractmethod
    def selected(self, selection: Selection) -> Architecture:
        """The architecture that has these candidates on these edges.

        Raises:
            NotInSpaceError: if no architecture of the space does.
        """

    @abstractmethod
    def selection_of(self, architecture: Architecture) -> Selection:
        """The inverse of `selected`.

        Raises:
            NotInSpaceError: if this space cannot express the architecture.
        """


def candidates(operations: Mapping[str, Operation | None]) -> tuple[CandidateOperation, ...]:
    """Candidates from operations by name."""
    return tuple(CandidateOperation(name, operation) for name, operation in operations.items())
