"""Single edits of a typed DAG: what the neighbours of an architecture in the open space are.

Every function here expects nodes in an order in which edges point forward (the canonical order is one). The edits are
- another kind of the same family for an operation (attributes stay), or a kind that the graph already uses;
- the next value of one numeric attribute (kernel sizes by two, widths doubled or halved, whole numbers by one, other
  numbers by a quarter; truth values flip);
- a new edge to one of the next eight nodes, or the loss of an edge whose ends keep another one on that side;
- a new operation on an edge, or the loss of an operation whose inputs then feed its successors.
Nodes of the kinds input and output keep their kind and stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from predictor.architecture import Architecture, AttributeValue, Operation

MAX_NEIGHBOURS = 1_000
TERMINAL_KINDS = frozenset({"input", "output"})

_REACH = 8  # how many places ahead a new edge may lead
_FAMILIES = (
    ("conv", "separable_conv", "depthwise_conv", "mbconv", "max_pool", "avg_pool", "identity"),
    ("add", "concat", "multiply"),
    ("linear", "attention", "mlp", "graph_conv", "recurrent"),
)
_INSERTED = ("conv", "max_pool", "identity")
_TYPICAL: dict[str, dict[str, AttributeValue]] = {
    "conv": {"kernel_size": 3, "stride": 1, "channels": 32},
    "separable_conv": {"kernel_size": 3, "stride": 1, "channels": 32},
    "depthwise_conv": {"kernel_size": 3, "stride": 1},
    "mbconv": {"kernel_size": 3, "stride": 1, "channels": 32, "expansion": 4},
    "max_pool": {"kernel_size": 3, "stride": 1},
    "avg_pool": {"kernel_size": 3, "stride": 1},
}
_DOUBLED = frozenset({"channels", "resolution"})
_AT_LEAST_ONE = frozenset({"kernel_size", "stride", "dilation", "groups", "channels", "heads", "repeats", "expansion"})
_LARGEST = 2**62


@dataclass(frozen=True)
class SetOperation:
    """Node `node` becomes `operation`."""

    node: int
    operation: Operation


@dataclass(frozen=True)
class AddEdge:
    """A new edge."""

    source: int
    target: int


@dataclass(frozen=True)
class RemoveEdge:
    """One edge less."""

    source: int
    target: int


@dataclass(frozen=True)
class InsertNode:
    """A new operation between the ends of an edge."""

    source: int
    target: int
    operation: Operation


@dataclass(frozen=True)
class RemoveNode:
    """One operation less; its inputs feed its successors."""

    node: int


Edit = SetOperation | AddEdge | RemoveEdge | InsertNode | RemoveNode


def typical(kind: str) -> Operation:
    """An operation of that kind with everyday attributes."""
    return Operation.of(kind, **_TYPICAL.get(kind, {}))


def every_edit(architecture: Architecture) -> list[Edit]:
    """All single edits, in an order that depends on nothing but the graph."""
    nodes, edges = range(architecture.num_nodes), architecture.edges
    return [
        *(edit for node in nodes for edit in _operation_edits(architecture, node)),
        *(edit for node in nodes for edit in _new_edges(architecture, node)),
        *(edit for edge in edges for edit in _lost_edges(architecture, edge)),
        *(InsertNode(*edge, typical(kind)) for edge in edges for kind in _INSERTED),
        *(edit for node in nodes for edit in _lost_nodes(architecture, node)),
    ]


def random_edit(architecture: Architecture, rng: np.random.Generator) -> Edit | None:
    """One edit: its sort, then its place, then what happens there; None if there is none of that sort at that place."""
    sort = int(rng.integers(5))
    node = int(rng.integers(architecture.num_nodes))
    if sort in (2, 3) and architecture.edges:
        edge = architecture.edges[int(rng.integers(len(architecture.edges)))]
        inserted = [InsertNode(*edge, typical(kind)) for kind in _INSERTED]
        return _drawn(_lost_edges(architecture, edge) if sort == 2 else inserted, rng)
    if sort == 4:
        return _drawn(_lost_nodes(architecture, node), rng)
    return _drawn(_new_edges(architecture, node) if sort == 1 else _operation_edits(architecture, node), rng)


def apply(architecture: Architecture, edit: Edit) -> Architecture:
    """The edited graph, without a genotype."""
    operations, edges = list(architecture.operations), list(architecture.edges)
    match edit:
        case SetOperation(node, operation):
            operations[node] = operation
        case AddEdge(source, target):
            edges.append((source, target))
        case RemoveEdge(source, target):
            edges.remove((source, target))
        case InsertNode(source, target, operation):
            edges.remove((source, target))
            edges += [(source, len(operations)), (len(operations), target)]
            operations.append(operation)
        case RemoveNode(node):
            return _without(architecture, node)
    return Architecture(tuple(operations), tuple(edges), architecture.global_attributes)


def _drawn(edits: Sequence[Edit], rng: np.random.Generator) -> Edit | None:
    return edits[int(rng.integers(len(edits)))] if edits else None


def _operation_edits(architecture: Architecture, node: int) -> list[Edit]:
    operation = architecture.operations[node]
    kinds = [] if operation.kind in TERMINAL_KINDS else _other_kinds(architecture, operation.kind)
    changed = [Operation(kind, operation.attributes) for kind in kinds]
    for name, value in operation.attributes:
        attributes = dict(operation.attributes)
        changed += [Operation.of(operation.kind, **{**attributes, name: other}) for other in _steps(name, value)]
    return [SetOperation(node, other) for other in changed]


def _other_kinds(architecture: Architecture, kind: str) -> list[str]:
    for family in _FAMILIES:
        if kind in family:
            return [other for other in family if other != kind]
    used = {operation.kind for operation in architecture.operations} - TERMINAL_KINDS - {kind}
    return sorted(used | {"identity"})


def _steps(name: str, value: AttributeValue) -> list[AttributeValue]:
    """The values next to this one."""
    if isinstance(value, str):
        return []
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, float):
        found: list[AttributeValue] = [value * 0.75, value * 1.25] if abs(value) < _LARGEST else [value * 0.75]
        return [other for other in found if other != value]
    if name in _DOUBLED and value > 0:
        around = [value // 2, value * 2]
    else:
        step = 2 if name == "kernel_size" else 1
        around = [value - step, value + step]
    lowest = 1 if name in _AT_LEAST_ONE else -_LARGEST
    return [other for other in around if lowest <= other <= _LARGEST]


def _new_edges(architecture: Architecture, node: int) -> list[Edit]:
    if architecture.operations[node].kind == "output":
        return []
    taken = set(architecture.successors[node])
    ahead = range(node + 1, min(node + 1 + _REACH, architecture.num_nodes))
    return [
        AddEdge(node, target)
        for target in ahead
        if target not in taken and architecture.operations[target].kind != "input"
    ]


def _lost_edges(architecture: Architecture, edge: tuple[int, int]) -> list[Edit]:
    source, target = edge
    keeps_both = len(architecture.successors[source]) > 1 and len(architecture.predecessors[target]) > 1
    return [RemoveEdge(source, target)] if keeps_both else []


def _lost_nodes(architecture: Architecture, node: int) -> list[Edit]:
    kept = architecture.operations[node].kind in TERMINAL_KINDS or architecture.num_nodes == 1
    return [] if kept else [RemoveNode(node)]


def _without(architecture: Architecture, removed: int) -> Architecture:
    edges = {edge for edge in architecture.edges if removed not in edge}
    for source in architecture.predecessors[removed]:
        edges.update((source, target) for target in architecture.successors[removed])
    operations = (*architecture.operations[:removed], *architecture.operations[removed + 1 :])
    moved = sorted((source - (source > removed), target - (target > removed)) for source, target in edges)
    return Architecture(operations, tuple(moved), architecture.global_attributes)
