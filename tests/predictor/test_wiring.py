from __future__ import annotations

import pytest

from predictor.errors import InvalidGraphError
from predictor.wiring import wiring


def test_a_diamond_is_ordered_from_its_source_to_its_sink() -> None:
    diamond = wiring(4, ((3, 1), (3, 2), (1, 0), (2, 0)))

    assert diamond.predecessors == ((1, 2), (3,), (3,), ())
    assert diamond.successors == ((), (0,), (0,), (1, 2))
    assert diamond.topological_order == (3, 1, 2, 0)


def test_graphs_of_the_same_edges_share_one_wiring() -> None:
    edges = ((0, 1), (1, 2))

    assert wiring(3, edges) is wiring(3, tuple(map(tuple, [[0, 1], [1, 2]])))
    assert wiring(4, edges).topological_order == (0, 3, 1, 2)


def test_a_long_path_is_ordered_though_it_is_not_kept() -> None:
    assert wiring(500, tuple((node + 1, node) for node in range(499))).topological_order == tuple(reversed(range(500)))


@pytest.mark.parametrize(
    ("num_nodes", "edges", "message"),
    [
        (0, (), "at least one node"),
        (2, ((0, 2),), "between nodes 0 to 1"),
        (2, ((1, 1),), "from a node to itself"),
        (2, ((0, 1), (0, 1)), "more than once"),
        (3, ((0, 1), (1, 2), (2, 1)), "without cycles"),
    ],
)
def test_what_is_no_graph_is_refused_every_time(num_nodes, edges, message) -> None:
    for _ in range(2):
        with pytest.raises(InvalidGraphError, match=message):
            wiring(num_nodes, edges)
