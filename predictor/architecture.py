"""Architecture: a frozen typed DAG with a canonical form and a hash that does not depend on node order.

The canonical form (see `canonical_order`) is exact: two graphs have the same one if and only if they are isomorphic. It is
labelled by `HASH_ALGORITHM`, which is to be stored beside every hash.

Notation: N nodes, E edges.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from predictor.canonical_order import canonical_order
from predictor.errors import InvalidGraphError
from predictor.wiring import Edges, Wiring, wiring

HASH_ALGORITHM = "archcast-dag-1"
DERIVED_ATTRIBUTES = frozenset({"params", "flops"})
"""Global attributes that follow from the rest: known or not, the architecture is the same, so no hash contains them."""


AttributeValue = bool | int | float | str
Attributes = tuple[tuple[str, AttributeValue], ...]


def _checked_attributes(attributes: Mapping[str, object], owner: str) -> Attributes:
    for name, value in attributes.items():
        if not isinstance(name, str) or not name:
            raise InvalidGraphError(f"{owner}: expected attribute names to be non-empty text, got {name!r}")
        if not isinstance(value, bool | int | float | str):
            raise InvalidGraphError(
                f"{owner}: expected attribute {name!r} to be a number, text or a truth value, got {type(value).__name__}"
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidGraphError(f"{owner}: expected attribute {name!r} to be finite, got {value}")
    return tuple(sorted(attributes.items()))  # type: ignore[arg-type]


def _plain(value: AttributeValue) -> AttributeValue:
    """3.0 and 3 are the same number, True is no number."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


@dataclass(frozen=True)
class Operation:
    """What a node does: its kind and attributes such as kernel_size, stride, channels, heads. Build with `of`."""

    kind: str
    attributes: Attributes = ()

    @classmethod
    def of(cls, kind: str, /, **attributes: AttributeValue) -> Operation:
        """An operation with its attributes in canonical order.

        Raises:
            InvalidGraphError: if the kind is empty or an attribute is not a finite number, text or truth value.
        """
        if not isinstance(kind, str) or not kind:
            raise InvalidGraphError(f"expected an operation's kind to be non-empty text, got {kind!r}")
        checked = _checked_attributes(attributes, f"operation {kind!r}")
        return cls(kind, tuple((name, _plain(value)) for name, value in checked))

    @cached_property
    def key(self) -> str:
        """Canonical text; equal operations have equal keys and different ones do not."""
        return json.dumps([self.kind, *([name, value] for name, value in self.attributes)], separators=(",", ":"))

    @cached_property
    def quoted_key(self) -> str:
        """The key as Python writes it."""
        return repr(self.key)

    def get(self, name: str, default: AttributeValue | None = None) -> AttributeValue | None:
        """The attribute of that name, or `default`."""
        return next((value for own, value in self.attributes if own == name), default)


@dataclass(frozen=True, eq=False)
class Architecture:
    """One candidate: operations joined by edges, and attributes of the whole.

    Two architectures are equal when their graphs are isomorphic and their global attributes (less the derived ones) agree.
    `genotype` is the string form in the notation of the space that made it, if one did; it takes no part in equality.

    Raises:
        InvalidGraphError: if there is no node, an edge points outside, to its own node, or twice, or there is a cycle.
    """

    operations: tuple[Operation, ...]
    edges: Edges  # (E, 2) as (source, target)
    global_attributes: Attributes = ()
    genotype: str | None = field(default=None, compare=False)
    _wiring: Wiring = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shared = wiring(len(self.operations), self.edges)
        object.__setattr__(self, "_wiring", shared)
        object.__setattr__(self, "edges", shared.edges)

    @classmethod
    def build(
        cls,
        operations: Iterable[Operation],
        edges: Iterable[tuple[int, int]],
        global_attributes: Mapping[str, AttributeValue] | None = None,
        genotype: str | None = None,
    ) -> Architecture:
        """An architecture from plain collections.

        Raises:
            InvalidGraphError: see the class.
        """
        checked = _checked_attributes(global_attributes or {}, "global attributes")
        return cls(tuple(operations), tuple(edges), tuple((name, _plain(value)) for name, value in checked), genotype)

    @property
    def num_nodes(self) -> int:
        """N."""
        return len(self.operations)

    @property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For every node the nodes that feed it."""
        return self._wiring.predecessors

    @property
    def successors(self) -> tuple[tuple[int, ...], ...]:
        """For every node the nodes it feeds."""
        return self._wiring.successors

    @property
    def topological_order(self) -> tuple[int, ...]:
        """Nodes so that every edge points forward."""
        return self._wiring.topological_order

    @cached_property
    def canonical_order(self) -> tuple[int, ...]:
        """The nodes' numbers in the order of the canonical form.

        Raises:
            TooSymmetricError: if the graph has so many look-alike parts that the order is not found within the limit.
        """
        order = canonical_order(
            [operation.key for operation in self.operations], self.predecessors, self.successors, self.topological_order
        )
        return self.topological_order if order == self.topological_order else order  # one tuple instead of two

    @cached_property
    def hash(self) -> str:
        """32 hexadecimal digits, equal for equal architectures whatever their node order.

        Raises:
            TooSymmetricError: see `canonical_order`.
        """
        identity = [pair for pair in self.global_attributes if pair[0] not in DERIVED_ATTRIBUTES]
        attributes = json.dumps(identity, separators=(",", ":")) if identity else "[]"
        text = f"{HASH_ALGORITHM}\n{_certificate(self, self.canonical_order)}{attributes}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def canonical(self) -> Architecture:
        """The same architecture with its nodes in canonical order and its edges sorted."""
        position = {node: place for place, node in enumerate(self.canonical_order)}
        return Architecture(
            tuple(self.operations[node] for node in self.canonical_order),
            tuple(sorted((position[source], position[target]) for source, target in self.edges)),
            self.global_attributes,
            self.genotype,
        )

    def __eq__(self, other: object) -> bool:
        return self.hash == other.hash if isinstance(other, Architecture) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hash)

    def to_json(self) -> dict[str, Any]:
        """The DAG document that `from_json` reads."""
        document: dict[str, Any] = {
            "nodes": [
                {"kind": op.kind, **({"attributes": dict(op.attributes)} if op.attributes else {})}
                for op in self.operations
            ],
            "edges": [list(edge) for edge in self.edges],
        }
        if self.global_attributes:
            document["attributes"] = dict(self.global_attributes)
        return document

    @classmethod
    def from_json(cls, document: object) -> Architecture:
        """Reads `{"nodes": [{"kind": …, "attributes": {…}}], "edges": [[source, target]], "attributes": {…}}`.

        Raises:
            InvalidGraphError: if the document has another form or its graph is none.
        """
        if not isinstance(document, Mapping):
            raise InvalidGraphError(f"expected an object with nodes and edges, got {type(document).__name__}")
        unknown = sorted(set(document) - {"nodes", "edges", "attributes"})
        if unknown:
            raise InvalidGraphError(f"expected the keys nodes, edges and attributes, got also {unknown}")
        return cls.build(
            [_operation_from_json(number, node) for number, node in enumerate(_list(document, "nodes"))],
            [_edge_from_json(number, edge) for number, edge in enumerate(_list(document, "edges"))],
            _mapping(document.get("attributes", {}), "attributes"),
        )


def _list(document: Mapping[str, object], key: str) -> Sequence[object]:
    value = document.get(key)
    if not isinstance(value, list | tuple):
        raise InvalidGraphError(f"expected {key} to be a list, got {type(value).__name__}")
    return value


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidGraphError(f"expected {name} to be an object, got {type(value).__name__}")
    return value


def _operation_from_json(number: int, node: object) -> Operation:
    fields = _mapping(node, f"node {number}")
    unknown = sorted(set(fields) - {"kind", "attributes"})
    if unknown:
        raise InvalidGraphError(f"node {number}: expected the keys kind and attributes, got also {unknown}")
    kind = fields.get("kind")
    if not isinstance(kind, str) or not kind:
        raise InvalidGraphError(f"node {number}: expected kind to be non-empty text, got {kind!r}")
    attributes = _checked_attributes(
        _mapping(fields.get("attributes", {}), f"node {number}: attributes"), f"node {number}"
    )
    return Operation(kind, tuple((name, _plain(value)) for name, value in attributes))


def _edge_from_json(number: int, edge: object) -> tuple[int, int]:
    match edge:
        case [int(source), int(target)] if not isinstance(source, bool) and not isinstance(target, bool):
            return source, target
    raise InvalidGraphError(f"edge {number}: expected two whole numbers [source, target], got {edge!r}")


def _certificate(architecture: Architecture, order: tuple[int, ...]) -> str:
    """Operations and edges as they read in that order: equal certificates mean the same labelled graph."""
    operations = _written([architecture.operations[node].quoted_key for node in order])
    return f"({operations}, {_edges_certificate(order, architecture.edges)})"


@lru_cache(maxsize=4_096)
def _edges_certificate(order: tuple[int, ...], edges: Edges) -> str:
    position = {node: place for place, node in enumerate(order)}
    return repr(tuple(sorted((position[source], position[target]) for source, target in edges)))


def _written(parts: Sequence[str]) -> str:
    """A tuple as Python writes it, of parts that are written already."""
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
