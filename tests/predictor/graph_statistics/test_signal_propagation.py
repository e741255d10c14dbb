"""Signals through graphs in closed form, against wide random networks that are really made."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from predictor.architecture import Architecture, Operation
from predictor.encoding import ArchitectureEncoder
from predictor.graph_statistics.complexity import NUM_COMPLEXITIES
from predictor.graph_statistics.covariance import matrices, of_inputs
from predictor.graph_statistics.operation_traits import Effect
from predictor.graph_statistics.signal_propagation import NUM_SIGNAL_FEATURES, Flow, signal_features
from predictor.graph_statistics.stacked_graphs import StackedGraphs

SIGNALS = slice(-NUM_SIGNAL_FEATURES - NUM_COMPLEXITIES, -NUM_COMPLEXITIES)
SPREAD, RANK, APART, WITHIN, NEAR, LEVEL, AT_INPUTS, LEARNED = range(8)


def features(*operations: str | int, edges=None) -> torch.Tensor:
    """Of a chain (or the given graph) of kinds, a number being a convolution of that size."""
    nodes = [Operation.of("conv", kernel_size=one) if isinstance(one, int) else Operation.of(one) for one in operations]
    chain = [(at, at + 1) for at in range(len(nodes) - 1)]
    return ArchitectureEncoder().batch([Architecture.build(nodes, edges or chain)]).globals[0, SIGNALS]


def test_what_learns_nothing_leaves_the_signal_as_it_is() -> None:
    torch.testing.assert_close(features("input", "identity", "output"), features("input", "output"))


def test_pooling_makes_positions_alike() -> None:
    assert features("input", "avg_pool", "output")[WITHIN] > features("input", "output")[WITHIN]
    assert features("input", "global_pool", "output")[WITHIN] > features("input", "avg_pool", "output")[WITHIN]


def test_every_further_activation_brings_examples_closer() -> None:
    plain, once, twice = (features("input", *["activation"] * count, "output")[APART] for count in (0, 1, 2))

    assert plain > once > twice


def test_a_residual_connection_keeps_gradients_from_one_source_more() -> None:
    chain = features("input", 3, 3, "output")
    residual = features("input", 3, 3, "output", edges=[(0, 1), (1, 2), (2, 3), (0, 3)])

    assert residual[AT_INPUTS] > chain[AT_INPUTS]
    assert residual[LEVEL] > chain[LEVEL]


def test_a_graph_that_gives_nothing_is_told_from_all_others() -> None:
    found = features("input", "zero", "output")

    assert bool(found.isfinite().all())
    assert float(found[LEVEL]) == pytest.approx(np.log2(1e-4) / 4, abs=0.01)


def test_padding_and_neighbours_in_a_batch_change_nothing() -> None:
    small = Architecture.build([Operation.of("conv", kernel_size=3), Operation.of("output")], [(0, 1)])
    large = Architecture.build([Operation.of("conv", kernel_size=1)] * 20, [(at, at + 1) for at in range(19)])
    encoder = ArchitectureEncoder()

    together = encoder.batch([large, small]).globals[1, SIGNALS]

    torch.testing.assert_close(together, encoder.batch([small]).globals[0, SIGNALS])


def test_large_graphs_are_passed_once() -> None:
    found = features(*[3] * 20)

    torch.testing.assert_close(found[:8], found[8:])


def covariance_of_wide_network(kernel_sizes: list[int], start: torch.Tensor, width: int) -> torch.Tensor:
    """Covariance of 8 values behind random convolutions on circles of four positions, as the closed form has it."""
    generator = torch.Generator().manual_seed(0)
    values = torch.linalg.cholesky(start + 1e-6 * torch.eye(8)) @ torch.randn(8, width, generator=generator)
    for size in kernel_sizes:
        active = torch.relu(values).reshape(2, 4, width) * 2**0.5
        shifts = range(-(size // 2), size // 2 + 1)
        mixed = sum(
            torch.roll(active, shift, 1) @ torch.randn(width, width, generator=generator) for shift in shifts
        ).reshape(8, width)
        mixed = mixed - mixed.mean(0)
        values = mixed / mixed.square().mean().sqrt()
    return values @ values.T / width


@pytest.mark.parametrize("kernel_sizes", [[1], [3], [1, 3, 3]])
def test_the_closed_form_is_what_wide_random_networks_tend_to(kernel_sizes) -> None:
    effects = [Effect.PASS, *(Effect.LEARN if size == 1 else Effect.LEARN_NEAR for size in kernel_sizes)]
    nodes = len(effects)
    into = np.zeros((nodes, nodes, 1), np.float32)
    into[range(1, nodes), range(nodes - 1)] = 1.0
    flow = Flow.of(StackedGraphs(into, np.ones((nodes, 1), np.float32)), np.array(effects, np.int8)[:, None])

    _, end = flow.passed(of_inputs()[None])

    sampled = covariance_of_wide_network(kernel_sizes, torch.from_numpy(matrices(of_inputs()[None])[0]), width=4_000)
    np.testing.assert_allclose(matrices(end)[0], sampled.numpy(), atol=0.1)


def test_nothing_at_all_gives_no_rows() -> None:
    graphs = StackedGraphs(np.zeros((1, 1, 0), np.float32), np.zeros((1, 0), np.float32))

    assert signal_features(graphs, np.zeros((1, 0), np.int8)).shape == (0, NUM_SIGNAL_FEATURES)
