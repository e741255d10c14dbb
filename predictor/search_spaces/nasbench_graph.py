"""NAS-Bench-Graph (Qin et al., NeurIPS 2022): four operations on graphs, each fed by one earlier node; leaves are joined.

The notation is `link|operations`, as in `0112|gcn-gin-fc-cheb`: digit i of the link is the node that feeds operation i
(0 is the input). Writings of the same network are one genotype, by the benchmark's own rules: siblings in the order of
`OPERATION_NAMES`; a `skip` that changes nothing, or that would join the raw input to the output beside others, moves to
the front. That leaves the 26,206 networks that the benchmark evaluated.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError
from predictor.search_spaces.base import Choices, Decision, DecisionSpace, Notation
from predictor.search_spaces.json_notation import shortened
from predictor.search_spaces.notation import is_whole_number, read_fields
from predictor.search_spaces.skeletons import NoNetwork

Link = tuple[int, ...]  # (4,) for every operation the node that feeds it

OPERATION_NAMES = ("gat", "gcn", "gin", "cheb", "sage", "arma", "graph", "fc", "skip")
LINKS: tuple[Link, ...] = tuple(
    tuple(map(int, digits)) for digits in ("0000", "0001", "0011", "0012", "0013", "0111", "0112", "0122", "0123")
)
NUM_OPERATIONS = 4
NUM_GENOTYPES = 26_206

_SKIP = OPERATION_NAMES.index("skip")
_EXPECTED = "text such as '0112|gcn-gin-fc-cheb': four nodes that feed, then four operations"
_CODE = re.compile(r"([0-3]{4})\|([a-z]+(?:-[a-z]+)*)", re.ASCII)

_INPUT, _OUTPUT, _CONCAT = Operation.of("input"), Operation.of("output"), Operation.of("concat")
_OPERATIONS = (
    Operation.of("graph_conv", function="gat", heads=2),
    *(Operation.of("graph_conv", function=name) for name in ("gcn", "gin", "cheb", "sage", "arma", "k-gnn")),
    Operation.of("linear"),
    Operation.of("identity"),
)


class NASBenchGraph(DecisionSpace):
    """26,206 networks."""

    skeleton = NoNetwork("networks on graphs, which need a graph data set and operations on it")

    def __init__(self, name: str = "nasbench_graph") -> None:
        self.name = name
        self.decisions = (
            Decision("link", tuple("".join(map(str, link)) for link in LINKS)),
            *(
                Decision(f"operation_{number}", OPERATION_NAMES, f"node_{number}")
                for number in range(1, NUM_OPERATIONS + 1)
            ),
        )

    def _read(self, notation: Notation) -> Choices:
        if isinstance(notation, str) and not notation.lstrip().startswith("{"):
            match = _CODE.fullmatch(notation.strip())
            if match is None:
                raise NotationError(f"{self.name}: expected {_EXPECTED}, got {shortened(notation)}")
            return self._checked([int(digit) for digit in match[1]], match[2].split("-"))
        fields = read_fields(notation, self.name, ("link", "ops"))
        return self._checked(fields["link"], fields["ops"])

    def _checked(self, link: object, names: object) -> Choices:
        """Settled choices from what was written; raises NotationError."""
        match link:
            case [int(), int(), int(), int()] if all(
                is_whole_number(source) and 0 <= source <= place for place, source in enumerate(link)
            ):
                fed_by: Link = tuple(link)
            case _:
                raise NotationError(
                    f"{self.name}: expected a link of four digits, the i-th a node from 0 to i-1 (0 is the input), got {shortened(link)}"
                )
        match names:
            case [str(), str(), str(), str()] if set(names) <= set(OPERATION_NAMES):
                return _canonical(fed_by, tuple(OPERATION_NAMES.index(name) for name in names))
        raise NotationError(
            f"{self.name}: expected four operations out of {', '.join(OPERATION_NAMES)}, got {shortened(names)}"
        )

    def _write(self, choices: Choices) -> str:
        link, *operations = choices
        digits = "".join(map(str, LINKS[link]))
        return f"{digits}|{'-'.join(OPERATION_NAMES[operation] for operation in operations)}"

    def _build(self, choices: Choices, genotype: str) -> Architecture:
        link, *operations = choices
        ahead, edges = _skeleton(LINKS[link])
        nodes = (_INPUT, *(_OPERATIONS[operation] for operation in operations), *ahead)
        return Architecture(nodes, edges, (), genotype)

    def _recover(self, architecture: Architecture) -> Choices | None:
        order = [v for v in architecture.topological_order if architecture.operations[v] in _OPERATIONS]
        number = {node: place for place, node in enumerate(order, start=1)}
        sources = [architecture.predecessors[node] for node in order]
        if len(order) != NUM_OPERATIONS or any(len(fed_by) != 1 for fed_by in sources):
            return None
        link = tuple(number.get(fed_by[0], 0) for fed_by in sources)
        choices = _canonical(link, tuple(_OPERATIONS.index(architecture.operations[node]) for node in order))
        return choices if self.decode(choices) == architecture else None

    def _settled(self, choices: Choices) -> Choices:
        return _canonical(LINKS[choices[0]], choices[1:])

    def _is_valid(self, choices: Choices) -> bool:
        return any(operation != _SKIP for operation in choices[1:])

    def _open_choices(self, place: int, known: Mapping[int, int]) -> Sequence[int]:
        every = range(len(self.decisions[place].choices))
        skips = sum(known[other] == _SKIP for other in known if other > 0)
        return [choice for choice in every if choice != _SKIP] if place and skips == NUM_OPERATIONS - 1 else every

    def size(self) -> int:
        return NUM_GENOTYPES


@cache
def _skeleton(link: Link) -> tuple[tuple[Operation, ...], tuple[tuple[int, int], ...]]:
    """What follows the operations, and all edges: leaves meet in a concat where there are several."""
    leaves = [number for number in range(1, NUM_OPERATIONS + 1) if number not in link]
    edges = [(source, number) for number, source in enumerate(link, start=1)]
    join = NUM_OPERATIONS + 1
    edges += [(leaf, join) for leaf in leaves]
    if len(leaves) == 1:
        return (_OUTPUT,), tuple(edges)
    return (_CONCAT, _OUTPUT), (*edges, (join, join + 1))


@lru_cache(maxsize=65_536)
def _canonical(link: Link, operations: Choices) -> Choices:
    """The one way to write this network: skips to the front, then the smallest of all relabellings."""
    if _SKIP in operations:
        link, operations = _skips_in_front(link, operations)
    number, orders = _relabellings()[link]
    return (number, *min(tuple([operations[place] for place in order]) for order in orders))


def _skips_in_front(link: Link, operations: Choices) -> tuple[Link, Choices]:
    """Takes every skip out that changes nothing and chains as many at the input instead."""
    sources = list(link)
    for place, source in enumerate(link):  # what feeds, looked at through skips
        sources[place] = sources[source - 1] if source and operations[source - 1] == _SKIP else source
    shortcuts = [p for p, operation in enumerate(operations) if operation == _SKIP and p + 1 not in link and sources[p]]
    kept = [p for p, operation in enumerate(operations) if operation != _SKIP or p in shortcuts]
    fed = [sources[p] for p in kept]
    kept = [p for p in kept if operations[p] != _SKIP or fed.count(sources[p]) > 1]
    front = len(operations) - len(kept)
    number = {0: front, **{p + 1: front + n for n, p in enumerate(kept, start=1)}}
    return (
        (*range(front), *(number[sources[p]] for p in kept)),
        (*itertools.repeat(_SKIP, front), *(operations[p] for p in kept)),
    )


@cache
def _relabellings() -> dict[Link, tuple[int, tuple[tuple[int, ...], ...]]]:
    """For each of the 24 links the link of the nine that has its shape, and the orders that carry operations there."""
    found = {}
    for link in itertools.product(*(range(place + 1) for place in range(NUM_OPERATIONS))):
        for number, target in enumerate(LINKS):
            orders = [
                order for order in itertools.permutations(range(NUM_OPERATIONS)) if _relabelled(link, order) == target
            ]
            if orders:
                found[link] = number, tuple(orders)
    return found


def _relabelled(link: Link, order: tuple[int, ...]) -> Link:
    """The link after the operation at `order[i]` has become operation i."""
    number = {0: 0, **{old + 1: new for new, old in enumerate(order, start=1)}}
    return tuple(number[link[old]] for old in order)
