"""Whatever finds who looks at whom, the numbers are the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from predictor.surrogate.connectivity import _OwnEdges, _SameEdges, connectivity_of

WIDTH = 8
ATOL = 1e-5  # float32 sums of a few numbers around 1 in another order


def _adjacency(num_nodes: int, edges: list[tuple[int, int]]) -> Tensor:
    adjacency = torch.zeros(num_nodes, num_nodes)
    for source, target in edges:
        adjacency[source, target] = 1.0
    return adjacency


CHAIN = _adjacency(9, [(node, node + 1) for node in range(8)])
BRANCHED = _adjacency(24, [(node, node + 1) for node in range(23)] + [(0, 5), (5, 9), (9, 20), (1, 22)])
WITHOUT_EDGES = _adjacency(9, [])


@pytest.mark.parametrize(
    "adjacency",
    [
        pytest.param(CHAIN, id="a chain"),
        pytest.param(BRANCHED, id="a chain with shortcuts"),
        pytest.param(WITHOUT_EDGES, id="nodes without edges"),
    ],
)
def test_graphs_with_the_same_edges_see_what_they_would_see_with_their_own(adjacency: Tensor) -> None:
    batch, num_nodes = 3, len(adjacency)
    repeated, mask = adjacency.expand(batch, -1, -1), torch.ones(batch, num_nodes)
    by_place, by_graph = connectivity_of(repeated, mask), _OwnEdges(repeated, mask)
    generator = torch.Generator().manual_seed(0)
    x, projected = (torch.randn(batch, num_nodes, size, generator=generator) for size in (WIDTH, 3 * WIDTH))
    assert isinstance(by_place, _SameEdges)

    found, expected = (
        (
            one.unflattened(one.attended(one.flattened(4.0 * projected))),
            one.unflattened(one.gathered(one.flattened(x))),
        )
        for one in (by_place, by_graph)
    )

    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, atol=ATOL, rtol=ATOL)


def test_the_order_of_nodes_is_taken_back() -> None:
    x = torch.arange(3 * 9 * 2.0).view(3, 9, 2)

    for adjacency in (CHAIN.expand(3, -1, -1), torch.stack([CHAIN, WITHOUT_EDGES, CHAIN])):
        connectivity = connectivity_of(adjacency, torch.ones(3, 9))
        assert torch.equal(connectivity.unflattened(connectivity.flattened(x)), x)


@pytest.mark.parametrize(
    "adjacency",
    [
        pytest.param(CHAIN[None], id="one graph alone"),
        pytest.param(torch.stack([CHAIN, WITHOUT_EDGES]), id="different edges"),
        pytest.param(_adjacency(4, [(0, 1), (1, 2), (2, 3)]).expand(2, -1, -1), id="hardly larger than its lists"),
    ],
)
def test_other_graphs_are_multiplied_by_their_own_edges(adjacency: Tensor) -> None:
    mask = torch.ones(adjacency.shape[:2])

    assert isinstance(connectivity_of(adjacency, mask), _OwnEdges)
