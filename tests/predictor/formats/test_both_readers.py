"""The same network is the same architecture, whether it comes as an ONNX file or as a module."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from example_networks import (
    DependsOnData,
    LanguageModel,
    Mlp,
    MobileNet,
    PreActivationNet,
    Recurrent,
    ResNet,
    VisionTransformer,
    WrittenOut,
    images,
    words,
)
from onnx_exports import EXPORTERS, onnx_file
from torch import Tensor, nn

from predictor.architecture import Architecture
from predictor.encoding import KINDS
from predictor.errors import FormatError
from predictor.evaluate.cell_network import CellNetwork, CellNetworkConfig
from predictor.formats import assembly
from predictor.formats.onnx_operators import architecture_from_onnx
from predictor.formats.torch_export import architecture_from_module
from predictor.search_spaces import graph
from predictor.search_spaces.graph import GraphSpace

CELL = ("nor_conv_3x3", "none", "skip_connect", "nor_conv_1x1", "none", "avg_pool_3x3")
NETWORKS: dict[str, tuple[nn.Module, Tensor]] = {
    "mlp": (Mlp(), images()),
    "resnet": (ResNet(), images()),
    "pre-activation": (PreActivationNet(), images()),
    "mobilenet": (MobileNet(), images()),
    "vision transformer": (VisionTransformer(), images()),
    "language model": (LanguageModel(), words()),
    "written out": (WrittenOut(), images()),
    "recurrent": (Recurrent(), words()),
    "transformer encoder": (
        nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2, enable_nested_tensor=False),
        torch.zeros(1, 10, 32),
    ),
    "cell": (CellNetwork(CELL, CellNetworkConfig(3, 10)), images()),
    "cell of one way": (CellNetwork((*["none"] * 3, "skip_connect", "none", "none"), CellNetworkConfig(3, 10)), images()),
}  # fmt: skip


def keys(architecture: Architecture) -> list[str]:
    return [operation.key for operation in architecture.operations]


def operations(architecture: Architecture, kind: str) -> list[dict[str, object]]:
    return [dict(operation.attributes) for operation in architecture.operations if operation.kind == kind]


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_module_and_its_file_are_one_architecture(name: str, exporter: str, tmp_path: Path) -> None:
    module, inputs = NETWORKS[name]

    from_module = architecture_from_module(module, inputs)
    from_file = architecture_from_onnx(onnx_file(tmp_path / "x.onnx", module, inputs, exporter))

    assert keys(from_file.canonical()) == keys(from_module.canonical())
    assert from_file == from_module
    assert from_file.global_attributes == from_module.global_attributes  # params and flops, which no hash contains


@pytest.mark.parametrize("name", ["resnet", "vision transformer"])
def test_the_number_of_examples_changes_nothing(name: str, tmp_path: Path) -> None:
    module, inputs = NETWORKS[name]
    several = inputs.repeat(3, *[1] * (inputs.dim() - 1))

    one, more = architecture_from_module(module, inputs), architecture_from_module(module, several)
    any_number = architecture_from_onnx(onnx_file(tmp_path / "x.onnx", module, several, "torchscript", any_batch=True))

    assert one == more == any_number
    assert one.global_attributes == more.global_attributes == any_number.global_attributes


def test_a_residual_network_reads_as_one_expects() -> None:
    found = architecture_from_module(*NETWORKS["resnet"])

    assert [one["channels"] for one in operations(found, "conv")] == [8, 8, 8, 16, 16, 16]
    assert sorted(one["stride"] for one in operations(found, "conv")) == [1, 1, 1, 2, 2, 2]
    assert operations(found, "max_pool") == [{"kernel_size": 3, "stride": 2}]
    assert len(operations(found, "add")) == 2
    assert not operations(found, "normalization")
    assert dict(found.global_attributes)["resolution"] == 32


def test_params_and_flops_are_those_of_the_weighted_operators() -> None:
    found = architecture_from_module(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(512, 4)), images(8)
    )

    assert dict(found.global_attributes)["params"] == 3 * 8 * 9 + 512 * 4
    assert dict(found.global_attributes)["flops"] == 3 * 8 * 9 * 64 + 512 * 4


def test_squeeze_and_excitation_is_an_attribute_of_what_it_gates() -> None:
    found = architecture_from_module(*NETWORKS["mobilenet"])

    assert operations(found, "depthwise_conv") == [
        {"channels": 32, "kernel_size": 3, "se": True, "stride": 1},
        {"channels": 24, "kernel_size": 5, "se": True, "stride": 1},
    ]
    assert not operations(found, "multiply")


def test_attention_takes_its_projections_in() -> None:
    built_in, written = (architecture_from_module(*NETWORKS[name]) for name in ("vision transformer", "language model"))

    for one in (built_in, written):
        assert operations(one, "attention") == [{"channels": 32, "heads": 4}]
        assert all(operation.kind in KINDS for operation in one.operations)


def test_formulas_become_what_they_spell() -> None:
    found = architecture_from_module(*NETWORKS["written out"])

    assert [one["function"] for one in operations(found, "activation")] == ["gelu", "hard_swish"]
    assert [one["function"] for one in operations(found, "normalization")] == ["layer_norm", "group_norm"]
    assert operations(found, "conv")[1] == {
        "channels": 16, "dilation": 2, "groups": 4, "kernel_shape": "1x7", "kernel_size": 7, "stride": 1,
    }  # fmt: skip


def test_what_nobody_knows_keeps_its_name() -> None:
    assert "sin" in [operation.kind for operation in architecture_from_module(*NETWORKS["written out"]).operations]


def test_the_graph_space_takes_every_one_of_them() -> None:
    space = GraphSpace()
    for module, inputs in NETWORKS.values():
        found = architecture_from_module(module, inputs)
        assert space.parse(space.format(found)) == found


def test_the_limits_are_those_of_the_graph_space() -> None:
    assert (assembly.MAX_OPERATIONS, assembly.MAX_EDGES) == (graph.MAX_NODES, graph.MAX_EDGES)


def test_a_network_that_is_too_large_is_refused() -> None:
    deep = nn.Sequential(*(nn.Linear(2, 2) for _ in range(2_000)))
    with pytest.raises(FormatError, match="at most 2000 operations and 10000 edges, got 2002 and 2001"):
        architecture_from_module(deep, torch.zeros(1, 2))


def test_a_module_whose_path_depends_on_data_is_refused() -> None:
    with pytest.raises(FormatError, match="path does not depend on its data, got DependsOnData"):
        architecture_from_module(DependsOnData(), torch.zeros(1, 4))


def test_a_module_that_fails_on_its_inputs_is_refused_with_the_reason() -> None:
    with pytest.raises(FormatError, match="traced on its example inputs, got Linear with"):
        architecture_from_module(nn.Linear(4, 4), torch.zeros(1, 5))


def test_outputs_have_to_depend_on_an_input() -> None:
    cut = CellNetwork((*["none"] * 5, "nor_conv_3x3"), CellNetworkConfig(3, 10))
    with pytest.raises(FormatError, match="outputs that depend on an input, got none"):
        architecture_from_module(cut, images())


def test_a_module_is_left_in_the_mode_it_was_in() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Dropout())
    module[0].eval()

    architecture_from_module(module, torch.zeros(1, 4))

    assert [module.training, module[0].training, module[1].training] == [True, False, True]


@pytest.mark.parametrize("wrong", [None, "x", 3])
def test_example_inputs_of_another_type_are_refused(wrong: object) -> None:
    with pytest.raises(FormatError, match="example inputs as a tensor, a sequence or a mapping"):
        architecture_from_module(nn.Linear(4, 4), wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["resnet", "vision transformer"])
def test_what_the_exporter_cannot_trace_is_traced_by_fx(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = architecture_from_module(*NETWORKS[name])

    def failing(*_: object) -> None:
        raise NotImplementedError("something in this module")

    monkeypatch.setattr(torch.export, "export", failing)

    assert architecture_from_module(*NETWORKS[name]) == expected
