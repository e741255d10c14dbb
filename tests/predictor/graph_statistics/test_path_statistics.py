"""What lies on the paths through a graph, against a list of every path."""

from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
import torch

from predictor.architecture import Architecture, Operation
from predictor.encoding import ArchitectureEncoder
from predictor.graph_statistics.complexity import NUM_COMPLEXITIES
from predictor.graph_statistics.path_statistics import NUM_PATH_STATISTICS
from predictor.graph_statistics.signal_propagation import NUM_SIGNAL_FEATURES

FIRST = -NUM_PATH_STATISTICS - NUM_SIGNAL_FEATURES - NUM_COMPLEXITIES
KINDS = ("conv", "identity", "avg_pool")


def random_cell(rng: np.random.Generator, num_nodes: int) -> Architecture:
    operations = [
        Operation.of(kind, kernel_size=int(rng.choice([1, 3, 5]))) if kind != "identity" else Operation.of(kind)
        for kind in rng.choice(KINDS, num_nodes).tolist()
    ]
    edges = [(a, b) for b in range(num_nodes) for a in range(b) if rng.random() < 0.5]
    return Architecture.build(operations, edges)


def paths_of(architecture: Architecture) -> list[list[Operation]]:
    graph = nx.DiGraph()
    graph.add_nodes_from(range(architecture.num_nodes))
    graph.add_edges_from(architecture.edges)
    sources = [node for node in graph if graph.in_degree(node) == 0]
    sinks = {node for node in graph if graph.out_degree(node) == 0}
    paths = [path for source in sources for path in nx.all_simple_paths(graph, source, sinks - {source})]
    paths += [[node] for node in sources if node in sinks]
    return [[architecture.operations[node] for node in path] for path in paths]


def is_learned(operation: Operation) -> bool:
    return operation.kind == "conv"


def is_spatial(operation: Operation) -> bool:
    return is_learned(operation) and operation.get("kernel_size") > 1


def reach(operation: Operation) -> float:
    return 0.0 if operation.kind == "identity" else operation.get("kernel_size") - 1.0


def is_pool(operation: Operation) -> bool:
    return operation.kind == "avg_pool"


@pytest.mark.parametrize("seed", range(12))
def test_numbers_equal_those_of_every_path_listed(seed) -> None:
    rng = np.random.default_rng(seed)
    cell, larger = random_cell(rng, int(rng.integers(1, 9))), random_cell(rng, 11)

    found = ArchitectureEncoder().batch([cell, larger]).globals[0, FIRST:][:NUM_PATH_STATISTICS]

    paths = paths_of(cell)
    learned, spatial, reached, pooled = (
        [sum(map(trait, path)) for path in paths] for trait in (is_learned, is_spatial, reach, is_pool)
    )
    into = {node: sum(target == node for _, target in cell.edges) for node in range(cell.num_nodes)}
    amounts = [
        np.mean(reached), max(spatial), max(reached), max(pooled), min(spatial), min(reached), min(pooled),
        np.mean(spatial), np.mean(pooled),
        sum(one.get("kernel_size") ** 2 for one in cell.operations if is_learned(one)),
        sum(into[node] for node, one in enumerate(cell.operations) if is_learned(one)),
        sum(count == 0 for count in learned), sum(count == 1 for count in learned),
        sum(a == 0 and b == 0 for a, b in zip(learned, pooled, strict=True)),
    ]  # fmt: skip
    expected = [np.std(learned), np.std(spatial), *(math.log2(1.0 + amount) for amount in amounts)]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_very_many_ways_stay_finite() -> None:
    layers = 60
    operations = [Operation.of("conv", kernel_size=3)] * (3 * layers)
    edges = [(3 * at + a, 3 * at + 3 + b) for at in range(layers - 1) for a in range(3) for b in range(3)]

    found = ArchitectureEncoder().batch([Architecture.build(operations, edges)]).globals[0, FIRST:]

    assert bool(found.isfinite().all())


@pytest.mark.parametrize("seed", range(4))
def test_chains_among_themselves_have_the_numbers_that_they_have_beside_branching_graphs(seed) -> None:
    rng = np.random.default_rng(seed)
    lengths = (6, 6, int(rng.integers(1, 9)))
    chains = [
        Architecture.build(random_cell(rng, length).operations, [(at, at + 1) for at in range(length - 1)])
        for length in lengths
    ]
    branching = Architecture.build([Operation.of("identity")] * 3, [(0, 2), (1, 2)])
    encoder = ArchitectureEncoder()

    alone, beside = encoder.batch(chains), encoder.batch([*chains, branching])

    torch.testing.assert_close(alone.globals, beside.globals[:-1])
    torch.testing.assert_close(alone.nodes[:2], beside.nodes[:2])
