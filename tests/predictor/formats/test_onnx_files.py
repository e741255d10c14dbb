"""ONNX files as they come: official ones, old ones, broken ones and hostile ones."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_samples import CONVOLUTION, convolution_file, model_of, weight

from predictor.architecture import Architecture
from predictor.errors import PredictorError
from predictor.formats import onnx_model
from predictor.formats.onnx_operators import architecture_from_onnx
from predictor.formats.protobuf import Layout

Node = helper.make_node


def read(model: Any) -> Architecture:
    return architecture_from_onnx(model.SerializeToString())


def kinds(model: Any) -> list[str]:
    return [operation.kind for operation in read(model).operations]


def refusal(model: Any) -> str:
    with pytest.raises(PredictorError) as caught:
        read(model)
    return str(caught.value)


LAYOUTS: Mapping[str, Layout] = {
    "ModelProto": onnx_model.MODEL,
    "GraphProto": onnx_model.GRAPH,
    "NodeProto": onnx_model.NODE,
    "AttributeProto": onnx_model.ATTRIBUTE,
    "TensorProto": onnx_model.TENSOR,
    "ValueInfoProto": onnx_model.VALUE_INFO,
    "FunctionProto": onnx_model.FUNCTION,
    "OperatorSetIdProto": onnx_model.OPERATOR_SET,
}


@pytest.mark.parametrize("message", LAYOUTS)
def test_field_numbers_are_those_of_the_official_package(message: str) -> None:
    official = getattr(onnx, message).DESCRIPTOR.fields_by_name
    for number, field in LAYOUTS[message].items():
        assert official[field.name].number == number


def test_a_graph_of_the_official_helper_is_read() -> None:
    assert architecture_from_onnx(convolution_file()).to_json() == CONVOLUTION


@pytest.mark.parametrize("is_raw", [True, False])
def test_small_numbers_are_read_whichever_way_they_lie(is_raw: bool) -> None:
    target = helper.make_tensor(
        "shape", TensorProto.INT64, [2], np.array([1, -1]).tobytes() if is_raw else [1, -1], is_raw
    )
    scale = helper.make_tensor("c", TensorProto.FLOAT, [1], np.float32([6.0]).tobytes() if is_raw else [6.0], is_raw)
    nodes = [
        Node("Reshape", ["x", "shape"], ["a"]),
        Node("MatMul", ["a", "w"], ["b"]),
        Node("Clip", ["b", "z", "c"], ["y"]),
    ]
    zero = helper.make_tensor("z", TensorProto.FLOAT, [], [0.0])

    found = read(model_of(nodes, [target, scale, zero, weight("w", 3072, 7)]))

    assert [one.key for one in found.operations][1:3] == [
        '["linear",["channels",7]]',
        '["activation",["function","relu6"]]',
    ]
    assert dict(found.global_attributes)["flops"] == 3072 * 7


def test_functions_of_the_model_are_replaced_by_what_they_are_made_of() -> None:
    imports = [helper.make_opsetid("", 17)]
    leaky = Node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope"))
    function = helper.make_function(
        "own", "Twice", ["a"], ["c"], [leaky, Node("Relu", ["b"], ["c"])], imports, ["slope"]
    )
    nodes = [Node("Twice", ["x"], ["a"], domain="own", slope=0.2), Node("Twice", ["a"], ["y"], domain="own", slope=0.2)]

    model = model_of(nodes, functions=[function], opsets=[helper.make_opsetid("own", 1)])

    assert kinds(model) == ["input", *["activation"] * 4, "output"]


def test_functions_that_multiply_without_end_are_refused() -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [helper.make_function("own", "F0", ["a"], ["b"], [Node("Relu", ["a"], ["b"])], imports)]
    for level in range(1, 14):
        steps = [Node(f"F{level - 1}", [f"v{i}"], [f"v{i + 1}"], domain="own") for i in range(10)]
        functions.append(helper.make_function("own", f"F{level}", ["v0"], ["v10"], steps, imports))
    bomb = model_of([Node("F13", ["x"], ["y"], domain="own")], functions=functions, opsets=imports[1:])
    itself = helper.make_function("own", "F", ["a"], ["b"], [Node("F", ["a"], ["b"], domain="own")], imports)

    assert refusal(bomb) == "expected at most 50000 operators, got more"
    endless = model_of([Node("F", ["x"], ["y"], domain="own")], functions=[itself], opsets=imports[1:])
    assert refusal(endless) == "expected functions nested at most 16 deep, got deeper ones"


@pytest.mark.parametrize("operator", ["If", "Loop", "Scan"])
def test_control_flow_is_refused(operator: str) -> None:
    body = helper.make_graph([Node("Relu", ["i"], ["o"])], "body", [], [])
    assert "got control flow" in refusal(model_of([Node(operator, ["x"], ["y"], body=body)]))


def test_a_graph_inside_of_any_node_is_refused() -> None:
    body = helper.make_graph([Node("Relu", ["i"], ["o"])], "body", [], [])
    assert "without graphs inside of nodes" in refusal(model_of([Node("Own", ["x"], ["y"], body=body)]))


@pytest.mark.parametrize("place", ["initializer", "constant"])
def test_data_in_other_files_is_refused(place: str) -> None:
    outside = weight("w", 8, 3, 3, 3)
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="/etc/passwd")
    if place == "initializer":
        model = model_of([Node("Conv", ["x", "w"], ["y"])], [outside])
    else:
        model = model_of([Node("Constant", [], ["w"], value=outside), Node("Conv", ["x", "w"], ["y"])])

    assert "got tensor 'w' whose data is in another file" in refusal(model)


@pytest.mark.parametrize("opset", [1, 6, 27, 2**40])
def test_other_opsets_are_refused(opset: int) -> None:
    assert refusal(model_of([Node("Relu", ["x"], ["y"])], opset=opset)) == (
        f"expected one opset of the default domain, 7 to 26, got {opset}"
    )


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "got no node"),
        ([Node("Relu", ["z"], ["y"])], "got the unknown name 'z'"),
        ([Node("Relu", ["y"], ["y"])], "got the unknown name 'y'"),
        (
            [Node("Relu", ["x"], ["y"]), Node("Tanh", ["x"], ["y"])],
            "expected every name once, got 'y' from several nodes",
        ),
        ([Node("Relu", ["x"], ["a"])], "expected an output of the graph"),
        ([Node("Conv", ["x"], ["y"])], "expected 'Conv' with input 1, got none"),
        ([Node("MaxPool", ["x"], ["y"])], "expected MaxPool with a kernel_shape"),
        ([Node("Concat", ["x"], ["y"], axis="wide")], "expected attribute 'axis' of 'Concat' as int"),
        ([Node("Constant", [], ["y"], value_float=1.0)], "outputs that depend on an input"),
    ],
)
def test_a_graph_that_makes_no_sense_is_refused(nodes: list[Any], message: str) -> None:
    assert message in refusal(model_of(nodes))


def test_operators_of_other_domains_keep_their_names() -> None:
    model = model_of(
        [Node("Wavelet", ["x"], ["y"], domain="com.example")], opsets=[helper.make_opsetid("com.example", 1)]
    )
    assert kinds(model) == ["input", "wavelet", "output"]


def test_dimensions_without_a_number_leave_flops_and_resolution_open() -> None:
    nodes = [Node("Conv", ["x", "w"], ["y"])]
    found = read(model_of(nodes, [weight("w", 8, 3, 3, 3)], shape=("batch", 3, "height", "width")))

    assert dict(found.global_attributes) == {"params": 216}


def test_weights_are_not_copied() -> None:
    model = model_of([Node("MatMul", ["x", "w"], ["y"])], [weight("w", 32, 4096)])
    content = model.SerializeToString()

    parsed = onnx_model.read_onnx_model(content)

    assert parsed.weights["w"] == onnx_model.Tensor((32, 4096), None)


def test_shapes_are_followed_as_the_official_inference_has_them() -> None:
    from predictor.formats.onnx_operators import operators_of

    nodes = [
        Node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        Node("MaxPool", ["a"], ["b"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        Node("ConvTranspose", ["b", "t"], ["c"], strides=[2, 2], output_padding=[1, 1]),
        Node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
        Node("Flatten", ["d"], ["e"], axis=2),
        Node("Unsqueeze", ["e", "axes"], ["f"]),
        Node("Slice", ["f", "from", "to", "axes", "step"], ["g"]),
        Node("ReduceMean", ["f"], ["h"], axes=[1], keepdims=0),
        Node("Split", ["f"], ["i", "j"], axis=1),
        Node("Concat", ["i", "j"], ["y"], axis=0),
    ]
    numbers = {"axes": [0], "from": [-1], "to": [100], "step": [1]}
    given = [numpy_helper.from_array(np.array(value), name) for name, value in numbers.items()]
    model = model_of(nodes, [weight("w", 8, 3, 3, 3), weight("t", 8, 4, 3, 3), *given])
    official = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph

    wanted = [tuple(dim.dim_value for dim in one.type.tensor_type.shape.dim) for one in official.value_info]
    found = {
        operator.shape for operator in operators_of(onnx_model.read_onnx_model(model.SerializeToString())).operators
    }
    assert set(wanted) <= found


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(PredictorError):
        architecture_from_onnx(content)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_file_with_wrong_bytes_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(convolution_file())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PredictorError):
        architecture_from_onnx(bytes(content[: data.draw(st.integers(1, len(content)))]))
