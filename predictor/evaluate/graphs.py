"""Networks that an architecture's graph is itself: every node an operation, sums where several feed one.

Values of different shape that meet are made alike: 1 × 1 convolutions change widths, and pooling the resolution, to the largest
width and the smallest resolution among them. Parts that the output does not depend on are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from predictor.architecture import Architecture, Operation
from predictor.errors import UnbuildableError
from predictor.evaluate.operations import BUILDERS, Style, as_image, build, label
from predictor.evaluate.plan import Planner, Value
from predictor.search_spaces.skeletons import WholeGraph

JOINS = ("add", "concat", "multiply")
DECISION = "decision"
_ENDS = ("input", "output")


def check_kinds(architecture: Architecture) -> None:
    """Raises UnbuildableError, which names every kind of operation that cannot be built."""
    known = {*BUILDERS, *JOINS, *_ENDS}
    unknown = sorted({operation.kind for operation in architecture.operations} - known)
    if unknown:
        named = ", ".join(repr(kind[:80]) for kind in unknown[:10])
        raise UnbuildableError(
            f"expected operations among {', '.join(sorted(known))}, got {named}, which cannot be built"
        )


def plan_whole_graph(architecture: Architecture, skeleton: WholeGraph, planner: Planner, num_classes: int) -> Value:
    """The graph's own output; a linear map at its end is the classifier, whatever its width was."""
    architecture = _without_decisions(architecture, skeleton.told_elsewhere)
    check_kinds(architecture)
    style = _style_of(architecture)
    entry = _entry(architecture, skeleton, planner)
    classifier = _classifier(architecture)
    values: dict[int, Value] = {}
    for node in _needed(architecture):
        operation = architecture.operations[node]
        given = [values[source] for source in sorted(architecture.predecessors[node])]
        if operation.kind == "input":
            values[node] = entry
        elif not given:
            raise UnbuildableError(f"expected every operation to be fed by another, got {operation.kind!r} fed by none")
        elif operation.kind in JOINS:
            values[node] = joined(planner, operation.kind, given, style)
        else:
            value = joined(planner, "add", given, style)
            if operation.kind == "output":
                return value
            own = _resized(operation, num_classes) if node == classifier else operation
            values[node] = build(planner, label(operation), value, own, style)
    sinks = [values[node] for node in values if not architecture.successors[node]]
    return joined(planner, "add", sinks, style)


def _without_decisions(architecture: Architecture, told_elsewhere: frozenset[str]) -> Architecture:
    """The graph less the nodes that only hold decisions; raises UnbuildableError where the network would depend on one."""
    kept = []
    for node, operation in enumerate(architecture.operations):
        if operation.kind != DECISION:
            kept.append(node)
            continue
        unknown = [name for name, _ in operation.attributes if name not in told_elsewhere]
        if unknown:
            raise UnbuildableError(
                f"expected decisions that say what operations do, got {unknown[0][:80]!r}, of which a network shows nothing"
            )
    if len(kept) == architecture.num_nodes:
        return architecture
    place = {node: number for number, node in enumerate(kept)}
    edges = [
        (place[source], place[target]) for source, target in architecture.edges if source in place and target in place
    ]
    return Architecture(
        tuple(architecture.operations[node] for node in kept), tuple(edges), architecture.global_attributes
    )


def _style_of(architecture: Architecture) -> Style:
    kinds = {operation.kind for operation in architecture.operations}
    tells_all = bool(kinds & {"normalization", "activation"})
    return Style("bare" if tells_all else "norm_act", flattens="attention" not in kinds)


def _entry(architecture: Architecture, skeleton: WholeGraph, planner: Planner) -> Value:
    """The images, or a stem where no operation tells a width."""
    images = planner.inputs[0]
    if any(operation.get("channels") is not None for operation in architecture.operations):
        return images
    told = dict(architecture.global_attributes).get("stem_channels")
    channels = told if isinstance(told, int) and 1 <= told <= 4_096 else skeleton.stem_channels
    return planner.part("stem", images, "ConvNormAct", images.channels, channels, 3)


def _needed(architecture: Architecture) -> list[int]:
    """Nodes that an output depends on (all, where none is called so), in topological order."""
    outputs = [node for node, operation in enumerate(architecture.operations) if operation.kind == "output"]
    if not outputs:
        return list(architecture.topological_order)
    waiting, found = outputs[:1], set(outputs[:1])
    while waiting:
        new = set(architecture.predecessors[waiting.pop()]) - found
        found |= new
        waiting += new
    return [node for node in architecture.topological_order if node in found]


def _classifier(architecture: Architecture) -> int | None:
    """The linear map that alone feeds the output."""
    ends = [
        architecture.predecessors[node]
        for node, operation in enumerate(architecture.operations)
        if operation.kind == "output"
    ]
    if len(ends) != 1 or len(ends[0]) != 1:
        return None
    (last,) = ends[0]
    return last if architecture.operations[last].kind == "linear" else None


def _resized(operation: Operation, channels: int) -> Operation:
    return Operation.of(operation.kind, **{**dict(operation.attributes), "channels": channels})


def joined(planner: Planner, kind: str, values: Sequence[Value], style: Style) -> Value:
    """A sum, product or concatenation of values that are made alike first."""
    if len(values) == 1:
        return values[0]
    if any(value.is_image for value in values):
        values = [as_image(planner, "joined", value) for value in values]
        values = [_placed(planner, value, values, kind) for value in values]
    if kind != "concat":
        channels = max(value.channels for value in values)
        values = [_widened(planner, value, channels) for value in values]
    match kind:
        case "concat":
            return planner.join("concat", values, "joined")
        case "multiply":
            return planner.join("multiply", values, "product")
    return planner.join("add", values, "total")


def _placed(planner: Planner, value: Value, others: Sequence[Value], kind: str) -> Value:
    """At the smallest resolution; what is of one pixel counts for none, and is spread over all where it is added."""
    sizes = [other.shape[1:] for other in others if other.shape[1:] != (1, 1)] or [(1, 1)]
    height, width = min(size[0] for size in sizes), min(size[1] for size in sizes)
    if value.shape[1:] == (height, width) or (value.shape[1:] == (1, 1) and kind != "concat"):
        return value
    return planner.part("resized", value, "Resize", height, width)


def _widened(planner: Planner, value: Value, channels: int) -> Value:
    if value.channels == channels:
        return value
    if value.is_image:
        return planner.part("widened", value, "ConvNorm", value.channels, channels, 1)
    return planner.part("widened", value, "nn.Linear", value.channels, channels)
