"""Operators as an architecture: the DAG of those that a network is made of.

Constants and weights are no nodes, and neither is what hands on what it gets: reshapes, casts, slices, biases, scales. Inputs
and outputs are; several outputs are one node. `params` and `flops` count the weights and multiply-accumulates of convolutions,
linear maps, embeddings, recurrent layers and attention, for one example; biases and normalisation are left out, since
exporters fold them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from predictor.architecture import Architecture, AttributeValue, Operation
from predictor.errors import FormatError
from predictor.formats.operators import PASSED, Operator, OperatorGraph
from predictor.formats.patterns import simplified

MAX_OPERATIONS = 2_000
MAX_EDGES = 10_000
"""Those of the search space `graph`."""

_PASSING = frozenset({PASSED, "scale", "shift"})
_KINDS = {"mul": "multiply", "power": "pow"}
_WEIGHTLESS = frozenset(
    {"activation", "max_pool", "avg_pool", "global_pool", "add", "mul", "concat", "sub", "div", "power", "upsample"}
)
_FORGOTTEN = ("is_stack", "rank")


def assembled(graph: OperatorGraph) -> Architecture:
    """The architecture that the operators are.

    Raises:
        FormatError: if no output depends on an input, or there are too many operations.
    """
    simplified(graph)
    sources = _sources(graph)
    attributes = _global_attributes(graph, sources)
    _flatten_concatenations(graph, sources)
    _take_in_projections(graph, sources)
    order = [number for number in sorted(_reached(graph, sources)) if not graph.is_constant(number)]
    if not any(graph[number].kind == "input" for number in order):
        raise FormatError("expected outputs that depend on an input, got none")
    place = {number: position for position, number in enumerate(order)}
    operations = [_operation(graph, number) for number in order]
    edges = [(place[source], place[number]) for number in order for source in sources[number]]
    edges += [(place[source], len(order)) for source in _outputs(graph, sources) if source in place]
    _check_limits(len(order) + 1, len(edges))
    return Architecture.build([*operations, Operation.of("output")], edges, attributes)


Sources = dict[int, tuple[int, ...]]
"""For each operator those that feed it, past whatever only hands on: each once, no constants."""


def _sources(graph: OperatorGraph) -> Sources:
    """Two operators without weights that do the same with the same are one, as some exporters have it."""
    found: Sources = {}
    first: dict[tuple[object, ...], int] = {}
    same: dict[int, int] = {}
    for number, operator in enumerate(graph.operators):
        past = (same[one] for given in operator.inputs for one in _past(graph, found, given))
        found[number] = tuple(dict.fromkeys(past))
        own = first.setdefault(_identity(operator, found[number], number), number)
        same[number] = own
    return found


def _identity(operator: Operator, sources: tuple[int, ...], number: int) -> tuple[object, ...]:
    if operator.kind not in _WEIGHTLESS or operator.attributes.get("function") == "prelu":
        return (number,)
    return operator.kind, tuple(sorted(operator.attributes.items())), operator.axes, tuple(sorted(sources))


def _past(graph: OperatorGraph, sources: Sources, number: int) -> tuple[int, ...]:
    """The operator itself, or what it hands on; a concatenation of parts of one tensor hands that on."""
    if graph.is_constant(number):
        return ()
    kind = graph[number].kind
    is_passing = kind in _PASSING or (kind == "concat" and len(sources[number]) == 1)
    return sources[number] if is_passing else (number,)


def _flatten_concatenations(graph: OperatorGraph, sources: Sources) -> None:
    """A concatenation that only another one along the same axis reads is part of that."""
    readers = Counter(one for number in _reached(graph, sources) for one in sources[number])
    ends = set(_outputs(graph, sources))
    for number, operator in enumerate(graph.operators):
        if operator.kind == "concat" and any(graph[one].kind == "concat" for one in sources[number]):
            parts = (
                sources[one] if _is_part(graph[one], operator) and readers[one] == 1 and one not in ends else (one,)
                for one in sources[number]
            )
            sources[number] = tuple(dict.fromkeys(one for part in parts for one in part))


def _is_part(operator: Operator, of: Operator) -> bool:
    return operator.kind == "concat" and operator.axes == of.axes and not operator.attributes["is_stack"]


def _outputs(graph: OperatorGraph, sources: Sources) -> list[int]:
    return list(dict.fromkeys(one for given in graph.outputs for one in _past(graph, sources, given)))


def _reached(graph: OperatorGraph, sources: Sources) -> set[int]:
    found = set(_outputs(graph, sources))
    for number in range(len(graph.operators) - 1, -1, -1):
        if number in found:
            found.update(sources[number])
    return found


def _take_in_projections(graph: OperatorGraph, sources: Sources) -> None:
    """The linear maps that make query, key and value and nothing else, and the one behind, are part of attention."""
    reached = _reached(graph, sources)
    readers: dict[int, list[int]] = {number: [] for number in reached}
    for number in reached:
        for source in sources[number]:
            readers[source].append(number)
    ends = set(_outputs(graph, sources))
    for number in sorted(one for one in reached if graph[one].kind == "attention"):
        before = sources[number]
        if all(graph[one].kind == "linear" and readers[one] == [number] and one not in ends for one in before):
            sources[number] = tuple(dict.fromkeys(source for one in before for source in sources[one]))
        behind = readers[number]
        if len(behind) == 1 and graph[behind[0]].kind == "linear" and number not in ends:
            attributes = {**graph[number].attributes, **graph[behind[0]].attributes}
            graph.become(behind[0], kind="attention", attributes=attributes)
            sources[behind[0]] = sources[number]


def _operation(graph: OperatorGraph, number: int) -> Operation:
    operator = graph[number]
    attributes = {name: value for name, value in operator.attributes.items() if name not in _FORGOTTEN}
    return Operation.of(_KINDS.get(operator.kind, operator.kind), **attributes)


def _global_attributes(graph: OperatorGraph, sources: Sources) -> Mapping[str, AttributeValue]:
    reached = _reached(graph, sources)
    operators = [graph[number] for number in reached]
    found: dict[str, AttributeValue] = {"params": sum(operator.params for operator in operators)}
    shapes = [graph[number].shape for number in graph.inputs if number in reached]
    first = next((shape for shape in shapes if shape), None)
    examples = first[0] if first else None
    macs = [operator.macs for operator in operators]
    if examples and None not in macs:
        found["flops"] = sum(one for one in macs if one is not None) // examples
    if first is not None and len(first) == 4 and first[2] is not None and first[2] == first[3]:
        found["resolution"] = first[2]
    return found


def _check_limits(num_nodes: int, num_edges: int) -> None:
    if num_nodes > MAX_OPERATIONS or num_edges > MAX_EDGES:
        raise FormatError(
            f"expected a network of at most {MAX_OPERATIONS} operations and {MAX_EDGES} edges, got {num_nodes} and {num_edges}"
        )
