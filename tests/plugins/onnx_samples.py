"""ONNX files that take no exporter: written with the `onnx` package, or byte by byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def weight(name: str, *shape: int) -> Any:
    return numpy_helper.from_array(np.zeros(shape, np.float32), name)


def model_of(
    nodes: Sequence[Any], weights: Sequence[Any] = (), shape: Sequence[int | str] = (1, 3, 32, 32), opset: int = 17, **more: Any
) -> onnx.ModelProto:  # fmt: skip
    """A model from x to y."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(list(nodes), "network", inputs, outputs, initializer=list(weights))
    imports = [helper.make_opsetid("", opset), *more.pop("opsets", [])]
    return helper.make_model(graph, opset_imports=imports, **more)


def convolution_file(channels: int = 8, kernel: int = 3) -> bytes:
    """One convolution with its activation."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    return model_of(nodes, [weight("w", channels, 3, kernel, kernel)]).SerializeToString()


CONVOLUTION = {
    "nodes": [
        {"kind": "input"},
        {"kind": "conv", "attributes": {"channels": 8, "kernel_size": 3, "stride": 1}},
        {"kind": "activation", "attributes": {"function": "relu"}},
        {"kind": "output"},
    ],
    "edges": [[0, 1], [1, 2], [2, 3]],
    "attributes": {"flops": 194400, "params": 216, "resolution": 32},
}
"""What `convolution_file` is."""


def endless_file(num_bytes: int = 40_000_000) -> bytes:
    """Nothing but empty fields that have to be looked at one by one."""
    return b"\x08\x00" * (num_bytes // 2)


def swelling_file(num_nodes: int = 1_000_000) -> bytes:
    """Small on the wire and large in memory: a node for every two bytes."""
    graph = b"\x0a\x00" * num_nodes
    size, rest = bytearray(), len(graph)
    while rest >= 0x80:
        size.append(rest & 0x7F | 0x80)
        rest >>= 7
    size.append(rest)
    return b"\x3a" + bytes(size) + graph
