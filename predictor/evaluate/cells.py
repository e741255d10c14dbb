"""Networks of cells: an architecture's graph is one cell (or two), and its skeleton says how cells are stacked.

Sources: NAS-Bench-201 (Dong & Yang, ICLR 2020), TransNAS-Bench-101 (Duan et al., CVPR 2021), NAS-Bench-101 (Ying et al.,
ICML 2019) and DARTS (Liu et al., ICLR 2019), in what they publish of their networks. Tests compare parameter counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from predictor.architecture import Architecture, Operation
from predictor.errors import UnbuildableError
from predictor.evaluate.operations import Style, build, label, projected
from predictor.evaluate.plan import Join, Part, Plan, Planner, Shape, Value
from predictor.search_spaces.skeletons import CellPairs, CellStages, ConcatenatingCells, ReducingCells

_ACT_FIRST = Style("act_first")
_NORM_ACT = Style("norm_act")

NodeBuilder = Callable[[Planner, str, Value, int], Value]
"""(planner, name, input, node) -> output of a node."""


def plan_cell_stages(architecture: Architecture, skeleton: CellStages, planner: Planner) -> Value:
    """NAS-Bench-201: 3 × 3 stem, stages of cells, residual blocks between them, normalisation and activation at the end."""
    channels = skeleton.stem_channels
    value = planner.part("stem", planner.inputs[0], "ConvNorm", planner.inputs[0].channels, channels, 3)
    for stage in range(skeleton.num_stages):
        if stage:
            value = planner.part("reduction", value, "ResidualReduction", channels, 2 * channels)
            channels *= 2
        cell = _summing_cell(architecture, f"Cell{channels}", value.shape, channels, 1)
        for _ in range(skeleton.cells_per_stage):
            value = planner.add("cell", cell, value)
    return planner.part("last_activation", planner.part("last_norm", value, "nn.BatchNorm2d", channels), "nn.ReLU")


def plan_reducing_cells(architecture: Architecture, skeleton: ReducingCells, planner: Planner) -> Value:
    """TransNAS-Bench-101, micro: a stem of two convolutions, and stages whose first cell reduces."""
    channels, stride = skeleton.stem_channels, skeleton.stem_stride
    half = max(channels // 2, 1)
    value = planner.part("stem", planner.inputs[0], "ConvNorm", planner.inputs[0].channels, half, 3, stride)
    value = planner.part("stem", value, "ActConvNorm", half, channels, 3, stride)
    for digit in map(int, skeleton.code):
        channels, stride = channels * (2 if digit % 2 == 0 else 1), 2 if digit > 2 else 1
        for number in range(skeleton.cells_per_stage):
            own = stride if number == 0 else 1
            name = f"Reduction{channels}" if own > 1 else f"Cell{channels}"
            value = planner.add("cell", _summing_cell(architecture, name, value.shape, channels, own), value)
    return value


def _summing_cell(architecture: Architecture, name: str, shape: Shape, channels: int, stride: int) -> Plan:
    """Every node takes the sum of those that feed it; those that the input feeds change width and resolution."""
    planner = Planner.begin(name, {"x": shape}, "One cell: every operation takes the sum of what feeds it.")
    operations = architecture.operations

    def made(inner: Planner, own: str, value: Value, node: int) -> Value:
        is_first = any(operations[source].kind == "input" for source in architecture.predecessors[node])
        operation = _with(operations[node], channels=channels, stride=stride if is_first else 1)
        return build(inner, own, value, operation, _ACT_FIRST)

    value = walk(planner, architecture, planner.inputs[0], made)
    if value is None:
        value = planner.part("nothing", planner.inputs[0], "Zeros", channels, stride)
    elif value.name == "x" and (stride > 1 or value.channels != channels):
        value = projected(planner, "skip", value, channels, stride, _ACT_FIRST)
    return planner.end(value)


def walk(planner: Planner, architecture: Architecture, entry: Value, made: NodeBuilder) -> Value | None:
    """Every node between input and output on the sum of what feeds it; the sum that is the output, None if there is none."""
    values: dict[int, Value] = {}
    sums: dict[tuple[int, ...], Value] = {}
    for node in architecture.topological_order:
        operation = architecture.operations[node]
        if operation.kind == "input":
            values[node] = entry
            continue
        sources = tuple(sorted(one for one in architecture.predecessors[node] if one in values))
        if not sources:
            continue
        if sources not in sums:
            sums[sources] = planner.join("add", [values[one] for one in sources], "total")
        if operation.kind == "output":
            return sums[sources]
        values[node] = made(planner, label(operation), sums[sources], node)
    return None


def _with(operation: Operation, **changes: int) -> Operation:
    return Operation.of(operation.kind, **{**dict(operation.attributes), **changes})


def plan_concatenating_cells(architecture: Architecture, skeleton: ConcatenatingCells, planner: Planner) -> Value:
    """NAS-Bench-101: 3 × 3 stem, stacks of cells, max pooling between them."""
    channels = skeleton.stem_channels
    value = planner.part("stem", planner.inputs[0], "ConvNormAct", planner.inputs[0].channels, channels, 3)
    for stage in range(skeleton.num_stages):
        if stage:
            value = planner.part("downsample", value, "nn.MaxPool2d", 2, 2, ceil_mode=True)
            channels *= 2
        for _ in range(skeleton.cells_per_stage):
            name = f"Cell{channels}" if value.channels == channels else f"WideningCell{channels}"
            value = planner.add("cell", _concatenating_cell(architecture, name, value.shape, channels), value)
    return value


def _concatenating_cell(architecture: Architecture, name: str, shape: Shape, channels: int) -> Plan:
    """Vertices that feed the output are concatenated; the input is projected wherever it goes, and others are cut to width."""
    planner = Planner.begin(name, {"x": shape}, "One cell: what feeds its output is concatenated.")
    order = architecture.topological_order
    place = {node: number for number, node in enumerate(order)}
    edges = {(place[source], place[target]) for source, target in architecture.edges}
    last = len(order) - 1
    widths = vertex_channels(channels, last + 1, edges)
    entry, values, ends = planner.inputs[0], dict[int, Value](), list[Value]()
    for vertex in range(1, last):
        operation = architecture.operations[order[vertex]]
        own = label(operation)
        given = [
            _cut(planner, values[source], widths[vertex]) for source in range(1, vertex) if (source, vertex) in edges
        ]
        if (0, vertex) in edges:
            given.append(_entered(planner, entry, widths[vertex]))
        values[vertex] = build(planner, own, planner.join("add", given, "total"), operation, _NORM_ACT)
        if (vertex, last) in edges:
            ends.append(values[vertex])
    if not ends:
        return planner.end(_entered(planner, entry, channels))
    value = planner.join("concat", ends, "joined")
    if (0, last) in edges:
        value = planner.join("add", [value, _entered(planner, entry, channels)], "with_input")
    return planner.end(value)


def _entered(planner: Planner, entry: Value, channels: int) -> Value:
    return planner.part("from_input", entry, "ConvNormAct", entry.channels, channels, 1)


def _cut(planner: Planner, value: Value, channels: int) -> Value:
    return value if value.channels == channels else planner.add("cut", Join("first", channels), value)


def vertex_channels(channels: int, num_vertices: int, edges: set[tuple[int, int]]) -> list[int]:
    """The width of every vertex (section S1 of the paper): the output's is shared out evenly among what is concatenated, the
    first get what is left over; others are as wide as the widest that they feed.

    Raises:
        UnbuildableError: if there are more parts than channels.
    """
    last = num_vertices - 1
    widths = [channels] * num_vertices
    ends = [vertex for vertex in range(1, last) if (vertex, last) in edges]
    if len(ends) > channels:
        raise UnbuildableError(
            f"expected at least {len(ends)} channels, one for each part of the output, got {channels}"
        )
    for number, vertex in enumerate(ends):
        widths[vertex] = channels // len(ends) + (1 if number < channels % len(ends) else 0)
    for vertex in range(last - 1, 0, -1):
        if vertex not in ends:
            widths[vertex] = max(
                (widths[other] for other in range(vertex + 1, last) if (vertex, other) in edges), default=0
            )
    return widths


def plan_cell_pairs(architecture: Architecture, skeleton: CellPairs, planner: Planner) -> Value:
    """DARTS: cells fed by the two before them, reduction cells at one third and two thirds; without the auxiliary head."""
    channels, stem = skeleton.channels, skeleton.stem_multiplier * skeleton.channels
    older = newer = planner.part("stem", planner.inputs[0], "ConvNorm", planner.inputs[0].channels, stem, 3)
    reductions = {skeleton.num_cells // 3, 2 * skeleton.num_cells // 3}
    for number in range(skeleton.num_cells):
        kind = "reduction" if number in reductions else "normal"
        channels *= 2 if kind == "reduction" else 1
        cell = _paired_cell(architecture, kind, (older, newer), channels)
        older, newer = newer, planner.add("cell", cell, older, newer)
    return newer


def _paired_cell(architecture: Architecture, kind: str, sources: Sequence[Value], channels: int) -> Plan:
    older, newer = sources
    name = f"{kind.capitalize()}Cell{older.channels}x{newer.channels}x{channels}"
    planner = Planner.begin(name, {"older": older.shape, "newer": newer.shape}, f"A {kind} cell.")
    values: dict[int, Value] = {}
    for node in architecture.topological_order:
        operation = architecture.operations[node]
        if operation.get("cell") != kind:
            continue
        entry = {"c_k-2": 0, "c_k-1": 1}.get(str(operation.get("source")))
        if entry is not None:
            values[node] = _prepared(planner, planner.inputs[entry], channels, newer)
            continue
        given = [values[one] for one in sorted(architecture.predecessors[node]) if one in values]
        if operation.kind == "concat":
            return planner.end(planner.join("concat", given, "joined"))
        value = planner.join("add", given, "total")
        is_sum = operation.kind == "add"
        values[node] = value if is_sum else build(planner, label(operation), value, operation, _ACT_FIRST)
    raise UnbuildableError(f"expected a {kind} cell with an output, got an architecture without")


def _prepared(planner: Planner, value: Value, channels: int, newer: Value) -> Value:
    """A cell's input at the cell's width, and at the resolution of the newer one."""
    name = "from_older" if value.name == "older" else "from_newer"
    if value.shape[1:] != newer.shape[1:]:
        return planner.add(name, Part.of("FactorizedReduction", value.channels, channels), value)
    return planner.part(name, value, "ActConvNorm", value.channels, channels, 1)
