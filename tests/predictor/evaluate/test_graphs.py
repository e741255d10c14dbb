"""Networks from any graph: shapes that meet are made alike, and what cannot be built is named."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from example_networks import Mlp, PreActivationNet, ResNet, images
from torch import nn

from predictor.architecture import Architecture, AttributeValue, Operation
from predictor.errors import UnbuildableError
from predictor.evaluate.network import NetworkConfig, build_network, num_parameters
from predictor.evaluate.plan import PlannedNetwork
from predictor.formats.torch_export import architecture_from_module
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.registry import declared_search_space, search_space

CONFIG = NetworkConfig((3, 12, 12), 10)


def graph(*nodes: tuple[str, dict[str, AttributeValue]], edges: Sequence[tuple[int, int]] = ()) -> Architecture:
    """Nodes between an input and an output; a chain where no edges are told."""
    operations = [Operation.of("input"), *(Operation.of(kind, **told) for kind, told in nodes), Operation.of("output")]
    chain = [(node, node + 1) for node in range(len(operations) - 1)]
    return Architecture.build(operations, edges or chain)


def built(architecture: Architecture, config: NetworkConfig = CONFIG) -> PlannedNetwork:
    return build_network(architecture, search_space("graph"), config)


def shapes_of(network: PlannedNetwork) -> dict[str, tuple[int, ...]]:
    """Of what every part made of one batch."""
    found: dict[str, tuple[int, ...]] = {}
    for name, module in network.named_children():
        module.register_forward_hook(lambda _, __, output, name=name: found.update({name: tuple(output.shape)}))
    network.eval()(torch.zeros(2, *CONFIG.image_shape))
    return found


def test_attributes_decide_width_and_resolution() -> None:
    network = built(
        graph(
            ("conv", {"kernel_size": 3, "stride": 2, "channels": 8}),
            ("depthwise_conv", {"kernel_size": 5, "dilation": 2}),
            ("mbconv", {"kernel_size": 3, "expansion": 4, "channels": 16, "stride": 2, "se": True}),
            ("upsample", {"scale": 2}),
        )
    )

    shapes = shapes_of(network)

    assert shapes["conv_3x3"] == (2, 8, 6, 6)
    assert shapes["depthwise_conv_5x5"] == (2, 8, 6, 6)
    assert shapes["mbconv_3x3"] == (2, 16, 3, 3)
    assert shapes["upsample"] == (2, 16, 6, 6)
    assert shapes["classifier"] == (2, 10)


@pytest.mark.parametrize("join", ["add", "multiply", "concat"])
def test_values_of_different_shape_that_meet_are_made_alike(join: str) -> None:
    network = built(
        graph(
            ("conv", {"kernel_size": 3, "stride": 2, "channels": 8}),
            ("conv", {"kernel_size": 1, "channels": 6}),
            (join, {}),
            edges=[(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)],
        )
    )

    scores = network(torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0)))

    width = 14 if join == "concat" else 8
    assert shapes_of(network)["pool"] == (2, width)
    assert torch.isfinite(scores).all()


def test_gates_of_one_pixel_scale_images() -> None:
    """Squeeze and excitation, written out."""
    network = built(
        graph(
            ("conv", {"kernel_size": 3, "channels": 8}),
            ("global_pool", {}),
            ("linear", {"channels": 8}),
            ("multiply", {}),
            edges=[(0, 1), (1, 2), (2, 3), (1, 4), (3, 4), (4, 5)],
        )
    )

    assert shapes_of(network)["pool"] == (2, 8)


def test_a_graph_that_tells_no_width_gets_a_stem() -> None:
    network = built(graph(("conv", {"kernel_size": 3}), ("max_pool", {"kernel_size": 2, "stride": 2})))

    assert shapes_of(network)["stem"] == (2, 16, 12, 12)
    assert shapes_of(network)["max_pool_2x2"] == (2, 16, 6, 6)


def test_a_linear_map_at_the_end_is_the_classifier() -> None:
    network = built(
        graph(("conv", {"kernel_size": 3, "channels": 8}), ("global_pool", {}), ("linear", {"channels": 1000}))
    )

    assert "classifier" not in dict(network.named_children())
    assert network(torch.zeros(2, 3, 12, 12)).shape == (2, 10)


def test_what_the_output_does_not_depend_on_is_left_out() -> None:
    network = built(graph(("conv", {"channels": 4}), ("conv", {"channels": 64}), edges=[(0, 1), (0, 2), (1, 3)]))

    assert sum(isinstance(one, nn.Conv2d) for one in network.modules()) == 1


@pytest.mark.parametrize(("module", "size"), [(ResNet, 32), (PreActivationNet, 32), (Mlp, 32)])
def test_a_network_that_was_traced_is_rebuilt_with_its_own_weights(module: type[nn.Module], size: int) -> None:
    """But for biases and normalisation, which traces fold; those of the ten classes stay."""
    original = module()
    architecture = architecture_from_module(original, (images(size, 2),))
    classes = [one for one in original.modules() if isinstance(one, nn.Linear)][-1].out_features

    network = built(architecture, NetworkConfig((3, size, size), classes))

    def weights(one: nn.Module) -> int:
        return sum(p.numel() for name, p in one.named_parameters() if p.ndim > 1)

    assert weights(network) == weights(original)
    assert network(torch.randn(2, 3, size, size)).shape == (2, classes)


def test_operations_that_cannot_be_built_are_all_named() -> None:
    with pytest.raises(UnbuildableError, match="got 'graph_conv', 'my_mixer', which cannot be built"):
        built(graph(("my_mixer", {}), ("graph_conv", {}), ("conv", {"channels": 8})))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (("conv", {"channels": 0}), "channels of 'conv' to be a whole number from 1"),
        (("conv", {"kernel_size": "wide"}), "kernel_size of 'conv' to be a whole number"),
        (("conv", {"channels": 8, "groups": 5}), "refuses: "),
        (("attention", {"channels": 10, "heads": 3}), "SpatialAttention.* refuses: "),
        (("mbconv", {"expansion": -1.0}), "expansion of 'mbconv' to be a number"),
        (("activation", {"function": "wobble"}), "an activation among .*'wobble'"),
        (("normalization", {"function": "spectral"}), "normalization of .*'spectral'"),
        (("conv", {"num_axes": 3}), "on images, got 'conv' on 3 axes"),
        (("avg_pool", {"kernel_size": 200}), "avg_pool_200x200 to take a value of 16 × 12 × 12"),
        (("linear", {"channels": 65_536}), None),
    ],
)
def test_attributes_that_make_no_sense_are_named(
    node: tuple[str, dict[str, AttributeValue]], message: str | None
) -> None:
    if message is None:
        assert num_parameters(built(graph(node))) > 0
        return
    with pytest.raises(UnbuildableError, match=message):
        built(graph(node))


def test_networks_beyond_all_measure_are_refused_before_they_take_memory() -> None:
    wide = {"kernel_size": 9, "channels": 65_536}

    with pytest.raises(UnbuildableError, match="at most 2,000,000,000 parameters, got 347,"):
        built(graph(("conv", wide), ("conv", wide)))


def declared(*more: dict[str, object]) -> SearchSpace:
    operations = ["sep_conv_3x3", "max_pool_3x3"]
    decisions = [
        {"name": "depth", "type": "ordinal", "values": [2, 3]},
        {"name": "op", "type": "categorical", "values": operations, "repeat": "depth"},
    ]
    return declared_search_space("mine", {"version": 1, "decisions": [*decisions, *more]})


def test_architectures_of_a_declared_space_are_built_from_what_their_operations_mean() -> None:
    space = declared()
    told = {"depth": 3, "op": ["sep_conv_3x3", "max_pool_3x3", "sep_conv_3x3"]}

    network = build_network(space.parse(told), space, CONFIG)

    assert shapes_of(network)["separable_conv_3x3_2"] == (2, 16, 12, 12)


def test_a_decision_of_which_the_network_would_show_nothing_is_refused() -> None:
    space = declared({"name": "flavour", "type": "categorical", "values": ["sweet", "sour"]})

    with pytest.raises(UnbuildableError, match="got 'flavour', of which a network shows nothing"):
        build_network(space.parse({"depth": 2, "op": ["sep_conv_3x3"] * 2, "flavour": "sour"}), space, CONFIG)
