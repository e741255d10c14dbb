"""Cells of NAS-Bench-101 step by step: the wiring of seven vertices first, then the operation of every vertex in use.

Edges are decided column by column, so that what feeds a vertex is known before what it feeds; the output's column comes last
and from its end. Only as many edges are open as leave one for a path to the output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from predictor.architecture import Architecture
from predictor.search_spaces.stepwise import Path, Step, Stepwise

Edge = tuple[int, int]
Cell = tuple[Sequence[str], set[Edge]]
"""Operations and edges of seven vertices."""


class CellSteps(Stepwise):
    """Made by the space itself, which says how to build a cell of seven vertices and how to find one again."""

    def __init__(
        self,
        operation_names: tuple[str, ...],
        num_vertices: int,
        max_edges: int,
        build: Callable[[Cell], Architecture],
        cell_of: Callable[[Architecture], Cell],
    ) -> None:
        self._names = operation_names
        self._max_edges = max_edges
        self._build = build
        self._cell_of = cell_of
        self._last = num_vertices - 1
        columns = [(source, target) for target in range(1, self._last) for source in range(target)]
        self._edges = (*columns, *((source, self._last) for source in reversed(range(self._last))))
        self.steps = (
            *(Step(f"edge_{source}_{target}", ("none", "edge")) for source, target in self._edges),
            *(Step(f"operation_{v}", operation_names, f"vertex_{v}") for v in range(1, self._last)),
        )

    def open_options(self, path: Sequence[int]) -> Sequence[int]:
        taken = self._taken(path)
        if len(path) >= len(self._edges):
            vertex = len(path) - len(self._edges) + 1
            return range(len(self._names)) if vertex in _used(taken, self._last) else (0,)
        edge = self._edges[len(path)]
        fed = _fed(taken)
        is_reached = any(target == self._last and source in fed for source, target in taken)
        reaches = edge[1] == self._last and edge[0] in fed
        if not is_reached and edge == self._edges[-1]:
            return (1,)
        budget = self._max_edges if is_reached or reaches else self._max_edges - 1
        return (0, 1) if len(taken) < budget else (0,)

    def build(self, path: Sequence[int], rng: np.random.Generator) -> Architecture:
        chosen = [self._names[option] for option in path[len(self._edges) :]]
        return self._build((["input", *chosen, "output"], self._taken(path)))

    def path_of(self, architecture: Architecture) -> Path:
        names, edges = self._cell_of(architecture)
        operations = (self._names.index(name) if name else 0 for name in names[1 : self._last])
        return (*(int(edge in edges) for edge in self._edges), *operations)

    def _taken(self, path: Sequence[int]) -> set[Edge]:
        return {edge for edge, option in zip(self._edges, path, strict=False) if option}


def _fed(edges: set[Edge]) -> set[int]:
    """Vertices that the input reaches."""
    fed = {0}
    for source, target in sorted(edges):
        if source in fed:
            fed.add(target)
    return fed


def _used(edges: set[Edge], last: int) -> set[int]:
    """Vertices on a path from input to output."""
    needed = {last}
    for source, target in sorted(edges, reverse=True):
        if target in needed:
            needed.add(source)
    return _fed(edges) & needed
