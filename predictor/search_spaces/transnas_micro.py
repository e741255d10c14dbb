"""TransNAS-Bench-101, micro level (Duan et al., CVPR 2021): a cell of four nodes, one of four operations on each of six edges.

The notation is the benchmark's: `64-41414-1_02_333`, where `64-41414` is the fixed macro skeleton and each digit of the
cell code an operation: one edge into node 1, two into node 2, three into node 3. The cells are those of NAS-Bench-201
without pooling, and build the same graphs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from predictor.architecture import Architecture
from predictor.errors import NotationError, NotInSpaceError
from predictor.search_spaces.base import Choices, Decision, DecisionSpace, Notation
from predictor.search_spaces.cells import CellSpace, CellTemplate, Selection
from predictor.search_spaces.json_notation import shortened
from predictor.search_spaces.nasbench201 import EDGES, OPERATION_NAMES, NASBench201, edge_cell, edge_choices
from predictor.search_spaces.skeletons import ReducingCells

MACRO_CODE = "64-41414"
CELL_OPERATION_NAMES = OPERATION_NAMES[:4]

_EXPECTED = f"text such as '{MACRO_CODE}-1_02_333' with six digits 0 to {len(CELL_OPERATION_NAMES) - 1}"
_CODE = re.compile(rf"{MACRO_CODE}-([0-3])_([0-3])([0-3])_([0-3])([0-3])([0-3])", re.ASCII)


class TransNASMicro(DecisionSpace, CellSpace):
    """4,096 cells."""

    skeleton = ReducingCells()

    def __init__(self, name: str = "transnas_micro") -> None:
        self.name = name
        self.decisions = tuple(
            Decision(f"edge_{source}_{target}", CELL_OPERATION_NAMES, f"node_{target}") for source, target in EDGES
        )
        self._cells = NASBench201()

    def _read(self, notation: Notation) -> Choices:
        if not isinstance(notation, str):
            raise NotationError(
                f"{self.name}: expected {_EXPECTED}, got {type(notation).__name__} {shortened(notation)}"
            )
        match = _CODE.fullmatch(notation.strip())
        if match is None:
            raise NotationError(f"{self.name}: expected {_EXPECTED}, got {shortened(notation)}")
        return tuple(map(int, match.groups()))

    def _write(self, choices: Choices) -> str:
        a, b, c, d, e, f = choices
        return f"{MACRO_CODE}-{a}_{b}{c}_{d}{e}{f}"

    def _build(self, choices: Choices, genotype: str) -> Architecture:
        cell = self._cells.decode(choices)
        return Architecture(cell.operations, cell.edges, cell.global_attributes, genotype)

    def _recover(self, architecture: Architecture) -> Choices | None:
        try:
            choices = self._cells.choices_of(architecture)
        except NotInSpaceError:
            return None
        return choices if max(choices) < len(CELL_OPERATION_NAMES) else None

    def _settled(self, choices: Choices) -> Choices:
        return choices

    def _is_valid(self, choices: Choices) -> bool:
        return True

    def _open_choices(self, place: int, known: Mapping[int, int]) -> Sequence[int]:
        return range(len(self.decisions[place].choices))

    @property
    def cells(self) -> tuple[CellTemplate, ...]:
        return (edge_cell(len(CELL_OPERATION_NAMES)),)

    def selected(self, selection: Selection) -> Architecture:
        return self.decode(edge_choices(self.name, selection))

    def selection_of(self, architecture: Architecture) -> Selection:
        return (tuple(enumerate(self.choices_of(architecture))),)
