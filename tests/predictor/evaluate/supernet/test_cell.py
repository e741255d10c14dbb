from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from predictor.architecture import Operation
from predictor.errors import EvaluationError, SearchError
from predictor.evaluate.cell_network import CellNetwork, CellNetworkConfig, count_parameters
from predictor.evaluate.supernet.cell import Mixture
from predictor.evaluate.supernet.operations import DECODED, MIXED, SHARED, OperationStyle, operation_module
from predictor.evaluate.supernet.stack import CellStack, StackConfig, cell_space, inherited, seeded_stack
from predictor.search_spaces.nasbench201 import edge_operations
from predictor.search_spaces.registry import search_space

NAMES = ("nasbench201", "darts", "transnas_micro")


def supernet(name: str, style: OperationStyle = MIXED, stages: int = 2, parts: int = 1) -> CellStack:
    return seeded_stack(cell_space(search_space(name)).cells, 1, 5, StackConfig(4, 1, stages, parts), style, 0)


def images(size: int = 7) -> Tensor:
    return torch.randn(6, 1, size, size, generator=torch.Generator().manual_seed(0))


def mixtures_at(network: CellStack, choice: int) -> list[Mixture]:
    """All weight on one candidate of every edge."""
    found = []
    for template in network.templates:
        weights = torch.zeros(len(template.edges), len(template.candidates))
        weights[:, choice] = 1.0
        found.append(Mixture(weights, torch.ones(len(template.edges))))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_mixture_with_all_weight_on_one_candidate_is_that_candidate(name) -> None:
    network = supernet(name)
    for choice in (0, 1, 3):
        alone = [tuple((edge, choice) for edge in range(len(template.edges))) for template in network.templates]

        mixed, single = network(images(), mixtures_at(network, choice)), network(images(), alone)

        torch.testing.assert_close(mixed, single)


def test_softmax_at_extreme_parameters_is_a_single_operation() -> None:
    network = supernet("nasbench201")
    parameters = torch.full((6, 5), -50.0)
    parameters[range(6), [1, 3, 2, 4, 3, 0]] = 50.0

    mixed = network(images(), [Mixture(parameters.softmax(1), torch.ones(6))])

    alone = ((0, 1), (1, 3), (2, 2), (3, 4), (4, 3), (5, 0))
    torch.testing.assert_close(mixed, network(images(), [alone]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [7, 8])
def test_a_decoded_network_with_inherited_weights_computes_what_the_path_does(name, size) -> None:
    space, network = search_space(name), supernet(name, SHARED, stages=3)
    selection = cell_space(space).selection_of(space.sample(np.random.default_rng(1)))
    decoded = inherited(network, 1, 5, StackConfig(4, 1, 3), DECODED, selection)

    torch.testing.assert_close(decoded.train()(images(size)), network(images(size), selection))
    assert count_parameters(decoded) < count_parameters(network)


@pytest.mark.parametrize("name", NAMES)
def test_partial_channels_keep_shapes_and_leave_the_rest_as_it_is(name) -> None:
    network = supernet(name, parts=4)
    cell = network.layers[0]
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    given = [x] * network.templates[0].num_inputs

    shapes = {tuple(network(images(size), mixtures_at(network, 1)).shape) for size in (7, 8)}
    nothing = cell(given, mixtures_at(network, 0)[0])

    assert shapes == {(6, 5)}
    assert nothing.shape == (2, cell.output_width, 8, 8)
    assert nothing.abs().sum() > 0.0  # three quarters of the channels pass by an edge that has nothing else
    assert count_parameters(network) < count_parameters(supernet(name))


def test_partial_channels_without_candidates_are_the_input_shuffled() -> None:
    network = supernet("nasbench201", parts=2)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    first_edge = Mixture(torch.eye(5)[[0] * 6], torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0]))

    passed = network.layers[0]([x], first_edge)

    zero = torch.zeros(2, 8, 8)
    torch.testing.assert_close(passed, torch.stack([zero, x[:, 2], zero, x[:, 3]], dim=1))


def test_a_decoded_nasbench201_network_is_the_one_that_the_shipped_benchmark_trained() -> None:
    space = search_space("nasbench201")
    genotype = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
    published = CellNetwork(edge_operations(genotype), CellNetworkConfig(1, 10, 8, 1, 3))
    selection = cell_space(space).selection_of(space.parse(genotype))
    ours = seeded_stack(cell_space(space).cells, 1, 10, StackConfig(8, 1, 3), DECODED, 0, selection)
    theirs = dict(zip(ours.state_dict(), published.state_dict().values(), strict=True))
    ours.load_state_dict(theirs)

    torch.testing.assert_close(ours.eval()(images(8)), published.eval()(images(8)))


def test_the_same_seed_builds_the_same_network_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()

    first, second = supernet("darts"), supernet("darts")

    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


def test_what_cannot_be_built_is_said() -> None:
    with pytest.raises(EvaluationError, match=r"of kind identity, .* got 'attention'"):
        operation_module(Operation.of("attention"), 8, 1, DECODED)
    with pytest.raises(EvaluationError, match=r"divided by partial_channels, got 6 and 4"):
        StackConfig(6, partial_channels=4)
    with pytest.raises(EvaluationError, match=r"num_stages to be a positive integer, got 0"):
        StackConfig(num_stages=0)
    with pytest.raises(EvaluationError, match="expected a route"):
        supernet("nasbench201")(images())
    with pytest.raises(SearchError, match="got 'fbnet'"):
        cell_space(search_space("fbnet"))
