"""NAS-Bench-101 (Ying et al., ICML 2019): a cell of at most seven vertices and nine edges, three operations to choose from.

The notation is the benchmark's, as JSON: `{"matrix": [[0, 1, …], …], "ops": ["input", "conv3x3-bn-relu", …, "output"]}`
with an upper triangular matrix. As the benchmark does, vertices that are not on a path from input to output are pruned,
and the limit on edges counts what remains.

Notation: V vertices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import chain, compress, product

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import DERIVED_ATTRIBUTES, Architecture, Operation
from predictor.errors import NotationError, NotInSpaceError, SpaceTooLargeError
from predictor.search_spaces.base import MAX_ENUMERATED, Notation, SearchSpace
from predictor.search_spaces.json_notation import shortened
from predictor.search_spaces.nasbench101_steps import Cell, CellSteps
from predictor.search_spaces.notation import is_whole_number, read_fields, read_list
from predictor.search_spaces.skeletons import ConcatenatingCells

OPERATION_NAMES = ("conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")
MAX_VERTICES = 7
MAX_EDGES = 9
CELLS_BY_VERTICES = (1, 6, 84, 2_441, 62_010, 359_082)
"""Unique cells of 2 to 7 vertices."""

NUM_CELLS = 423_624
"""All of them, as the paper counts them in its section 2."""

_MAX_DRAWS = 10_000
_DRAWS_AT_ONCE = 64
_CUMULATIVE_CELLS = np.cumsum(CELLS_BY_VERTICES)
_PLACES = tuple((source, target) for source in range(MAX_VERTICES) for target in range(source + 1, MAX_VERTICES))
_OPERATIONS = {
    "input": Operation.of("input"),
    "conv1x1-bn-relu": Operation.of("conv", kernel_size=1, stride=1),
    "conv3x3-bn-relu": Operation.of("conv", kernel_size=3, stride=1),
    "maxpool3x3": Operation.of("max_pool", kernel_size=3, stride=1),
    "output": Operation.of("output"),
}
_NAMES = {operation: name for name, operation in _OPERATIONS.items()}

Edge = tuple[int, int]
Edit = tuple[str, int, int, str]
"""(what to do, vertex, other vertex or -1, operation or nothing)"""


class NASBench101(SearchSpace):
    """423,624 unique cells."""

    skeleton = ConcatenatingCells()

    def __init__(self, name: str = "nasbench101") -> None:
        self.name = name

    def parse(self, notation: Notation) -> Architecture:
        fields = read_fields(notation, self.name, ("matrix", "ops"))
        names = self._read_operations(fields["ops"])
        edges = self._read_matrix(fields["matrix"], len(names))
        cell = _pruned(names, edges)
        if cell is None:
            raise NotationError(
                f"{self.name}: expected a path from input to output, got none in {shortened(fields['matrix'])}"
            )
        if len(cell[1]) > MAX_EDGES:
            raise NotationError(f"{self.name}: expected at most {MAX_EDGES} edges, got {len(cell[1])}")
        return _architecture(*cell)

    def _read_operations(self, value: object) -> tuple[str, ...]:
        names = read_list(value, self.name, "ops as a list of operations")
        if not 2 <= len(names) <= MAX_VERTICES:
            raise NotationError(f"{self.name}: expected 2 to {MAX_VERTICES} operations, got {len(names)}")
        for place, name in enumerate(names):
            allowed = ("input",) if place == 0 else ("output",) if place == len(names) - 1 else OPERATION_NAMES
            if not isinstance(name, str) or name not in allowed:
                raise NotationError(
                    f"{self.name}: ops[{place}]: expected {' or '.join(allowed)}, got {shortened(name)}"
                )
        return tuple(str(name) for name in names)

    def _read_matrix(self, value: object, num_vertices: int) -> tuple[Edge, ...]:
        rows = read_list(value, self.name, f"matrix as a list of {num_vertices} rows, one an operation", num_vertices)
        if not _is_matrix(rows):
            self._check_matrix(rows)
        edges = tuple(compress(_pairs(num_vertices), chain.from_iterable(rows)))  # type: ignore[arg-type]
        for source, target in edges:
            if target <= source:
                raise NotationError(
                    f"{self.name}: expected an upper triangular matrix, got an edge from {source} to {target}"
                )
        return edges

    def _check_matrix(self, rows: Sequence[object]) -> None:
        """Looks at every entry; raises NotationError."""
        for source, row in enumerate(rows):
            entries = read_list(row, self.name, f"matrix[{source}] as a list of {len(rows)} entries", len(rows))
            for target, entry in enumerate(entries):
                if not is_whole_number(entry) or entry not in (0, 1):
                    raise NotationError(
                        f"{self.name}: matrix[{source}][{target}]: expected 0 or 1, got {shortened(entry)}"
                    )

    def format(self, architecture: Architecture) -> str:
        return _written(*self._cell_of(architecture))

    def _cell_of(self, architecture: Architecture) -> tuple[tuple[str, ...], tuple[Edge, ...]]:
        """The cell's operations and edges in a topological order; raises NotInSpaceError."""
        names = [_NAMES.get(operation, "") for operation in architecture.operations]
        ends = sorted(name for name in names if name not in OPERATION_NAMES)
        if ends == ["input", "output"] and _is_plain(architecture) and len(names) <= MAX_VERTICES:
            ordered = _ordered(names, architecture.edges)
            if ordered is not None and len(ordered[1]) <= MAX_EDGES and _pruned(*ordered) == ordered:
                return ordered
        raise NotInSpaceError(
            f"{self.name}: expected a cell of at most {MAX_VERTICES} vertices and {MAX_EDGES} edges with the operations "
            f"{', '.join(OPERATION_NAMES)}, all between one input and one output, got a graph of "
            f"{architecture.num_nodes} nodes and {len(architecture.edges)} edges that is none"
        )

    def sample(self, rng: np.random.Generator) -> Architecture:
        """See `SearchSpace.sample`. Each number of vertices is as likely as it is among all unique cells."""
        num_vertices = 2 + int(np.searchsorted(_CUMULATIVE_CELLS, rng.integers(NUM_CELLS), side="right"))
        names = [OPERATION_NAMES[choice] for choice in rng.integers(len(OPERATION_NAMES), size=num_vertices - 2)]
        for _ in range(_MAX_DRAWS):
            matrices = np.triu(rng.integers(2, size=(_DRAWS_AT_ONCE, num_vertices, num_vertices)), k=1)  # (B, V, V)
            for matrix in matrices[_are_cells(matrices)]:
                edges = tuple((int(source), int(target)) for source, target in np.argwhere(matrix))
                return _architecture(("input", *names, "output"), edges)
        raise NotInSpaceError(f"{self.name}: expected a valid cell within {_MAX_DRAWS} random draws, got none")

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """See `SearchSpace.neighbours`. Edits change an operation, flip an edge, put in or take out a vertex on a path;

        none prunes anything, so that each can be undone by another.
        """
        names, edges = self._cell_of(architecture)
        found: dict[str, Architecture] = {}
        for edit in _edits(names, edges):
            edited = _edited(names, edges, edit)
            if edited is not None:
                neighbour = _architecture(*edited)
                found.setdefault(neighbour.hash, neighbour)
        found.pop(architecture.hash, None)
        return list(found.values())

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        names, edges = self._cell_of(architecture)
        edits = list(_edits(names, edges))
        for place in rng.permutation(len(edits)):
            edited = _edited(names, edges, edits[place])
            if edited is not None:
                mutant = _architecture(*edited)
                if mutant != architecture:
                    return mutant
        return architecture

    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        parents = [_padded(*self._cell_of(parent)) for parent in (first, second)]
        for _ in range(_MAX_DRAWS):
            taken = rng.integers(2, size=MAX_VERTICES + len(_PLACES))
            names = [
                parents[which][0][v] or parents[1 - which][0][v] or OPERATION_NAMES[0]
                for v, which in enumerate(taken[:MAX_VERTICES])
            ]
            edges = [
                place for place, which in zip(_PLACES, taken[MAX_VERTICES:], strict=True) if place in parents[which][1]
            ]
            cell = _pruned(names, edges)
            if cell is not None and len(cell[1]) <= MAX_EDGES:
                return _architecture(*cell)
        return first

    def features(self, architecture: Architecture) -> tuple[float, ...]:
        return ()

    def stepwise(self) -> CellSteps:
        return self._steps

    @cached_property
    def _steps(self) -> CellSteps:
        return CellSteps(OPERATION_NAMES, MAX_VERTICES, MAX_EDGES, _assembled, lambda one: _padded(*self._cell_of(one)))

    def size(self) -> int | None:
        return NUM_CELLS

    def enumerate(self) -> Iterator[Architecture]:
        raise SpaceTooLargeError(f"{self.name}: expected at most {MAX_ENUMERATED} genotypes to list, got {NUM_CELLS}")


def _is_matrix(rows: Sequence[object]) -> bool:
    """Whether these are square lists of nothing but 0 and 1, as they nearly always are."""
    if not all(type(row) is list and len(row) == len(rows) for row in rows):
        return False
    entries: list[object] = list(chain.from_iterable(rows))  # type: ignore[arg-type]
    return set(map(type, entries)) == {int} and set(entries) <= {0, 1}


@lru_cache
def _pairs(num_vertices: int) -> tuple[Edge, ...]:
    """All pairs of vertices, row by row; architectures share them."""
    return tuple(product(range(num_vertices), range(num_vertices)))


def _are_cells(matrices: NDArray[np.int64]) -> NDArray[np.bool_]:  # (B, V, V) -> (B,)
    """Which upper triangular matrices lack no edge and have none too many: every vertex is on a path."""
    fed = matrices.sum(axis=1)[:, 1:].min(axis=1) > 0
    feeds = matrices.sum(axis=2)[:, :-1].min(axis=1) > 0
    few_edges = matrices.sum(axis=(1, 2)) <= MAX_EDGES
    return np.asarray(fed & feeds & few_edges, dtype=np.bool_)


def _is_plain(architecture: Architecture) -> bool:
    """Whether nothing is said of the whole but what follows from its parts."""
    return {name for name, _ in architecture.global_attributes} <= DERIVED_ATTRIBUTES


@lru_cache(maxsize=1 << 10)
def _written(names: tuple[str, ...], edges: tuple[Edge, ...]) -> str:
    """Canonical text of a cell: JSON without spaces."""
    matrix = [["0"] * len(names) for _ in names]
    for source, target in edges:
        matrix[source][target] = "1"
    rows, operations = "],[".join([",".join(row) for row in matrix]), '","'.join(names)
    return f'{{"matrix":[[{rows}]],"ops":["{operations}"]}}'


def _architecture(names: tuple[str, ...], edges: tuple[Edge, ...]) -> Architecture:
    return Architecture(tuple(_OPERATIONS[name] for name in names), edges, (), _written(names, edges))


def _on_a_path(num_vertices: int, edges: Sequence[Edge]) -> set[int]:
    """Vertices between 0 and the last one; `edges` ascend by source and point forward."""
    fed, needed = {0}, {num_vertices - 1}
    for source, target in edges:
        if source in fed:
            fed.add(target)
    for source, target in reversed(edges):
        if target in needed:
            needed.add(source)
    return fed & needed


def _pruned(names: Sequence[str], edges: Sequence[Edge]) -> tuple[tuple[str, ...], tuple[Edge, ...]] | None:
    """The cell less the vertices that are not on a path from input to output; None if there is no path."""
    kept = sorted(_on_a_path(len(names), edges))
    if len(kept) == len(names):
        return tuple(names), tuple(edges)
    if not kept or kept[0] != 0 or kept[-1] != len(names) - 1:
        return None
    number = {vertex: place for place, vertex in enumerate(kept)}
    return (
        tuple(names[vertex] for vertex in kept),
        tuple((number[s], number[t]) for s, t in edges if s in number and t in number),
    )


def _ordered(names: Sequence[str], edges: Iterable[Edge]) -> tuple[tuple[str, ...], tuple[Edge, ...]] | None:
    """The cell with its vertices in a topological order from input to output, as they are where that is one already;

    None if there is a cycle.
    """
    waiting = {vertex: {s for s, t in edges if t == vertex} for vertex in range(len(names))}
    order: list[int] = []
    rank = {"input": -1, "output": 1}
    while waiting:
        ready = [vertex for vertex, sources in waiting.items() if sources.issubset(order)]
        if not ready:
            return None
        order.append(min(ready, key=lambda vertex: (rank.get(names[vertex], 0), vertex)))
        del waiting[order[-1]]
    number = {vertex: place for place, vertex in enumerate(order)}
    return (
        tuple(names[vertex] for vertex in order),
        tuple(sorted((number[source], number[target]) for source, target in edges)),
    )


def _padded(names: tuple[str, ...], edges: tuple[Edge, ...]) -> tuple[list[str], set[Edge]]:
    """The cell at seven vertices: nameless ones before the output."""
    last = len(names) - 1
    gap = [""] * (MAX_VERTICES - len(names))
    moved = {(source, MAX_VERTICES - 1 if target == last else target) for source, target in edges}
    return [*names[:-1], *gap, names[-1]], moved


def _assembled(cell: Cell) -> Architecture:
    """The cell of seven vertices less those that are on no path."""
    names, edges = cell
    pruned = _pruned(names, sorted(edges))
    if pruned is None:
        raise NotInSpaceError("expected a path from input to output, got none")
    return _architecture(*pruned)


def _edits(names: tuple[str, ...], edges: tuple[Edge, ...]) -> Iterator[Edit]:
    """Everything that might be changed at once; `_edited` says what of it is possible."""
    last = len(names) - 1
    for vertex in range(1, last):
        yield from (("operation", vertex, -1, name) for name in OPERATION_NAMES if name != names[vertex])
        yield "remove", vertex, -1, ""
    for source in range(last):
        for target in range(1, last + 1):
            if source != target:
                yield "flip", source, target, ""
                if len(names) < MAX_VERTICES and len(edges) + 2 <= MAX_EDGES:
                    yield from (("insert", source, target, name) for name in OPERATION_NAMES)


def _edited(
    names: tuple[str, ...], edges: tuple[Edge, ...], edit: Edit
) -> tuple[tuple[str, ...], tuple[Edge, ...]] | None:
    """The cell after the edit; None where it is no cell any more, or a vertex would be pruned."""
    action, vertex, other, name = edit
    if action == "operation":
        return (*names[:vertex], name, *names[vertex + 1 :]), edges
    new_names, new_edges = list(names), set(edges)
    if action == "flip":
        new_edges ^= {(vertex, other)}
    elif action == "insert":
        new_names.append(name)
        new_edges |= {(vertex, len(names)), (len(names), other)}
    else:
        touching = {edge for edge in edges if vertex in edge}
        if len(touching) != 2:
            return None
        new_edges = {(s - (s > vertex), t - (t > vertex)) for s, t in new_edges - touching}
        del new_names[vertex]
    cell = _ordered(new_names, new_edges)
    return cell if cell is not None and len(cell[1]) <= MAX_EDGES and _pruned(*cell) == cell else None
