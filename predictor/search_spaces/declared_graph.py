"""What a declared architecture looks like as a graph, and how its decisions are found again in one.

input -> one node per layer, all groups one after another -> output. Decisions that are not repeated stand in `decision` nodes
(up to 32 in each) between the input and the first layer, or the output where there is no layer. Every node carries the raw
value of each of its decisions as an attribute of the decision's name; whatever the lexicon knows of names and values is added
in the shared vocabulary, under names that no decision of the space has. A skipped layer stays, as `identity`.
"""

from __future__ import annotations

from predictor.architecture import Architecture, AttributeValue, Operation
from predictor.search_spaces.declared_assignments import Assignment, num_layers
from predictor.search_spaces.declared_definition import DeclaredDecision, Definition, LayerGroup, Slot
from predictor.search_spaces.declared_values import Listed
from predictor.search_spaces.lexicon import (
    attribute_meaning,
    attribute_value,
    global_meaning,
    names_operation,
    operation_meaning,
)

_DECISIONS_PER_NODE = 32
_INPUT, _OUTPUT = Operation.of("input"), Operation.of("output")


class DeclaredGraphs:
    """Builds and reads the graphs of one declared space. Immutable."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._operation_names = frozenset(d.name for d in definition.decisions if _chooses_operation(d))

    def build(self, assignment: Assignment, genotype: str) -> Architecture:
        """The graph of an assignment."""
        singles = [d for d in self._definition.decisions if (d.name, -1) in assignment]
        chunks = [singles[i : i + _DECISIONS_PER_NODE] for i in range(0, len(singles), _DECISIONS_PER_NODE)]
        decision_nodes = [self._node("decision", chunk, -1, assignment) for chunk in chunks]
        layers = [
            self._layer(group, layer, assignment)
            for group in self._definition.groups
            for layer in range(num_layers(group, assignment))
        ]
        operations = [_INPUT, *decision_nodes, *layers, _OUTPUT]
        first, last = 1 + len(decision_nodes), len(operations) - 1
        edges = [(0, node) for node in range(1, first)] + [(node, first) for node in range(1, first)]
        edges += [(node, node + 1) for node in range(first, last)]
        if layers or not decision_nodes:
            edges.append((0, first))
        return Architecture.build(operations, edges, _global_attributes(singles, assignment), genotype)

    def read(self, architecture: Architecture) -> dict[Slot, AttributeValue]:
        """Raw values by slot, as far as the graph has any; whether the space builds it remains to be seen."""
        found: dict[Slot, AttributeValue] = {}
        layers = []
        for node in architecture.topological_order:
            operation = architecture.operations[node]
            if operation.kind == "decision":
                found.update({(name, -1): value for name, value in operation.attributes})
            elif operation not in (_INPUT, _OUTPUT):
                layers.append(operation)
        singles = {slot: value for slot, value in found.items() if slot[0] in self._definition.by_name}
        start = 0
        for group in self._definition.groups:
            for layer, operation in enumerate(layers[start : start + num_layers(group, singles)]):
                found.update({(name, layer): value for name, value in operation.attributes})
            start += num_layers(group, singles)
        return found

    def told_elsewhere(self) -> frozenset[str]:
        """Attributes of decision nodes that say nothing new: how many layers there are, and attributes of the whole."""
        counts = {group.repeat for group in self._definition.groups}
        names = [d.name for d in self._definition.decisions if d.name in counts or global_meaning(d.name) is not None]
        meanings = [attribute_meaning(name) or global_meaning(name) for name in names]
        return frozenset([*names, *(meaning for meaning in meanings if meaning is not None)])

    def _layer(self, group: LayerGroup, layer: int, assignment: Assignment) -> Operation:
        members = [d for d in self._definition.decisions if d.repeat == group.repeat and (d.name, layer) in assignment]
        return self._node("layer", members, layer, assignment)

    def _node(self, kind: str, decisions: list[DeclaredDecision], layer: int, assignment: Assignment) -> Operation:
        raw = {decision.name: assignment[decision.name, layer] for decision in decisions}
        meant: dict[str, AttributeValue] = {}
        for name, value in raw.items():
            attribute = attribute_meaning(name)
            meaning = None if attribute is None else attribute_value(attribute, value)
            if attribute is not None and meaning is not None:
                meant.setdefault(attribute, meaning)
        for name in raw if kind == "layer" else ():
            told = operation_meaning(raw[name]) if name in self._operation_names else None
            if told is not None:
                kind = told[0] if kind == "layer" else kind
                meant = {**told[1], **meant}
        own = {name: value for name, value in meant.items() if name not in self._definition.by_name}
        return Operation.of(kind, **own, **raw)


def _chooses_operation(decision: DeclaredDecision) -> bool:
    """By its name, or because every one of its values is an operation's name."""
    if not isinstance(decision.domain, Listed):
        return False
    if names_operation(decision.name):
        return True
    values = tuple(decision.domain.values())
    known = all(operation_meaning(value) is not None for value in values)
    return known and attribute_meaning(decision.name) is None


def _global_attributes(singles: list[DeclaredDecision], assignment: Assignment) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    for decision in singles:
        name, value = global_meaning(decision.name), assignment[decision.name, -1]
        if name is not None and not isinstance(value, bool | str):
            found.setdefault(name, value)
    return found
