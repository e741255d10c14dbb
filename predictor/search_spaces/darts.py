"""DARTS (Liu, Simonyan & Yang, ICLR 2019): a normal and a reduction cell, each of four nodes that add two operations.

The notation is the published one, `Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…],
reduce_concat=range(2, 6))`, or the same as a JSON object. Each pair is an operation and the node that feeds it: 0 and 1
are the outputs of the two cells before, 2 to 5 the cell's own nodes. Every node takes two different inputs.

The graph is a network of one normal cell followed by one reduction cell, as DARTS stacks them: the reduction cell's
inputs are the network's input and the normal cell's output. Every operation carries its `cell`.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Mapping, Sequence
from functools import cache

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError, NotInSpaceError
from predictor.search_spaces.base import Choices, Decision, DecisionSpace, Notation
from predictor.search_spaces.cells import CellSpace, CellTemplate, Selection, candidates
from predictor.search_spaces.json_notation import shortened
from predictor.search_spaces.notation import is_whole_number, read_fields, read_list
from predictor.search_spaces.skeletons import CellPairs

OPERATION_NAMES = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
CELLS = ("normal", "reduction")
NODES = (2, 3, 4, 5)
PAIRS = tuple(tuple(itertools.combinations(range(node), 2)) for node in NODES)
"""For every node the pairs of inputs it can have."""

_FIELDS = ("normal", "reduce")
_CONCATS = ("normal_concat", "reduce_concat")
_MAX_CHARACTERS = 20_000
_PER_CELL = 3 * len(NODES)
_EXPECTED = (
    "text Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], reduce_concat=range(2, 6)) "
    "or the same as a JSON object"
)
_INPUT, _OUTPUT = Operation.of("input"), Operation.of("output")


class Darts(DecisionSpace, CellSpace):
    """About 1.1e18 pairs of cells."""

    skeleton = CellPairs()

    def __init__(self, name: str = "darts") -> None:
        self.name = name
        self.decisions = tuple(
            decision
            for cell in CELLS
            for node, pairs in zip(NODES, PAIRS, strict=True)
            for decision in (
                Decision(f"{cell}_node_{node}_inputs", tuple(f"{first},{second}" for first, second in pairs), cell),
                Decision(f"{cell}_node_{node}_first", OPERATION_NAMES, cell),
                Decision(f"{cell}_node_{node}_second", OPERATION_NAMES, cell),
            )
        )

    def _read(self, notation: Notation) -> Choices:
        value = self._from_text(notation) if isinstance(notation, str) else notation
        fields = read_fields(value, self.name, _FIELDS, _CONCATS)
        for key in _CONCATS:
            if list(read_list(fields.get(key, NODES), self.name, f"{key} as a list of nodes")) != list(NODES):
                raise NotationError(
                    f"{self.name}: expected {key} to be the nodes 2, 3, 4, 5, got {shortened(fields[key])}"
                )
        return (*self._cell("normal", fields["normal"]), *self._cell("reduce", fields["reduce"]))

    def _from_text(self, text: str) -> object:
        """The genotype's fields; raises NotationError. Nothing that the text says is executed."""
        stripped = text.strip()
        if stripped.startswith("{"):
            return stripped
        try:
            match ast.parse(stripped[:_MAX_CHARACTERS], mode="eval").body:
                case ast.Call(func=ast.Name(id="Genotype"), args=[], keywords=keywords):
                    fields = {keyword.arg: _literal(keyword.value) for keyword in keywords}
                    if len(fields) == len(keywords):
                        return fields
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            pass
        raise NotationError(f"{self.name}: expected {_EXPECTED}, got {shortened(text)}")

    def _cell(self, field: str, value: object) -> Choices:
        """The choices of one cell; raises NotationError."""
        pairs = read_list(value, self.name, f"{field} as a list of {2 * len(NODES)} pairs", 2 * len(NODES))
        choices: list[int] = []
        for place, node in enumerate(NODES):
            ends = [self._pair(field, node, pair) for pair in pairs[2 * place : 2 * place + 2]]
            (first, one), (second, other) = sorted(ends)
            if first == second:
                raise NotationError(
                    f"{self.name}: expected node {node} of {field} to have two different inputs, got {first} twice"
                )
            choices += [PAIRS[place].index((first, second)), one, other]
        return tuple(choices)

    def _pair(self, field: str, node: int, pair: object) -> tuple[int, int]:
        """(input, operation) of one pair; raises NotationError."""
        match pair:
            case [str(name), int(source)] if name in OPERATION_NAMES and is_whole_number(source) and 0 <= source < node:
                return source, OPERATION_NAMES.index(name)
        raise NotationError(
            f"{self.name}: expected node {node} of {field} to have pairs (operation, input) with an input 0 to {node - 1} "
            f"and one of {', '.join(OPERATION_NAMES)}, got {shortened(pair)}"
        )

    def _write(self, choices: Choices) -> str:
        normal, reduce = (_pairs(choices[start : start + _PER_CELL]) for start in (0, _PER_CELL))
        return f"Genotype(normal={normal!r}, normal_concat=range(2, 6), reduce={reduce!r}, reduce_concat=range(2, 6))"

    def _build(self, choices: Choices, genotype: str) -> Architecture:
        operations: list[Operation] = [_INPUT]
        edges: list[tuple[int, int]] = []
        sources = [0, 0]  # of the normal cell
        for cell, start in zip(CELLS, (0, _PER_CELL), strict=True):
            output = _add_cell(operations, edges, cell, choices[start : start + _PER_CELL], sources)
            sources = [0, output]
        edges.append((len(operations) - 1, len(operations)))
        operations.append(_OUTPUT)
        return Architecture(tuple(operations), tuple(edges), (), genotype)

    def _recover(self, architecture: Architecture) -> Choices | None:
        choices: list[int] = []
        for cell in CELLS:
            found = _recovered_cell(architecture, cell)
            if found is None:
                return None
            choices += found
        return tuple(choices) if self.decode(tuple(choices)) == architecture else None

    def _settled(self, choices: Choices) -> Choices:
        return choices

    def _is_valid(self, choices: Choices) -> bool:
        return True

    def _open_choices(self, place: int, known: Mapping[int, int]) -> Sequence[int]:
        return range(len(self.decisions[place].choices))

    @property
    def cells(self) -> tuple[CellTemplate, ...]:
        return _templates()

    def selected(self, selection: Selection) -> Architecture:
        choices: list[int] = []
        for cell, kept in zip(self.cells, selection, strict=True):
            for place, node in enumerate(NODES):
                ends = [(cell.edges[edge][0], number - 1) for edge, number in kept if cell.edges[edge][1] == node]
                pair = tuple(source for source, _ in ends)
                if pair not in PAIRS[place] or any(operation < 0 for _, operation in ends):
                    raise NotInSpaceError(
                        f"{self.name}: expected node {node} of the {cell.name} cell to keep two edges, none of them empty, "
                        f"got {kept}"
                    )
                choices += [PAIRS[place].index(pair), *(operation for _, operation in ends)]
        return self.decode(tuple(choices))

    def selection_of(self, architecture: Architecture) -> Selection:
        choices = self.choices_of(architecture)
        return tuple(
            _kept(cell, choices[start : start + _PER_CELL])
            for cell, start in zip(self.cells, (0, _PER_CELL), strict=True)
        )


@cache
def _templates() -> tuple[CellTemplate, ...]:
    """The two cells with the eight published operations on every edge, `none` the first."""
    return tuple(
        CellTemplate(
            name=cell,
            num_inputs=2,
            num_nodes=len(NODES),
            candidates=candidates({"none": None, **dict(zip(OPERATION_NAMES, _operations(cell, 1), strict=True))}),
            inputs_per_node=2,
            concatenates=True,
            stride=2 if cell == "reduction" else 1,
        )
        for cell in CELLS
    )


def _kept(cell: CellTemplate, choices: Choices) -> tuple[tuple[int, int], ...]:
    """One cell's edges with their candidates."""
    return tuple(
        (cell.edges.index((source, node)), operation + 1)
        for place, node in enumerate(NODES)
        for source, operation in zip(
            PAIRS[place][choices[3 * place]], choices[3 * place + 1 : 3 * place + 3], strict=True
        )
    )


def _literal(node: ast.expr) -> object:
    """What a literal says; `range(a, b)` of small numbers is read as the list it means."""
    match node:
        case ast.Call(
            func=ast.Name(id="range"), args=[ast.Constant(value=int(start)), ast.Constant(value=int(stop))], keywords=[]
        ) if stop - start <= 100:
            return list(range(start, stop))
    return ast.literal_eval(node)


def _pairs(cell: Choices) -> list[tuple[str, int]]:
    """One cell as the genotype writes it."""
    written = []
    for place in range(len(NODES)):
        pair, one, other = cell[3 * place : 3 * place + 3]
        first, second = PAIRS[place][pair]
        written += [(OPERATION_NAMES[one], first), (OPERATION_NAMES[other], second)]
    return written


@cache
def _operations(cell: str, stride: int) -> tuple[Operation, ...]:
    """In the order of `OPERATION_NAMES`."""
    return (
        Operation.of("max_pool", kernel_size=3, stride=stride, cell=cell),
        Operation.of("avg_pool", kernel_size=3, stride=stride, cell=cell),
        Operation.of("identity", stride=stride, cell=cell),
        Operation.of("separable_conv", kernel_size=3, stride=stride, repeats=2, cell=cell),
        Operation.of("separable_conv", kernel_size=5, stride=stride, repeats=2, cell=cell),
        Operation.of("separable_conv", kernel_size=3, stride=stride, dilation=2, cell=cell),
        Operation.of("separable_conv", kernel_size=5, stride=stride, dilation=2, cell=cell),
    )


@cache
def _fixed(cell: str) -> tuple[Operation, Operation, Operation, Operation]:
    """The 1x1 convolutions that prepare the two inputs, the sum in every node, the output."""
    return (
        Operation.of("conv", kernel_size=1, cell=cell, source="c_k-2"),
        Operation.of("conv", kernel_size=1, cell=cell, source="c_k-1"),
        Operation.of("add", cell=cell),
        Operation.of("concat", cell=cell),
    )


def _add_cell(
    operations: list[Operation], edges: list[tuple[int, int]], cell: str, choices: Choices, sources: list[int]
) -> int:
    """Appends one cell that `sources` feed, and returns its output; node 2 uses both inputs, so neither is ever idle."""
    *prepared, add, concat = _fixed(cell)
    ends = [PAIRS[place][choices[3 * place]] for place in range(len(NODES))]
    number: dict[int, int] = {}
    for source in (0, 1):
        number[source] = len(operations)
        edges.append((sources[source], len(operations)))
        operations.append(prepared[source])
    for place, node in enumerate(NODES):
        number[node] = len(operations) + 2
        for source, choice in zip(ends[place], choices[3 * place + 1 : 3 * place + 3], strict=True):
            stride = 2 if cell == "reduction" and source < 2 else 1
            edges += [(number[source], len(operations)), (len(operations), number[node])]
            operations.append(_operations(cell, stride)[choice])
        operations.append(add)
    edges += [(number[node], len(operations)) for node in NODES]
    operations.append(concat)
    return len(operations) - 1


def _recovered_cell(architecture: Architecture, cell: str) -> list[int] | None:
    """The choices of one cell as its nodes and edges tell them; None if they cannot be this space's."""
    *prepared, add, _ = _fixed(cell)
    kinds = architecture.operations
    sums = [node for node in architecture.topological_order if kinds[node] == add]
    if len(sums) != len(NODES):
        return None
    number = {node: place for place, node in enumerate(sums, start=2)}
    number.update((node, prepared.index(kind)) for node, kind in enumerate(kinds) if kind in prepared)
    choices: list[int] = []
    for place, node in enumerate(sums):
        ends = sorted(
            (number.get(source, -1), _operation_index(kinds[feeding], cell))
            for feeding in architecture.predecessors[node]
            for source in architecture.predecessors[feeding]
        )
        pair = tuple(source for source, _ in ends)
        if pair not in PAIRS[place] or any(choice < 0 for _, choice in ends):
            return None
        choices += [PAIRS[place].index(pair), *(choice for _, choice in ends)]
    return choices


def _operation_index(operation: Operation, cell: str) -> int:
    """The operation's place among `OPERATION_NAMES`; -1 if it has none."""
    for stride in (1, 2):
        if operation in _operations(cell, stride):
            return _operations(cell, stride).index(operation)
    return -1
