"""The open space `graph`: every typed DAG within the limits below is an architecture.

The notation is the DAG document of `Architecture.from_json`, as text or decoded; the canonical text is that of the canonical
form, so isomorphic graphs have one genotype. Edits and their choice are in `graph_edits`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from predictor.architecture import DERIVED_ATTRIBUTES, Architecture, AttributeValue, Operation
from predictor.errors import ArchitectureError, NotationError, NotInSpaceError, SpaceTooLargeError
from predictor.search_spaces.base import Notation, SearchSpace
from predictor.search_spaces.graph_edits import MAX_NEIGHBOURS, TERMINAL_KINDS, apply, every_edit, random_edit, typical
from predictor.search_spaces.json_notation import compact_json, is_storable_text, read_json_object, shortened

MAX_NODES = 2_000
MAX_EDGES = 10_000
MAX_ATTRIBUTES = 64
MAX_TEXT = 256
MAX_WHOLE_NUMBER = 2**63 - 1

_MAX_DRAWS = 100
_SAMPLED_KINDS = ("conv", "conv", "separable_conv", "depthwise_conv", "mbconv", "max_pool", "avg_pool", "identity")
_SAMPLED_LAYERS = (3, 12)  # fewest, most
_SKIP_RATE = 0.3
_CHANNELS = (16, 32, 64, 128)


class GraphSpace(SearchSpace):
    """Any typed DAG of at most 2,000 nodes, 10,000 edges and 64 attributes a node; text of at most 256 characters."""

    is_open = True

    def __init__(self, name: str = "graph") -> None:
        self.name = name

    def parse(self, notation: Notation) -> Architecture:
        document = read_json_object(notation, self.name)
        problem = _limit_problem(document)
        if problem is not None:
            raise NotationError(f"{self.name}: {problem}")
        try:
            return _written(Architecture.from_json(document))
        except ArchitectureError as error:
            raise NotationError(f"{self.name}: {error}") from error

    def format(self, architecture: Architecture) -> str:
        document = architecture.to_json()
        problem = _limit_problem(document)
        if problem is not None:
            raise NotInSpaceError(f"{self.name}: {problem}")
        return _text(architecture)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A chain of 3 to 12 operations, some of whose outputs skip ahead and are added to a later input."""
        operations, edges, last = [Operation.of("input")], [], 0
        for _ in range(int(rng.integers(_SAMPLED_LAYERS[0], _SAMPLED_LAYERS[1] + 1))):
            operations.append(_sampled_operation(rng))
            edges.append((last, len(operations) - 1))
            last = len(operations) - 1
            if rng.random() < _SKIP_RATE:
                operations.append(Operation.of("add"))
                edges += [(last, last + 1), (int(rng.integers(last)), last + 1)]
                last += 1
        operations.append(Operation.of("output"))
        return _written(Architecture.build(operations, [*edges, (last, last + 1)]))

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """Results of all single edits (see `graph_edits.every_edit`); evenly picked where there are more than 1,000."""
        own = self._own(architecture)
        edits = every_edit(own)
        step = max(1, -(-len(edits) // MAX_NEIGHBOURS))
        found: dict[str, Architecture] = {}
        for edit in edits[::step]:
            neighbour = self._tried(apply(own, edit))
            if neighbour is not None:
                found.setdefault(neighbour.hash, neighbour)
        found.pop(own.hash, None)
        return list(found.values())

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        own = self._own(architecture)
        for _ in range(_MAX_DRAWS):
            edit = random_edit(own, rng)
            mutant = None if edit is None else self._tried(apply(own, edit))
            if mutant is not None and mutant.hash != own.hash:
                return mutant
        return architecture

    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        """One parent's edges; each operation from either, matched by its relative place in canonical order.

        Inputs and outputs stay the first one's. The parent that gives the edges is drawn evenly, so no repair is needed.
        """
        parents = [self._own(first), self._own(second)]
        frame, other = parents if rng.integers(2) else parents[::-1]
        donors = [operation for operation in other.operations if operation.kind not in TERMINAL_KINDS]
        places = [node for node, operation in enumerate(frame.operations) if operation.kind not in TERMINAL_KINDS]
        operations = list(frame.operations)
        for number, node in enumerate(places):
            if donors and rng.integers(2):
                operations[node] = donors[number * len(donors) // len(places)]
        child = Architecture(tuple(operations), frame.edges, _kept_attributes(frame))
        return self._tried(child) or first

    def features(self, architecture: Architecture) -> tuple[float, ...]:
        return ()

    def stepwise(self) -> None:
        return None

    def size(self) -> int | None:
        return None

    def enumerate(self) -> Iterator[Architecture]:
        raise SpaceTooLargeError(f"{self.name}: expected a finite space to list, got the space of all graphs")

    def _own(self, architecture: Architecture) -> Architecture:
        """The canonical form, for which canonical order is topological order; raises NotInSpaceError."""
        problem = _limit_problem(architecture.to_json())
        if problem is not None:
            raise NotInSpaceError(f"{self.name}: {problem}")
        try:
            return architecture.canonical()
        except ArchitectureError as error:
            raise NotInSpaceError(f"{self.name}: {error}") from error

    def _tried(self, candidate: Architecture) -> Architecture | None:
        """The candidate with its genotype; None where it is outside the limits or has no canonical form."""
        candidate = dataclasses.replace(candidate, global_attributes=_kept_attributes(candidate))
        if _limit_problem(candidate.to_json()) is not None:
            return None
        try:
            return _written(candidate)
        except ArchitectureError:
            return None


def _text(architecture: Architecture) -> str:
    return compact_json(architecture.canonical().to_json())


def _written(architecture: Architecture) -> Architecture:
    return dataclasses.replace(architecture, genotype=_text(architecture))


def _kept_attributes(architecture: Architecture) -> tuple[tuple[str, AttributeValue], ...]:
    """Global attributes that hold for a changed graph too: parameters and FLOPs do not."""
    return tuple(pair for pair in architecture.global_attributes if pair[0] not in DERIVED_ATTRIBUTES)


def _sampled_operation(rng: np.random.Generator) -> Operation:
    operation = typical(_SAMPLED_KINDS[int(rng.integers(len(_SAMPLED_KINDS)))])
    attributes = dict(operation.attributes)
    if "kernel_size" in attributes:
        attributes["kernel_size"] = int(rng.choice((1, 3, 5) if operation.kind == "conv" else (3, 5)))
    if "channels" in attributes:
        attributes["channels"] = int(rng.choice(_CHANNELS))
    return Operation.of(operation.kind, **attributes)


def _limit_problem(document: Mapping[str, object]) -> str | None:
    """What is beyond the limits; anything of the wrong form is left to `Architecture.from_json` to name."""
    nodes, edges = document.get("nodes"), document.get("edges")
    if isinstance(nodes, list | tuple):
        if len(nodes) > MAX_NODES:
            return f"expected at most {MAX_NODES} nodes, got {len(nodes)}"
        for number, node in enumerate(nodes):
            problem = _node_problem(node) if isinstance(node, Mapping) else None
            if problem is not None:
                return f"node {number}: {problem}"
    if isinstance(edges, list | tuple) and len(edges) > MAX_EDGES:
        return f"expected at most {MAX_EDGES} edges, got {len(edges)}"
    problem = _attributes_problem(document.get("attributes"))
    return None if problem is None else f"global attributes: {problem}"


def _node_problem(node: Mapping[str, object]) -> str | None:
    kind = node.get("kind")
    if isinstance(kind, str) and not is_storable_text(kind, MAX_TEXT):
        return f"expected kind to be text of at most {MAX_TEXT} characters without NUL, got {shortened(kind)}"
    return _attributes_problem(node.get("attributes"))


def _attributes_problem(attributes: object) -> str | None:
    if not isinstance(attributes, Mapping):
        return None
    if len(attributes) > MAX_ATTRIBUTES:
        return f"expected at most {MAX_ATTRIBUTES} attributes, got {len(attributes)}"
    for name, value in attributes.items():
        if isinstance(name, str) and not is_storable_text(name, MAX_TEXT):
            return f"expected names of at most {MAX_TEXT} characters without NUL, got {shortened(name)}"
        if isinstance(value, str) and not is_storable_text(value, MAX_TEXT):
            return (
                f"expected {shortened(name)} to be text of at most {MAX_TEXT} characters without NUL, "
                f"got {shortened(value)}"
            )
        if isinstance(value, int) and abs(value) > MAX_WHOLE_NUMBER:
            return f"expected {shortened(name)} to be a whole number of at most 63 bits, got {shortened(value)}"
    return None
