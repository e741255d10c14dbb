from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import networkx as nx
import numpy as np
import pytest
import torch

from predictor import encoding
from predictor.architecture import Architecture, Operation
from predictor.encoding import (
    KINDS,
    NUM_GLOBAL_FEATURES,
    NUM_NODE_FEATURES,
    ArchitectureEncoder,
    SpaceReference,
    quantiles_of,
)

TRAINABLE = {"conv", "separable_conv", "depthwise_conv", "mbconv", "linear", "attention", "mlp", "graph_conv"}
FIRST_STATISTIC = 10  # after value and presence of five global numbers


def single(operation: Operation) -> torch.Tensor:
    return ArchitectureEncoder().batch([Architecture((operation,), ())]).nodes[0, 0]


def relabelled(architecture: Architecture, rng: np.random.Generator) -> Architecture:
    new = rng.permutation(architecture.num_nodes)
    operations = [architecture.operations[int(old)] for old in np.argsort(new)]
    edges = [(int(new[source]), int(new[target])) for source, target in architecture.edges]
    return Architecture.build(operations, [edges[int(place)] for place in rng.permutation(len(edges))])


@pytest.mark.parametrize("seed", range(15))
def test_numbering_the_nodes_differently_changes_neither_statistics_nor_forecast(
    seed, random_graph, tiny_surrogate
) -> None:
    rng = np.random.default_rng(seed)
    original = random_graph(rng, int(rng.integers(2, 12)))
    other = relabelled(original, rng)

    batches = [ArchitectureEncoder().batch([one]) for one in (original, other)]

    torch.testing.assert_close(batches[0].globals, batches[1].globals, atol=1e-5, rtol=1e-5)
    answers = []
    for batch in batches:
        whole = torch.cat([batch.globals, batch.globals], dim=1)
        answers.append(tiny_surrogate(batch.nodes, batch.adjacency, batch.mask, whole, torch.ones(1, 12)))
    for first, second in zip(*answers, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_what_stands_beside_an_architecture_in_a_batch_does_not_change_its_forecast(
    random_graph, tiny_surrogate
) -> None:
    rng = np.random.default_rng(1)
    small, large = random_graph(rng, 4), random_graph(rng, 15)
    encoder = ArchitectureEncoder()

    alone, together = encoder.batch([small]), encoder.batch([small, large])

    torch.testing.assert_close(alone.globals[0], together.globals[0], atol=2e-5, rtol=2e-5)  # float32, by machine
    torch.testing.assert_close(alone.nodes[0], together.nodes[0, :4])
    assert not together.nodes[0, 4:].any()
    forecasts = [
        tiny_surrogate(b.nodes, b.adjacency, b.mask, torch.cat([b.globals] * 2, 1), torch.ones(len(b), 12))[0][0]
        for b in (alone, together)
    ]
    torch.testing.assert_close(*forecasts, atol=1e-5, rtol=1e-5)


def brute_force(architecture: Architecture, weight) -> tuple[list[float], int]:
    """Total weight of every path from where nothing comes in to where nothing goes out."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(architecture.num_nodes))
    graph.add_edges_from(architecture.edges)
    sources = [node for node in graph if graph.in_degree(node) == 0]
    sinks = {node for node in graph if graph.out_degree(node) == 0}
    paths = [path for source in sources for path in nx.all_simple_paths(graph, source, sinks - {source})]
    paths += [[node] for node in sources if node in sinks]
    totals = [sum(weight(architecture.operations[node]) for node in path) for path in paths]
    return totals, max(len(path) for path in paths)


@pytest.mark.parametrize("seed", range(15))
def test_path_statistics_equal_those_of_every_path_listed(seed, random_graph) -> None:
    rng = np.random.default_rng(100 + seed)
    architecture = random_graph(rng, int(rng.integers(1, 11)))
    batch = ArchitectureEncoder().batch([architecture, random_graph(rng, 13)])

    found = batch.globals[0, FIRST_STATISTIC : FIRST_STATISTIC + 10].double()

    work, deepest = brute_force(architecture, lambda operation: float(operation.kind in TRAINABLE))
    expected = {
        0: math.log2(1 + max(work)),
        1: math.log2(1 + min(work)),
        4: math.log2(1 + np.mean(work)),
        7: math.log2(1 + len(work)) / 2,
        8: math.log2(deepest),
        9: math.log2(1 + len(architecture.edges)),
    }
    for place, value in expected.items():
        assert float(found[place]) == pytest.approx(value, abs=1e-5), place


def test_cost_along_paths_counts_kernel_size() -> None:
    def chain(*kernel_sizes: int) -> Architecture:
        operations = [Operation.of("conv", kernel_size=size) for size in kernel_sizes]
        return Architecture.build(operations, [(at, at + 1) for at in range(len(operations) - 1)])

    batch = ArchitectureEncoder().batch([chain(1, 1), chain(1, 3), chain(5, 5)])

    total_cost = batch.globals[:, FIRST_STATISTIC + 6]
    expected = [math.log2(1 + sum(math.log2(1 + k * k) for k in sizes)) for sizes in ((1, 1), (1, 3), (5, 5))]
    torch.testing.assert_close(total_cost, torch.tensor(expected))


def test_equal_operations_look_equal_wherever_they_stand() -> None:
    convolution = Operation.of("conv", kernel_size=3, stride=1)
    two_in_a_row = Architecture.build([Operation.of("input"), convolution, convolution], [(0, 1), (1, 2)])

    nodes = ArchitectureEncoder().batch([two_in_a_row]).nodes[0]

    num_positional = 6
    torch.testing.assert_close(nodes[1, :-num_positional], nodes[2, :-num_positional])
    assert not torch.equal(nodes[0, :-num_positional], nodes[1, :-num_positional])
    assert not torch.equal(nodes[1, -num_positional:], nodes[2, -num_positional:])


def test_kinds_that_are_unknown_can_be_told_apart_and_look_like_no_known_kind() -> None:
    names = ["spiking_mixer", "my_gate", "fourier", "a", "x-ray"]

    features = [single(Operation.of(name)) for name in names]

    for place, one in enumerate(features):
        assert not one[: len(KINDS)].any()
        assert all(not torch.equal(one, other) for other in features[:place])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"kernel_size": 3}, {"kernel_size": 5}),
        ({"stride": 1}, {}),
        ({"padding_mode": "zeros"}, {"padding_mode": "reflect"}),
        ({"leak": 0.1}, {"leak": 0.3}),
        ({"se": True}, {"se": False}),
        ({"kernel_size": "3"}, {"kernel_size": 3}),
    ],
)
def test_operations_whose_attributes_differ_look_different(first, second) -> None:
    assert not torch.equal(single(Operation.of("conv", **first)), single(Operation.of("conv", **second)))


def test_the_cache_answers_what_was_encoded_before(cells) -> None:
    encoder = ArchitectureEncoder()

    first, second = encoder.batch(cells[:20]), encoder.batch(cells[:20])

    assert encoder.encode(cells[0]) is encoder.encode(cells[0])
    assert torch.equal(first.nodes, second.nodes)
    assert torch.equal(first.globals, second.globals)


def test_a_full_cache_forgets_the_oldest_and_still_answers_rightly(cells) -> None:
    small, large = ArchitectureEncoder(capacity=3), ArchitectureEncoder()

    small.batch(cells[:30])

    assert torch.equal(small.batch(cells[:30]).globals, large.batch(cells[:30]).globals)


def test_known_parameters_are_seen_even_where_the_same_graph_was_encoded_without_them() -> None:
    graph = ([Operation.of("input"), Operation.of("output")], [(0, 1)])
    plain, counted = Architecture.build(*graph), Architecture.build(*graph, {"params": 1_000_000})
    encoder = ArchitectureEncoder()

    batch = encoder.batch([plain, counted, plain])

    assert plain.hash == counted.hash
    assert not torch.equal(batch.globals[0], batch.globals[1])
    assert torch.equal(batch.globals[0], batch.globals[2])


def test_architectures_without_attributes_share_what_is_kept_of_them(cells) -> None:
    encoder = ArchitectureEncoder()

    first, second = (encoder.encode(cell) for cell in cells[:2])

    assert first.attributes is second.attributes
    assert not first.attributes.any()


def test_many_threads_may_share_an_encoder(cells) -> None:
    expected = ArchitectureEncoder().batch(cells[:100])
    shared = ArchitectureEncoder()

    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(lambda _: shared.batch(cells[:100]), range(16)))

    assert all(torch.equal(batch.nodes, expected.nodes) for batch in batches)


def test_huge_numbers_stay_finite() -> None:
    wild = [
        Operation.of("conv", kernel_size=1e200, groups=-3, expansion=1e308, repeats=10**400),
        Operation.of("mbconv", kernel_size=-(10**30), stride=0, expansion=0),
        Operation.of("thing", amount=1.7e308, other=-(10**500)),
    ]
    architecture = Architecture.build(wild, [(0, 1), (1, 2)], {"params": 10**400, "flops": 1e308, "own": -1e308})

    batch = ArchitectureEncoder().batch([architecture])

    assert bool(torch.isfinite(batch.nodes).all())
    assert bool(torch.isfinite(batch.globals).all())


def test_a_graph_with_more_paths_than_can_be_counted_stays_finite() -> None:
    layers, width = 60, 4
    operations = [Operation.of("conv", kernel_size=3)] * (layers * width)
    edges = [
        (layer * width + i, (layer + 1) * width + j)
        for layer in range(layers - 1)
        for i in range(width)
        for j in range(width)
    ]
    batch = ArchitectureEncoder().collate([ArchitectureEncoder()._encode(Architecture.build(operations, edges))])

    assert bool(torch.isfinite(batch.globals).all())


def test_no_architectures_make_an_empty_batch() -> None:
    batch = ArchitectureEncoder().batch([])

    assert batch.nodes.shape == (0, 1, NUM_NODE_FEATURES)
    assert batch.globals.shape == (0, NUM_GLOBAL_FEATURES)


def test_features_relative_to_a_space_have_mean_0_and_spread_1_where_they_vary(cells) -> None:
    batch = ArchitectureEncoder().batch(cells)
    reference = SpaceReference.of(batch)

    standardised = reference.standardised(batch.globals)

    varies = batch.globals.std(0, correction=0) > 1e-3
    unclamped = ((batch.globals - reference.mean) / reference.std)[:, varies]
    torch.testing.assert_close(unclamped.mean(0), torch.zeros(int(varies.sum())), atol=1e-3, rtol=0)
    torch.testing.assert_close(unclamped.std(0, correction=0), torch.ones(int(varies.sum())), atol=1e-3, rtol=0)
    assert float(standardised.abs().max()) <= 4.0
    assert bool((reference.std[~varies] == 1.0).all())


@pytest.mark.parametrize("count", [0, 1])
def test_a_space_of_one_architecture_has_a_reference_too(cells, count) -> None:
    reference = SpaceReference.of(ArchitectureEncoder().batch(cells[:count]))

    assert bool(torch.isfinite(reference.standardised(ArchitectureEncoder().batch(cells).globals)).all())


def test_threads_that_meet_an_operation_at_once_do_not_spoil_the_next_one(monkeypatch) -> None:
    encoder, together = ArchitectureEncoder(), Barrier(2)
    features = encoding._static_features

    def at_once(operation: Operation) -> np.ndarray:
        if operation.kind == "conv":
            together.wait(10.0)
        return features(operation)

    monkeypatch.setattr(encoding, "_static_features", at_once)
    first = [Architecture((Operation.of("conv"),), (), (("stem_channels", width),)) for width in (16, 32)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(encoder.encode, first))
    second = Architecture((Operation.of("max_pool"),), ())
    encoder.encode(second)

    nodes = encoder.batch([*first, second]).nodes

    assert nodes[:2, 0, KINDS.index("conv")].tolist() == [1.0, 1.0]
    assert nodes[2, 0, KINDS.index("max_pool")] == 1.0


def counted(*architectures: Architecture) -> torch.Tensor:
    encoder = ArchitectureEncoder()
    return encoder.operation_counts(encoder.batch(architectures))


def test_distances_between_counts_of_operations_are_those_of_the_counts_themselves(random_graph) -> None:
    rng = np.random.default_rng(3)
    graphs = [random_graph(rng, int(rng.integers(3, 14))) for _ in range(60)]
    keys = sorted({operation.key for graph in graphs for operation in graph.operations})
    exact = torch.zeros(len(graphs), len(keys))
    for row, graph in enumerate(graphs):
        for operation in graph.operations:
            exact[row, keys.index(operation.key)] += 1.0

    distances = torch.cdist(counted(*graphs), counted(*graphs))

    expected = torch.cdist(exact, exact)
    apart = expected > 0
    assert float((distances[apart] / expected[apart] - 1.0).abs().mean()) < 0.08
    assert float(distances[~apart].max()) < 1e-3


def test_counts_of_operations_do_not_depend_on_edges_padding_or_what_the_encoder_saw_before(random_graph) -> None:
    small, large = (random_graph(np.random.default_rng(seed), size) for seed, size in ((1, 4), (2, 15)))
    without_edges = Architecture.build(small.operations, [])
    encoder = ArchitectureEncoder()
    encoder.batch([large])

    beside = encoder.operation_counts(encoder.batch([large, small]))[1]

    torch.testing.assert_close(beside, counted(small)[0])
    torch.testing.assert_close(counted(without_edges)[0], counted(small)[0])


def test_counts_tell_operations_apart_that_differ_in_one_attribute() -> None:
    one, other = (Operation.of("conv", kernel_size=size, channels=16) for size in (3, 5))

    first, second, both = counted(*(Architecture.build(ops, []) for ops in ([one], [other], [one, other])))

    assert float(first.norm()) == pytest.approx(1.0)
    assert abs(float(first @ second)) < 0.25
    torch.testing.assert_close(both, first + second)


def test_columns_of_counts_never_change_since_kept_adaptations_rest_on_them() -> None:
    counts = counted(Architecture.build([Operation.of("conv", kernel_size=3)], []))[0] * 16.0

    signs = "".join("+" if count > 0 else "-" for count in counts[:16].tolist())
    assert signs == "++++-+-++-+-+--+"
    torch.testing.assert_close(counts.abs(), torch.ones(256))


def test_normal_scores_follow_ranks_in_the_space(space, cells) -> None:
    batch = ArchitectureEncoder().batch(cells)
    reference = SpaceReference.of(batch)

    scores = reference.normal_scores(batch.globals)

    varies = batch.globals.std(0) > 1e-3
    assert bool((scores[:, ~varies] == 0.0).all())
    for column in varies.nonzero()[:, 0].tolist():
        order = batch.globals[:, column].argsort()
        assert bool((scores[order, column].diff() >= -1e-6).all())
    assert float(scores.abs().max()) <= 2.5
    assert abs(float(scores[:, varies].mean())) < 0.05


def test_what_many_share_gets_the_middle_of_their_ranks() -> None:
    features = torch.zeros(400, NUM_GLOBAL_FEATURES)
    features[300:, 0] = torch.linspace(1.0, 2.0, 100)
    reference = SpaceReference(features.mean(0), torch.ones(NUM_GLOBAL_FEATURES), quantiles_of(features))

    scores = reference.normal_scores(features)[:, 0]

    assert float(scores[0]) == pytest.approx(-0.3186, abs=0.02)  # the normal quantile of 3 / 8
    assert 0.6 < float(scores[301]) < float(scores[350]) < float(scores[399]) <= 2.5
    assert reference.normal_scores(features - 7.0)[0, 0] == pytest.approx(float(scores[0]))  # beyond the least


def test_without_quantiles_ranks_are_in_the_middle(cells) -> None:
    reference = SpaceReference(torch.zeros(NUM_GLOBAL_FEATURES), torch.ones(NUM_GLOBAL_FEATURES))
    batch = ArchitectureEncoder().batch(cells[:5])

    assert bool((reference.normal_scores(batch.globals) == 0.0).all())
    assert "r.quantiles" not in reference.tensors("r.")


def test_a_reference_comes_back_from_tensors(cells) -> None:
    batch = ArchitectureEncoder().batch(cells[:50])
    reference = SpaceReference.of(batch)

    again = SpaceReference.from_tensors(reference.tensors("r."), "r.")

    assert torch.equal(again.normal_scores(batch.globals), reference.normal_scores(batch.globals))
    assert torch.equal(again.standardised(batch.globals), reference.standardised(batch.globals))
    with pytest.raises(ValueError, match="expected quantiles"):
        SpaceReference.from_tensors(reference.tensors("r.") | {"r.quantiles": torch.zeros(3, 3)}, "r.")
