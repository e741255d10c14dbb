"""An ONNX file as it lies there: its graph, its functions, and of each weight its shape.

Fields and their numbers are those of onnx.proto (a test holds them to the `onnx` package). Opsets 7 to 26 of the default
domain are read; before 7 elementwise operators meant something else. Weights in other files are refused, and so is control
flow, before anything is made of the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictor.errors import FormatError
from predictor.formats.operators import MAX_KNOWN_NUMBERS, Numbers, Shape, size_of
from predictor.formats.protobuf import Field, Layout, Message, read_message, signed, unpacked_ints
from predictor.formats.vocabulary import refuse_control_flow

MIN_OPSET, MAX_OPSET = 7, 26
DEFAULT_DOMAINS = ("", "ai.onnx")
MAX_NODES = 50_000
_MAX_RANK = 32
_EXTERNAL = 1

TENSOR: Layout = {
    1: Field("dims", "ints"),
    2: Field("data_type", "int"),
    4: Field("float_data", "chunks"),
    5: Field("int32_data", "chunks"),
    7: Field("int64_data", "chunks"),
    8: Field("name", "text"),
    9: Field("raw_data", "bytes"),
    10: Field("double_data", "chunks"),
    11: Field("uint64_data", "chunks"),
    13: Field("external_data", "present"),
    14: Field("data_location", "int"),
}
ATTRIBUTE: Layout = {
    1: Field("name", "text"),
    2: Field("f", "float"),
    3: Field("i", "int"),
    4: Field("s", "bytes"),
    5: Field("t", "message", TENSOR),
    6: Field("g", "present"),
    7: Field("floats", "floats"),
    8: Field("ints", "ints"),
    11: Field("graphs", "present"),
    20: Field("type", "int"),
    21: Field("ref_attr_name", "text"),
    22: Field("sparse_tensor", "present"),
}
NODE: Layout = {
    1: Field("input", "texts"),
    2: Field("output", "texts"),
    3: Field("name", "text"),
    4: Field("op_type", "text"),
    5: Field("attribute", "messages", ATTRIBUTE),
    7: Field("domain", "text"),
}
DIMENSION: Layout = {1: Field("dim_value", "int"), 2: Field("dim_param", "text")}
TENSOR_SHAPE: Layout = {1: Field("dim", "messages", DIMENSION)}
TENSOR_TYPE: Layout = {1: Field("elem_type", "int"), 2: Field("shape", "message", TENSOR_SHAPE)}
TYPE: Layout = {1: Field("tensor_type", "message", TENSOR_TYPE)}
VALUE_INFO: Layout = {1: Field("name", "text"), 2: Field("type", "message", TYPE)}
GRAPH: Layout = {
    1: Field("node", "messages", NODE),
    5: Field("initializer", "messages", TENSOR),
    11: Field("input", "messages", VALUE_INFO),
    12: Field("output", "messages", VALUE_INFO),
    13: Field("value_info", "messages", VALUE_INFO),
    15: Field("sparse_initializer", "present"),
}
OPERATOR_SET: Layout = {1: Field("domain", "text"), 2: Field("version", "int")}
FUNCTION: Layout = {
    1: Field("name", "text"),
    4: Field("input", "texts"),
    5: Field("output", "texts"),
    7: Field("node", "messages", NODE),
    10: Field("domain", "text"),
    11: Field("attribute_proto", "messages", ATTRIBUTE),
}
MODEL: Layout = {
    1: Field("ir_version", "int"),
    7: Field("graph", "message", GRAPH),
    8: Field("opset_import", "messages", OPERATOR_SET),
    25: Field("functions", "messages", FUNCTION),
}

_FLOAT, _INT32, _INT64, _BOOL, _FLOAT16, _DOUBLE = 1, 6, 7, 9, 10, 11
_RAW = {_FLOAT: ("f", 4), _INT32: ("i", 4), _INT64: ("q", 8), _BOOL: ("?", 1), _FLOAT16: ("e", 2), _DOUBLE: ("d", 8)}


@dataclass(frozen=True)
class Tensor:
    """A weight or constant: its shape, and its numbers where they are few."""

    shape: Shape
    numbers: Numbers | None


AttributeOf = int | float | str | tuple[int, ...] | tuple[float, ...] | Tensor


@dataclass(frozen=True)
class Node:
    """One ONNX node; inputs that are left out are empty text."""

    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, AttributeOf]
    references: Mapping[str, str]  # attributes of a function's node that are an attribute of the call


@dataclass(frozen=True)
class Function:
    """A function of the model, which calls are replaced by."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    defaults: Mapping[str, AttributeOf]


@dataclass(frozen=True)
class OnnxModel:
    """What counts of a file."""

    opset: int
    nodes: tuple[Node, ...]
    weights: Mapping[str, Tensor]
    inputs: Mapping[str, Shape | None]
    outputs: tuple[str, ...]
    shapes: Mapping[str, Shape | None]
    functions: Mapping[tuple[str, str], Function]


def read_onnx_model(content: bytes | memoryview) -> OnnxModel:
    """The model in the bytes of a file.

    Raises:
        FormatError: if they are no ONNX model, or one that is refused; says what was expected and what came.
    """
    model = read_message(memoryview(content), MODEL, "model")
    graph = model["graph"]
    if graph is None or not graph["node"] or not model["opset_import"]:
        missing = "graph" if graph is None else "node" if not graph["node"] else "opset"
        raise FormatError(f"expected an ONNX model with a graph of nodes and an opset, got no {missing}")
    if graph["sparse_initializer"]:
        raise FormatError("expected dense weights, got sparse ones")
    weights = {one["name"] or "": _tensor(one) for one in graph["initializer"]}
    functions = {(one["domain"] or "", one["name"] or ""): _function(one) for one in model["functions"]}
    given = {one["name"] or "": _shape(one) for one in graph["input"]}
    return OnnxModel(
        _opset(model["opset_import"]),
        _nodes(graph["node"]),
        weights,
        {name: shape for name, shape in given.items() if name not in weights},
        tuple(one["name"] or "" for one in graph["output"]),
        {one["name"] or "": _shape(one) for one in (*graph["value_info"], *graph["output"])},
        functions,
    )


def _opset(imports: list[Message]) -> int:
    versions = [one["version"] or 0 for one in imports if (one["domain"] or "") in DEFAULT_DOMAINS]
    if len(versions) != 1 or not MIN_OPSET <= versions[0] <= MAX_OPSET:
        got = " and ".join(map(str, versions[:3])) or "none"
        raise FormatError(f"expected one opset of the default domain, {MIN_OPSET} to {MAX_OPSET}, got {got}")
    return int(versions[0])


def _nodes(messages: list[Message]) -> tuple[Node, ...]:
    if len(messages) > MAX_NODES:
        raise FormatError(f"expected at most {MAX_NODES} nodes, got {len(messages)}")
    return tuple(map(_node, messages))


def _node(message: Message) -> Node:
    op_type = message["op_type"] or ""
    if not op_type:
        raise FormatError(f"expected every node to name its operator, got none at node {message['name'] or ''!r:.80}")
    refuse_control_flow(op_type)
    for one in message["attribute"]:
        if one["g"] or one["graphs"]:
            raise FormatError(f"expected a network without graphs inside of nodes, got one in {op_type!r:.80}")
    own = [one for one in message["attribute"] if not one["ref_attr_name"]]
    referring = [one for one in message["attribute"] if one["ref_attr_name"]]
    return Node(
        op_type,
        message["domain"] or "",
        tuple(message["input"]),
        tuple(message["output"]),
        _attributes(own),
        {one["name"] or "": one["ref_attr_name"] for one in referring},
    )


def _function(message: Message) -> Function:
    nodes, defaults = _nodes(message["node"]), _attributes(message["attribute_proto"])
    return Function(tuple(message["input"]), tuple(message["output"]), nodes, defaults)


def _attributes(messages: list[Message]) -> dict[str, AttributeOf]:
    found: dict[str, AttributeOf] = {}
    for one in messages:
        value = _attribute(one)
        if value is not None:
            found[one["name"] or ""] = value
    return found


def _attribute(message: Message) -> AttributeOf | None:
    """By its declared type, since a number that is zero may have been left out; kinds that nothing here needs are None."""
    match message["type"]:
        case 1:
            return float(message["f"] or 0.0)
        case 2:
            return int(message["i"] or 0)
        case 3:
            return str(message["s"] or b"", "utf-8", "replace")
        case 4:
            return None if message["t"] is None else _tensor(message["t"])
        case 6:
            return tuple(message["floats"])
        case 7:
            return tuple(message["ints"])
    return None


def _tensor(message: Message) -> Tensor:
    if message["external_data"] or message["data_location"] == _EXTERNAL:
        raise FormatError(
            f"expected all data inside of the file, got tensor {message['name'] or ''!r:.80} whose data is in another file; "
            "save the model as one file (torch.onnx.export: external_data=False)"
        )
    shape = tuple(message["dims"])
    if len(shape) > _MAX_RANK or any(one < 0 for one in shape):
        raise FormatError(f"expected at most {_MAX_RANK} dimensions, none negative, got {shape!s:.80}")
    size = size_of(shape)
    is_small = size is not None and size <= MAX_KNOWN_NUMBERS
    return Tensor(shape, _numbers(message, size or 0) if is_small else None)


def _numbers(message: Message, size: int) -> Numbers | None:
    """The numbers of a small tensor; None where its type is not one that shapes or functions are written in."""
    kind = message["data_type"]
    try:
        found = _unpacked(message, kind)
    except struct.error:
        found = ()
    if found is None:
        return None
    if len(found) != size:
        raise FormatError(f"expected {size} numbers in tensor {message['name'] or ''!r:.80}, got other data")
    return found


def _unpacked(message: Message, kind: int | None) -> Numbers | None:
    if kind not in _RAW:
        return None
    letter, width = _RAW[kind]
    raw = message["raw_data"]
    if raw is not None:
        return struct.unpack(f"<{len(raw) // width}{letter}", raw) if len(raw) <= 8 * MAX_KNOWN_NUMBERS else ()
    chunks = message[{_FLOAT: "float_data", _DOUBLE: "double_data", _INT64: "int64_data"}.get(kind, "int32_data")]
    if len(chunks) > MAX_KNOWN_NUMBERS or sum(len(one) for one in chunks if not isinstance(one, int)) > 1_024:
        return ()
    if kind in (_FLOAT, _DOUBLE):
        joined = b"".join(bytes(one) for one in chunks)
        return struct.unpack(f"<{len(joined) // width}{letter}", joined)
    if kind == _FLOAT16:
        return None
    pieces = ([signed(one)] if isinstance(one, int) else unpacked_ints(one, "tensor") for one in chunks)
    return tuple(number for piece in pieces for number in piece)


def _shape(message: Message) -> Shape | None:
    """Of an input or a value; dimensions that have a name instead of a number are not known."""
    tensor: Any = (message["type"] or {}).get("tensor_type")
    if tensor is None or tensor["shape"] is None:
        return None
    dims = [one["dim_value"] if one["dim_value"] and one["dim_value"] > 0 else None for one in tensor["shape"]["dim"]]
    if len(dims) > _MAX_RANK:
        raise FormatError(f"expected at most {_MAX_RANK} dimensions, got {len(dims)}")
    return tuple(dims)
