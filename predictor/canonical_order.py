"""The order of a graph's nodes that depends on the graph alone, not on how its nodes are numbered.

Nodes are told apart by kind, depth, height and, repeatedly, by the colours of their neighbours (colour refinement). Where
look-alikes remain, edges that follow from the colours are set aside (all nodes of one colour feed all of another), which
takes the rest apart into components that are ordered one by one: any number of equal branches costs no more than their
sum. Within a component one node after another of a colour is singled out and refinement goes on, and the smallest
certificate wins; choices that an automorphism makes equal are tried once. See McKay & Piperno, "Practical graph
isomorphism, II", Journal of Symbolic Computation 2014. The order is exact: two graphs read the same in their canonical
orders if and only if they are isomorphic.

Notation: N nodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from predictor.errors import TooSymmetricError

MAX_WORK = 4_000_000
"""Nodes and edges that refinement may look at: some seconds."""

_MAX_DEPTH = 100

Colors = Mapping[int, int]  # node -> colour; smaller ones come first
Neighbours = Mapping[int, Sequence[int]]
Order = tuple[int, ...]
Certificate = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]
"""Colours and edges as they read in an order."""


def canonical_order(
    kinds: Sequence[str],
    predecessors: Sequence[Sequence[int]],
    successors: Sequence[Sequence[int]],
    order: Sequence[int],
) -> Order:
    """The nodes in canonical order; `kinds` tells them apart from the start and `order` is any topological order.

    Raises:
        TooSymmetricError: if the graph has so many look-alike parts that the order is not found within the limit.
    """
    if all(source in predecessors[target] for source, target in itertools.pairwise(order)):
        return tuple(order)  # a path through all nodes: depth alone tells them apart
    signatures = _signatures(kinds, predecessors, successors, order)
    if len(set(signatures)) == len(signatures):
        return tuple(sorted(range(len(signatures)), key=signatures.__getitem__))
    part = _Part(dict(enumerate(predecessors)), dict(enumerate(successors)))
    search = _Search(len(kinds))
    colors = search.refined(part, _ranked(dict(enumerate(signatures))))
    return search.solved(part, colors, first_only=False, depth=0)


def _signatures(
    kinds: Sequence[str],
    predecessors: Sequence[Sequence[int]],
    successors: Sequence[Sequence[int]],
    order: Sequence[int],
) -> list[tuple[int, int, str, int, int]]:
    """What tells nodes apart before their neighbours are compared: depth, height, kind, how many edges come and go."""
    depth, height = [0] * len(kinds), [0] * len(kinds)
    for node in order:
        depth[node] = 1 + max([depth[source] for source in predecessors[node]], default=-1)
    for node in reversed(order):
        height[node] = 1 + max([height[target] for target in successors[node]], default=-1)
    return [
        (depth[node], -height[node], kind, len(predecessors[node]), len(successors[node]))
        for node, kind in enumerate(kinds)
    ]


def _ranked(signatures: Mapping[int, object]) -> dict[int, int]:
    """Equal signatures become equal numbers, smaller ones smaller numbers."""
    rank = {signature: number for number, signature in enumerate(sorted(set(signatures.values())))}  # type: ignore[type-var]
    return {node: rank[signature] for node, signature in signatures.items()}


class _Part:
    """A set of nodes with edges among them."""

    def __init__(self, predecessors: Neighbours, successors: Neighbours) -> None:
        self.predecessors, self.successors = predecessors, successors
        self.num_edges = sum(map(len, successors.values()))

    def certificate(self, colors: Colors, order: Order) -> Certificate:
        position = {node: place for place, node in enumerate(order)}
        edges = [(position[node], position[target]) for node in order for target in self.successors[node]]
        return tuple([colors[node] for node in order]), tuple(sorted(edges))

    def components(self, cells: Mapping[int, Sequence[int]], colors: Colors) -> list[_Part]:
        """What remains joined without the edges that follow from the colours alone."""
        joined: dict[tuple[int, int], int] = {}
        for node, targets in self.successors.items():
            for target in targets:
                pair = colors[node], colors[target]
                joined[pair] = joined.get(pair, 0) + 1
        implied = {pair for pair, count in joined.items() if count == len(cells[pair[0]]) * len(cells[pair[1]])}
        if not implied:
            successors, predecessors = self.successors, self.predecessors
        else:
            successors = {
                v: [w for w in ws if (colors[v], colors[w]) not in implied] for v, ws in self.successors.items()
            }
            predecessors = {
                v: [u for u in us if (colors[u], colors[v]) not in implied] for v, us in self.predecessors.items()
            }
        parts, seen = [], set[int]()
        for start in successors:
            if start in seen:
                continue
            seen.add(start)
            nodes = [start]
            for node in nodes:  # grows while it is walked
                for other in itertools.chain(predecessors[node], successors[node]):
                    if other not in seen:
                        seen.add(other)
                        nodes.append(other)
            parts.append(_Part({v: predecessors[v] for v in nodes}, {v: successors[v] for v in nodes}))
        return parts


class _Search:
    """One search for a canonical order, with what it has found out about symmetries and the work it has done."""

    def __init__(self, num_nodes: int) -> None:
        self._num_nodes = num_nodes
        self._work = 0
        self._automorphisms: list[Mapping[int, int]] = []  # nodes that are not named stay in place

    def refined(self, part: _Part, colors: Colors) -> Colors:
        """Splits colours by the neighbours' colours until nothing changes; ranks keep the result free of labels."""
        num_colors = len(set(colors.values()))
        while num_colors < len(colors):
            self._charge(len(colors) + 2 * part.num_edges)
            finer = _ranked(
                {
                    node: (
                        color,
                        tuple(sorted([colors[source] for source in part.predecessors[node]])),
                        tuple(sorted([colors[target] for target in part.successors[node]])),
                    )
                    for node, color in colors.items()
                }
            )
            num_finer = len(set(finer.values()))
            if num_finer == num_colors:
                break
            num_colors, colors = num_finer, finer
        return colors

    def solved(self, part: _Part, colors: Colors, *, first_only: bool, depth: int) -> Order:
        """The part's nodes in an order that depends on the colours and edges alone; with `first_only` in one that is

        found by taking the first choice everywhere, which depends on labels but leads equal parts to equal certificates.
        """
        cells: dict[int, list[int]] = {}
        for node, color in colors.items():
            cells.setdefault(color, []).append(node)
        if len(cells) == len(colors):
            return tuple(sorted(colors, key=colors.__getitem__))
        components = part.components(cells, colors)
        if len(components) == 1:
            cell = min(cells.items(), key=lambda item: (len(item[1]), item[0]))[1]
            choose = self._first if first_only else self._best
            return choose(part, colors, cell, depth + 1)
        return self._merged(components, colors, first_only, depth)

    def _merged(self, components: Iterable[_Part], colors: Colors, first_only: bool, depth: int) -> Order:
        """Components in the order of their certificates, and the nodes of each colour in that order."""
        solved = []
        for part in components:
            own = {node: colors[node] for node in part.successors}
            order = self.solved(part, own, first_only=first_only, depth=depth + 1) if len(own) > 1 else tuple(own)
            solved.append((part.certificate(colors, order), order))
        solved.sort(key=lambda pair: pair[0])
        if depth:
            self._automorphisms += [
                dict([*zip(one, other, strict=True), *zip(other, one, strict=True)])
                for (certificate, one), (same, other) in itertools.pairwise(solved)
                if certificate == same and not first_only
            ]
        return tuple(sorted((node for _, order in solved for node in order), key=colors.__getitem__))

    def _first(self, part: _Part, colors: Colors, cell: Sequence[int], depth: int) -> Order:
        return self.solved(part, self._singled_out(part, colors, cell[0], depth), first_only=True, depth=depth)

    def _best(self, part: _Part, colors: Colors, cell: Sequence[int], depth: int) -> Order:
        """The order with the smallest certificate among those that start from one node of the cell."""
        known_before = len(self._automorphisms)
        best = self.solved(part, self._singled_out(part, colors, cell[0], depth), first_only=False, depth=depth)
        best_certificate = part.certificate(colors, best)
        sketch = self._first(part, colors, cell, depth)
        sketch_certificate = part.certificate(colors, sketch)
        tried = {cell[0]}
        for node in cell[1:]:
            if self._reaches(node, tried, self._automorphisms[known_before:]):
                continue
            tried.add(node)
            finer = self._singled_out(part, colors, node, depth)
            other = self.solved(part, finer, first_only=True, depth=depth)
            if part.certificate(colors, other) == sketch_certificate:  # nothing new below this choice
                self._automorphisms.append(dict(zip(sketch, other, strict=True)))
                continue
            order = self.solved(part, finer, first_only=False, depth=depth)
            certificate = part.certificate(colors, order)
            if certificate < best_certificate:
                best, best_certificate = order, certificate
        return best

    def _singled_out(self, part: _Part, colors: Colors, node: int, depth: int) -> Colors:
        """Gives one node a colour of its own before the others of its cell."""
        if depth > _MAX_DEPTH:
            raise TooSymmetricError(f"expected symmetries at most {_MAX_DEPTH} levels deep, got more")
        return self.refined(part, _ranked({v: (color, v != node) for v, color in colors.items()}))

    def _reaches(self, node: int, tried: set[int], automorphisms: Sequence[Mapping[int, int]]) -> bool:
        """Whether automorphisms that keep all earlier choices in place carry `node` to a node that was tried."""
        reached, waiting = {node}, [node]
        while waiting:
            at = waiting.pop()
            self._charge(len(automorphisms))
            for automorphism in automorphisms:
                target = automorphism.get(at, at)
                if target not in reached:
                    reached.add(target)
                    waiting.append(target)
        return not reached.isdisjoint(tried)

    def _charge(self, work: int) -> None:
        self._work += work
        if self._work > MAX_WORK:
            raise TooSymmetricError(
                f"expected a graph whose canonical form takes at most {MAX_WORK} looks at a node or an edge, "
                f"got one of {self._num_nodes} nodes with more look-alike parts than that"
            )
