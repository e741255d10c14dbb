"""NAS-Bench-201 (Dong & Yang, ICLR 2020): a cell of four nodes, one of five operations on each of six edges.

The notation is the benchmark's: `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`. Operations become nodes of the DAG; an edge with
`none` and every operation that is not on a path from input to output is left out, since the network does not change.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from functools import cache

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError, NotInSpaceError
from predictor.search_spaces.base import Choices, Decision, DecisionSpace, Notation
from predictor.search_spaces.cells import CellSpace, CellTemplate, Selection, candidates
from predictor.search_spaces.skeletons import CellStages

OPERATION_NAMES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))

_INPUT, _OUTPUT = Operation.of("input"), Operation.of("output")
_OPERATIONS = (
    None,
    Operation.of("identity"),
    Operation.of("conv", kernel_size=1, stride=1),
    Operation.of("conv", kernel_size=3, stride=1),
    Operation.of("avg_pool", kernel_size=3, stride=1),
)
_TOKEN = re.compile(r"([a-z0-9_]+)~([0-9])")


def edge_operations(cell: str) -> list[str]:
    """The six operation names of a well-formed cell string, in the order of `EDGES`."""
    return [token.split("~")[0] for token in cell.replace("+", "").split("|") if token]


class NASBench201(DecisionSpace, CellSpace):
    """15,625 cells."""

    skeleton = CellStages()

    def __init__(self, name: str = "nasbench201") -> None:
        self.name = name
        self.decisions = tuple(
            Decision(f"edge_{source}_{target}", OPERATION_NAMES, f"node_{target}") for source, target in EDGES
        )

    def _read(self, notation: Notation) -> Choices:
        if not isinstance(notation, str):
            raise NotationError(f"{self.name}: expected a cell string, got {type(notation).__name__}")
        groups = notation.strip().split("+")
        if len(groups) != 3:
            raise NotationError(
                f"{self.name}: expected three groups '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|', got {notation[:200]!r}"
            )
        choices: dict[tuple[int, int], int] = {}
        for target, group in enumerate(groups, start=1):
            tokens = group.strip().strip("|").split("|")
            if len(tokens) != target:
                raise NotationError(f"{self.name}: expected {target} operations in group {target}, got {group[:200]!r}")
            for token in tokens:
                match = _TOKEN.fullmatch(token.strip())
                if match is None or match[1] not in OPERATION_NAMES:
                    raise NotationError(
                        f"{self.name}: expected 'operation~node' with one of {', '.join(OPERATION_NAMES)}, got {token[:80]!r}"
                    )
                source = int(match[2])
                if source >= target or (source, target) in choices:
                    raise NotationError(
                        f"{self.name}: expected each node 0 to {target - 1} once in group {target}, got {group[:200]!r}"
                    )
                choices[source, target] = OPERATION_NAMES.index(match[1])
        return tuple(choices[edge] for edge in EDGES)

    def _write(self, choices: Choices) -> str:
        a, b, c, d, e, f = (OPERATION_NAMES[choice] for choice in choices)
        return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"

    def _build(self, choices: Choices, genotype: str) -> Architecture:
        operations, edges = _cell_graph(choices)
        return Architecture(operations, edges, (), genotype)

    def _recover(self, architecture: Architecture) -> Choices | None:
        return _choices_by_hash().get(architecture.hash)

    def _settled(self, choices: Choices) -> Choices:
        return choices

    def _is_valid(self, choices: Choices) -> bool:
        return True

    def _open_choices(self, place: int, known: Mapping[int, int]) -> Sequence[int]:
        return range(len(self.decisions[place].choices))

    @property
    def cells(self) -> tuple[CellTemplate, ...]:
        return (edge_cell(len(OPERATION_NAMES)),)

    def selected(self, selection: Selection) -> Architecture:
        return self.decode(edge_choices(self.name, selection))

    def selection_of(self, architecture: Architecture) -> Selection:
        return (tuple(enumerate(self.choices_of(architecture))),)


@cache
def edge_cell(num_candidates: int) -> CellTemplate:
    """Four nodes with one of the first so many operations on each of the six edges, `none` among them."""
    named = dict(zip(OPERATION_NAMES[:num_candidates], _OPERATIONS, strict=False))
    return CellTemplate("cell", 1, 3, candidates(named), inputs_per_node=None, concatenates=False)


def edge_choices(space_name: str, selection: Selection) -> Choices:
    """The six choices of a selection that has a candidate on every edge.

    Raises:
        NotInSpaceError: if it does not.
    """
    (kept,) = selection
    if [edge for edge, _ in kept] != list(range(len(EDGES))):
        raise NotInSpaceError(f"{space_name}: expected one operation on each of {len(EDGES)} edges, got {kept}")
    return tuple(choice for _, choice in kept)


def _cell_graph(choices: Choices) -> tuple[tuple[Operation, ...], tuple[tuple[int, int], ...]]:
    """Nodes and edges of the pruned cell."""
    alive = [place for place, choice in enumerate(choices) if choice]
    fed, needed = {0}, {3}
    for place in alive:  # EDGES ascend by target
        if EDGES[place][0] in fed:
            fed.add(EDGES[place][1])
    for place in reversed(alive):
        if EDGES[place][1] in needed:
            needed.add(EDGES[place][0])
    kept = [place for place in alive if EDGES[place][0] in fed and EDGES[place][1] in needed]
    output = len(kept) + 1
    operations = (_INPUT, *(_OPERATIONS[choices[place]] for place in kept), _OUTPUT)
    edges = []
    for number, place in enumerate(kept, start=1):
        source, target = EDGES[place]
        if source == 0:
            edges.append((0, number))
        if target == 3:
            edges.append((number, output))
        edges += [(number, other) for other, at in enumerate(kept, start=1) if EDGES[at][0] == target]
    return operations, tuple(edges)  # type: ignore[return-value]


@cache
def _choices_by_hash() -> dict[str, Choices]:
    """The first genotype of every network."""
    found: dict[str, Choices] = {}
    for choices in itertools.product(range(len(OPERATION_NAMES)), repeat=len(EDGES)):
        found.setdefault(Architecture(*_cell_graph(choices)).hash, choices)
    return found
