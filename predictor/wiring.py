"""The edges of a graph, checked and put in order. Whole search spaces share a few wirings, so those seen lately are kept.

Notation: N nodes, E edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from predictor.errors import InvalidGraphError

Edges = tuple[tuple[int, int], ...]  # (E, 2) as (source, target)
Neighbours = tuple[tuple[int, ...], ...]  # for every node those next to it

_MAX_KEPT = 4_096
_MAX_KEPT_EDGES = 64  # of one wiring: larger ones are rarely met twice


@dataclass(frozen=True)
class Wiring:
    """Who feeds whom in a graph without cycles."""

    edges: Edges
    predecessors: Neighbours  # for every node the nodes that feed it
    successors: Neighbours  # for every node the nodes it feeds
    topological_order: tuple[int, ...]  # (N,) nodes so that every edge points forward


def wiring(num_nodes: int, edges: Edges) -> Wiring:
    """The wiring of nodes 0 to N - 1.

    Raises:
        InvalidGraphError: if there is no node, an edge points outside, to its own node, or twice, or there is a cycle.
    """
    return _kept(num_nodes, edges) if len(edges) <= _MAX_KEPT_EDGES else _checked(num_nodes, edges)


def _checked(num_nodes: int, edges: Edges) -> Wiring:
    if num_nodes == 0:
        raise InvalidGraphError("expected at least one node, got none")
    if len(set(edges)) != len(edges):
        repeated = next(edge for edge in edges if edges.count(edge) > 1)
        raise InvalidGraphError(f"expected every edge once, got {list(repeated)} more than once")
    predecessors: list[list[int]] = [[] for _ in range(num_nodes)]
    successors: list[list[int]] = [[] for _ in range(num_nodes)]
    for source, target in edges:
        if not (0 <= source < num_nodes and 0 <= target < num_nodes):
            raise InvalidGraphError(
                f"expected edges between nodes 0 to {num_nodes - 1}, got an edge from {source} to {target}"
            )
        if source == target:
            raise InvalidGraphError(f"expected no edge from a node to itself, got one at node {source}")
        predecessors[target].append(source)
        successors[source].append(target)
    order = _topological_order(predecessors, successors)
    return Wiring(edges, tuple(map(tuple, predecessors)), tuple(map(tuple, successors)), order)


_kept = lru_cache(_MAX_KEPT)(_checked)


def _topological_order(predecessors: list[list[int]], successors: list[list[int]]) -> tuple[int, ...]:
    waiting = [len(sources) for sources in predecessors]
    order = [node for node, count in enumerate(waiting) if count == 0]
    for node in order:  # grows while it is walked
        for target in successors[node]:
            waiting[target] -= 1
            if waiting[target] == 0:
                order.append(target)
    if len(order) != len(predecessors):
        stuck = sorted(set(range(len(predecessors))) - set(order))
        raise InvalidGraphError(f"expected a graph without cycles, got one through or before nodes {stuck[:10]}")
    return tuple(order)
