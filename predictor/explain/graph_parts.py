"""Parts of architectures that come from no decisions: the operations and edges of their graphs.

An operation may become another one that the space uses (in the open space: one that the graph uses itself, or the next of its
family or size), or go, so that what feeds it feeds its successors. An edge may go where both of its ends keep another one. A
variant replaces every operation by one of its alternatives, or leaves it, and takes away some of the edges; so the average that
Shapley values start from is one over networks built like this one.

Parameters and FLOPs that an architecture states hold for no other one; they are left out of all that is compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from predictor.architecture import DERIVED_ATTRIBUTES, Architecture, Operation
from predictor.errors import ArchitectureError, ExplanationError, SearchSpaceError
from predictor.explain.parts import Choice, Part, Parts, described
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.graph_edits import (
    TERMINAL_KINDS,
    Edit,
    RemoveEdge,
    RemoveNode,
    SetOperation,
    apply,
    every_edit,
)
from predictor.wiring import Edges

_NUM_SEEN = 64  # architectures that tell which operations a space uses
_MAX_DRAWS = 100
_MAX_NODES = 100
_EDGE_RATE = 0.3  # share of the edges that a variant lacks, where it may
_PRESENT, _GONE = "there", "gone"


@dataclass(frozen=True)
class GraphVariant:
    """Another graph on the same nodes."""

    operations: tuple[Operation, ...]
    edges: frozenset[tuple[int, int]]


class GraphParts(Parts[GraphVariant]):
    """Every operation but inputs and outputs is a part, and so is every edge that may go.

    Raises:
        ExplanationError: if the graph has more than 100 nodes.
        NotInSpaceError: if the space cannot express the architecture.
    """

    def __init__(self, space: SearchSpace, architecture: Architecture, check: Callable[[], None]) -> None:
        space.format(architecture)
        if architecture.num_nodes > _MAX_NODES:
            raise ExplanationError(
                f"expected a graph of at most {_MAX_NODES} nodes, got one of {architecture.num_nodes}"
            )
        self._space = space
        self._own = _plain(architecture.canonical())
        self.architecture = self._named(self._own)
        self._edits = self._all_edits(check)
        self.parts = tuple(self._part(at) for at in self._edits)

    def choices(self, number: int) -> list[Choice]:
        made = {_told(edit): candidate for edit, candidate in list(self._edits.values())[number]}
        own = Choice(self.parts[number].chosen, self.architecture, True)
        return [own, *(Choice(label, candidate) for label, candidate in made.items())]

    def variant(self, rng: np.random.Generator) -> GraphVariant:
        for _ in range(_MAX_DRAWS):
            drawn = GraphVariant(tuple(self._drawn_operations(rng)), self._drawn_edges(rng))
            if self._tried(self._graph(drawn.operations, drawn.edges)) is not None:
                return drawn
        return GraphVariant(self._own.operations, frozenset(self._own.edges))

    def mixed(self, variant: GraphVariant, kept: Sequence[bool]) -> Architecture | None:
        operations, edges = list(variant.operations), set(variant.edges)
        for part, is_kept in zip(self.parts, kept, strict=True):
            if is_kept and part.kind == "operation":
                operations[part.nodes[0]] = self._own.operations[part.nodes[0]]
            elif is_kept:
                edges.add((part.nodes[0], part.nodes[1]))
        return self._tried(self._graph(operations, edges))

    def _part(self, at: tuple[int, ...]) -> Part:
        if len(at) == 1:
            return Part("operation", f"node {at[0]}", described(self._own.operations[at[0]]), at)
        source, target = at
        ends = f"{self._own.operations[source].kind} → {self._own.operations[target].kind}"
        return Part("edge", f"edge {source}→{target} ({ends})", _PRESENT, at)

    def _all_edits(self, check: Callable[[], None]) -> dict[tuple[int, ...], list[tuple[Edit, Architecture]]]:
        """By node or edge, with what comes of them; only what the space expresses, and only places that have any."""
        found: dict[tuple[int, ...], list[tuple[Edit, Architecture]]] = {}
        for edit in (*self._replacements(), *every_edit(self._own)):
            match edit:
                case SetOperation(node, _) | RemoveNode(node):
                    at: tuple[int, ...] = (node,)
                case RemoveEdge(source, target):
                    at = (source, target)
                case _:
                    continue
            check()
            candidate = self._tried(apply(self._own, edit))
            if candidate is not None:
                found.setdefault(at, []).append((edit, candidate))
        return dict(sorted(found.items(), key=lambda one: (len(one[0]), one[0])))

    def _replacements(self) -> Iterable[Edit]:
        used = _own_operations(self._own) if self._space.is_open else vocabulary(self._space)
        for node, operation in enumerate(self._own.operations):
            if operation.kind not in TERMINAL_KINDS:
                yield from (SetOperation(node, other) for other in used if other != operation)

    def _drawn_operations(self, rng: np.random.Generator) -> Iterable[Operation]:
        for node, operation in enumerate(self._own.operations):
            others = [edit.operation for edit, _ in self._edits.get((node,), ()) if isinstance(edit, SetOperation)]
            yield (operation, *others)[int(rng.integers(1 + len(others)))]

    def _drawn_edges(self, rng: np.random.Generator) -> frozenset[tuple[int, int]]:
        """Own edges less some, one after the other, so that every node keeps one on each side where it has one."""
        left = set(self._own.edges)
        num_out = [len(ends) for ends in self._own.successors]
        num_in = [len(ends) for ends in self._own.predecessors]
        droppable = [at for at in self._edits if len(at) == 2]
        for place in rng.permutation(len(droppable)).tolist():
            source, target = droppable[place]
            if rng.random() < _EDGE_RATE and num_out[source] > 1 and num_in[target] > 1:
                left.discard((source, target))
                num_out[source] -= 1
                num_in[target] -= 1
        return frozenset(left)

    def _graph(self, operations: Iterable[Operation], edges: Iterable[tuple[int, int]]) -> Architecture:
        return Architecture(tuple(operations), _sorted(edges), self._own.global_attributes)

    def _tried(self, candidate: Architecture) -> Architecture | None:
        """The candidate as the space writes it; None where the space does not express it."""
        try:
            return self._named(candidate)
        except (SearchSpaceError, ArchitectureError):
            return None

    def _named(self, candidate: Architecture) -> Architecture:
        if self._space.is_open:  # any graph will do that has a canonical form, and writing it takes twice the time
            _ = candidate.hash
            return candidate
        return self._space.parse(self._space.format(candidate))


@lru_cache(maxsize=64)
def vocabulary(space: SearchSpace) -> tuple[Operation, ...]:
    """The operations that random architectures of the space use, inputs and outputs left out."""
    rng = np.random.default_rng(0)
    seen = (_own_operations(space.sample(rng)) for _ in range(_NUM_SEEN))
    return tuple(sorted({one for operations in seen for one in operations}, key=lambda one: one.key))


def _own_operations(architecture: Architecture) -> tuple[Operation, ...]:
    return tuple(dict.fromkeys(one for one in architecture.operations if one.kind not in TERMINAL_KINDS))


def _plain(architecture: Architecture) -> Architecture:
    kept = tuple(pair for pair in architecture.global_attributes if pair[0] not in DERIVED_ATTRIBUTES)
    return dataclasses.replace(architecture, global_attributes=kept, genotype=None)


def _sorted(edges: Iterable[tuple[int, int]]) -> Edges:
    return tuple(sorted(edges))


def _told(edit: Edit) -> str:
    match edit:
        case SetOperation(_, operation):
            return described(operation)
        case _:
            return _GONE
