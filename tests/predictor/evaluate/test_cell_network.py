from __future__ import annotations

import pytest
import torch

from predictor.evaluate.cell_network import CellNetwork, CellNetworkConfig, count_flops, count_parameters

ONE_STAGE = CellNetworkConfig(input_channels=1, num_classes=10, stem_channels=4, num_stages=1)
THREE_STAGES = CellNetworkConfig(input_channels=3, num_classes=10, stem_channels=4, num_stages=3)
NOTHING_BUT_SKIP = ("none", "none", "none", "skip_connect", "none", "none")
ONE_3X3 = ("none", "none", "none", "nor_conv_3x3", "none", "none")


def test_parameters_equal_those_counted_by_hand() -> None:
    stem = 1 * 4 + 2 * 4  # convolution without bias, batch normalisation
    end = 2 * 4 + 4 * 10 + 10  # batch normalisation, classifier

    assert count_parameters(CellNetwork(NOTHING_BUT_SKIP, ONE_STAGE)) == stem + end
    assert count_parameters(CellNetwork(ONE_3X3, ONE_STAGE)) == stem + end + 4 * 4 * 9 + 2 * 4
    assert count_parameters(CellNetwork(("nor_conv_1x1",) * 6, ONE_STAGE)) == stem + end + 6 * (4 * 4 + 2 * 4)


def test_multiply_accumulates_equal_those_counted_by_hand() -> None:
    stem, classifier = 64 * 1 * 4, 4 * 10

    assert count_flops(CellNetwork(NOTHING_BUT_SKIP, ONE_STAGE), (1, 8, 8)) == stem + classifier
    assert count_flops(CellNetwork(ONE_3X3, ONE_STAGE), (1, 8, 8)) == stem + classifier + 64 * 4 * 4 * 9


def test_every_reduction_halves_the_resolution_and_doubles_the_width() -> None:
    stem, reductions = 64 * 3 * 4, 16 * 4 * 8 + 4 * 8 * 16
    cells = 64 * 4 * 4 * 9 + 16 * 8 * 8 * 9 + 4 * 16 * 16 * 9

    assert count_flops(CellNetwork(ONE_3X3, THREE_STAGES), (3, 8, 8)) == stem + reductions + cells + 16 * 10


def test_counting_leaves_the_network_in_training_mode() -> None:
    network = CellNetwork(ONE_3X3, ONE_STAGE).train()

    count_flops(network, (1, 8, 8))

    assert network.training


def test_a_cell_that_only_skips_passes_its_input_on_and_one_of_none_passes_nothing() -> None:
    images = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    skip, nothing, twice = (
        CellNetwork(operations, ONE_STAGE).features[2]
        for operations in (
            NOTHING_BUT_SKIP,
            ("none",) * 6,
            ("skip_connect", "none", "none", "skip_connect", "skip_connect", "none"),
        )
    )

    assert torch.equal(skip(images), images)
    assert not nothing(images).any()
    torch.testing.assert_close(twice(images), 2 * images)  # directly, and by way of the second node


@pytest.mark.parametrize("operations", [("conv_9x9",) * 6, ("none", "none", "none", "none", "none", "NONE")])
def test_an_unknown_operation_is_named(operations) -> None:
    with pytest.raises(ValueError, match=f"got '{operations[-1]}'"):
        CellNetwork(operations, ONE_STAGE)


def test_a_cell_has_six_operations() -> None:
    with pytest.raises(ValueError, match="expected 6 edge operations, got 5"):
        CellNetwork(("none",) * 5, ONE_STAGE)
