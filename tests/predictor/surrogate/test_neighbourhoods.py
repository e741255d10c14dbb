from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from predictor.architecture import Architecture, Operation
from predictor.encoding import NUM_STATIC_FEATURES, ArchitectureEncoder
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.surrogate.neighbourhoods import (
    NUM_NEIGHBOURHOOD_FEATURES,
    _normal,
    _uniform,
    differentiable_neighbourhood_features,
    neighbourhood_features,
)

ATOL = 1e-5  # float32 sums of some dozen numbers up to 1, in an order that depends on the nodes' and on the padding
CONV, POOL = Operation.of("conv", kernel_size=3, stride=1), Operation.of("max_pool", kernel_size=3)
SOURCE, SINK = Operation.of("input"), Operation.of("output")

RandomGraph = Callable[[np.random.Generator, int], Architecture]


def features(*architectures: Architecture) -> Tensor:
    return neighbourhood_features(ArchitectureEncoder().batch(architectures))


def chain(*operations: Operation) -> Architecture:
    whole = [SOURCE, *operations, SINK]
    return Architecture.build(whole, [(node, node + 1) for node in range(len(whole) - 1)])


@pytest.mark.parametrize("seed", range(5))
def test_graphs_whose_nodes_come_in_another_order_are_the_same(random_graph: RandomGraph, seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, 9)
    place = rng.permutation(9)
    shuffled = Architecture.build(
        [graph.operations[int(node)] for node in np.argsort(place)],
        [(int(place[source]), int(place[target])) for source, target in graph.edges],
    )

    first, second = features(graph), features(shuffled)

    torch.testing.assert_close(first, second, atol=ATOL, rtol=0)


def test_smaller_graphs_are_the_same_beside_larger_ones(random_graph: RandomGraph) -> None:
    rng = np.random.default_rng(0)
    small, large = random_graph(rng, 4), random_graph(rng, 40)

    torch.testing.assert_close(features(small, large)[:1], features(small), atol=ATOL, rtol=0)


def test_many_graphs_are_what_each_of_them_is_alone(random_graph: RandomGraph) -> None:
    rng = np.random.default_rng(0)
    graphs = [random_graph(rng, 12) for _ in range(60)]  # so many nodes that equal ones are looked for

    together = features(*graphs)

    torch.testing.assert_close(together, torch.cat([features(one) for one in graphs]), atol=ATOL, rtol=0)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(chain(CONV, POOL, POOL), id="another operation"),
        pytest.param(chain(Operation.of("conv", kernel_size=5, stride=1), CONV, POOL), id="another kernel size"),
        pytest.param(chain(CONV, POOL, CONV), id="the same operations in another order"),
        pytest.param(chain(CONV, CONV, POOL, POOL), id="a node more"),
        pytest.param(
            Architecture.build([SOURCE, CONV, CONV, POOL, SINK], [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)]),
            id="an edge more",
        ),
        pytest.param(
            Architecture.build([SINK, CONV, CONV, POOL, SOURCE], [(0, 1), (1, 2), (2, 3), (3, 4)]), id="backwards"
        ),
    ],
)
def test_other_graphs_are_different(other: Architecture) -> None:
    first, second = features(chain(CONV, CONV, POOL), other)

    assert float((first - second).norm()) > 0.3


def test_nodes_see_one_step_and_no_further() -> None:
    first = chain(POOL, CONV, CONV, POOL, CONV, POOL)
    second = chain(POOL, CONV, POOL, CONV, CONV, POOL)
    assert triples(first) == triples(second)
    assert first.hash != second.hash

    found = features(first, second)

    torch.testing.assert_close(found[0], found[1], atol=ATOL, rtol=0)


def triples(graph: Architecture) -> list[list[str]]:
    """Every three nodes in a row."""
    return sorted(
        [str(graph.operations[node]) for node in (source, middle, target)]
        for source, middle in graph.edges
        for start, target in graph.edges
        if start == middle
    )


def test_those_that_gradients_pass_through_are_the_same(random_graph: RandomGraph) -> None:
    batch = ArchitectureEncoder().batch([random_graph(np.random.default_rng(seed), 4 + seed) for seed in range(5)])

    found = differentiable_neighbourhood_features(batch.nodes.double(), batch.adjacency.double(), batch.mask.double())

    torch.testing.assert_close(found.float(), neighbourhood_features(batch), atol=ATOL, rtol=0.0)


def test_nothing_comes_of_nothing() -> None:
    assert features().shape == (0, NUM_NEIGHBOURHOOD_FEATURES)


def test_the_features_of_a_cell_stay_as_they_are() -> None:
    """Stored adaptations hold features of this very random stream: where these numbers change, they mean something else."""
    cell = "|nor_conv_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"

    found = features(NASBench201().parse(cell))[0]

    expected = [0.18052, 0.11409, -0.55145, 0.48734, 0.16510, -0.50662, 0.62647, 0.31969]
    torch.testing.assert_close(found[::16], torch.tensor(expected), atol=2e-5, rtol=0)
    assert float(found.square().sum()) == pytest.approx(28.41711, abs=1e-3)


def test_the_random_stream_starts_as_ever() -> None:
    # NumPy documents these for `default_rng(0).random()`, which reads the same bits in the same way
    np.testing.assert_allclose(_uniform(0, 3), [0.6369616873214543, 0.2697867137638703, 0.0409735239361946], rtol=1e-12)


def test_normal_numbers_are_normal() -> None:
    found = _normal(9, NUM_STATIC_FEATURES, 200).flatten()
    count = len(found)

    # four standard errors of each moment
    assert abs(float(found.mean())) < 4.0 / count**0.5
    assert abs(float(found.var()) - 1.0) < 4.0 * (2.0 / count) ** 0.5
    assert abs(float(found.pow(4).mean()) - 3.0) < 4.0 * (96.0 / count) ** 0.5
