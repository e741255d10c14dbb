"""What operators mean: the one mapping that both readers use, so that one network is one architecture.

Names are compared without case and underscores, which takes `HardSwish` and `hard_swish_` to the same entry.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from predictor.architecture import AttributeValue
from predictor.errors import FormatError
from predictor.formats.operators import PASSED, OperatorGraph, Shape, size_of
from predictor.formats.operators import Operator as Op

_ACTIVATION_NAMES = (
    "relu", "relu6", "leaky_relu", "rrelu", "prelu", "thresholded_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "hard_swish",
    "hard_sigmoid", "hard_tanh", "sigmoid", "tanh", "softplus", "softsign", "softmax", "log_softmax", "log_sigmoid", "glu",
)  # fmt: skip
_PASSING_NAMES = (
    "identity", "reshape", "view", "flatten", "unflatten", "transpose", "t", "permute", "movedim", "swapaxes", "squeeze",
    "unsqueeze", "expand", "broadcast_to", "contiguous", "clone", "cast", "castlike", "to", "type_as", "float", "dropout",
    "feature_dropout", "alpha_dropout", "native_dropout", "pad", "constant_pad_nd", "reflection_pad2d", "replication_pad2d",
    "slice", "select", "narrow", "split", "split_with_sizes", "chunk", "unbind", "flip", "roll", "tile", "repeat",
    "detach", "alias", "lift_fresh_copy", "getitem", "_unsafe_view", "view_copy", "expand_as", "view_as", "reshape_as",
    "_to_copy", "unsafe_chunk", "unsafe_split", "quantize_linear", "dequantize_linear", "index_select",
)  # fmt: skip
_REFUSED_NAMES = ("if", "loop", "scan", "sequence_map", "cond", "while_loop", "map_impl", "associative_scan")


def squeezed(name: str) -> str:
    """The name as it is compared."""
    return name.replace("_", "").lower()


ACTIVATIONS = {squeezed(name): name for name in _ACTIVATION_NAMES} | {
    "swish": "silu",
    "clampmin": "clip",
    "thresholdrelu": "thresholded_relu",
}
PASSING = frozenset(map(squeezed, _PASSING_NAMES))
REFUSED = frozenset(map(squeezed, _REFUSED_NAMES))
_LONGEST_NAME = 64


def refuse_control_flow(name: str) -> None:
    """Raises FormatError for an operator whose path depends on the data."""
    if squeezed(name) in REFUSED:
        raise FormatError(
            f"expected a network whose operators do not depend on its data, got control flow: {name}; export it with the "
            "branch or the number of steps fixed"
        )


def activation(graph: OperatorGraph, source: int, function: str, shape: Shape | None) -> int:
    """A function of each number by itself (or along one axis, as softmax)."""
    return graph.add(Op("activation", (source,), {"function": function}, shape))


def passed(graph: OperatorGraph, source: int, shape: Shape | None) -> int:
    """What hands on what it gets."""
    return graph.add(Op(PASSED, (source,), shape=shape))


def unknown(graph: OperatorGraph, name: str, sources: Sequence[int], shape: Shape | None) -> int:
    """An operator without a known meaning keeps its own name as its kind."""
    return graph.add(Op(squeezed(name)[:_LONGEST_NAME] or "unknown", tuple(sources), shape=shape))


def clipped(graph: OperatorGraph, source: int, lowest: float | None, highest: float | None, shape: Shape | None) -> int:
    """Bounds on both sides or on one: some of them have names of their own."""
    bounds = (lowest, None if highest is None or highest >= 1e30 else highest)
    names: dict[tuple[float | None, float | None], str] = {
        (0.0, None): "relu",
        (0.0, 6.0): "relu6",
        (-1.0, 1.0): "hard_tanh",
    }
    return activation(graph, source, names.get(bounds, "clip"), shape)


def convolution(
    graph: OperatorGraph,
    source: int,
    weight: int,
    *,
    stride: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    is_transposed: bool,
    shape: Shape | None,
) -> int:
    """A convolution, of which a depthwise one is told apart by its weight's shape."""
    given = graph[weight].shape
    if not graph.is_constant(weight) or given is None or None in given or len(given) < 3:
        return unknown(graph, "conv_transpose" if is_transposed else "conv_of_data", [source, weight], shape)
    sizes = [int(one) for one in given if one is not None]
    channels = sizes[1] * groups if is_transposed else sizes[0]
    is_depthwise = groups > 1 and (sizes[1] == 1 if not is_transposed else sizes[0] == groups)
    attributes = {**_window(sizes[2:], stride, dilation), "channels": channels}
    if groups > 1 and not is_depthwise:
        attributes["groups"] = groups
    kind = "conv_transpose" if is_transposed else "depthwise_conv" if is_depthwise else "conv"
    positions = graph[source].shape if is_transposed else shape
    per_position = math.prod(sizes) // (sizes[0] if sizes[0] else 1)
    return graph.add(
        Op(kind, (source,), attributes, shape, params=math.prod(sizes), macs=_times(size_of(positions), per_position))
    )


def linear(graph: OperatorGraph, source: int, num_inputs: int, num_outputs: int, shape: Shape | None) -> int:
    """A trained linear map of the last axis; its bias is part of it."""
    macs = _times(size_of(shape), num_inputs)
    return graph.add(
        Op("linear", (source,), {"channels": num_outputs}, shape, params=num_inputs * num_outputs, macs=macs)
    )


def matrix_product(graph: OperatorGraph, first: int, second: int, shape: Shape | None) -> int:
    """A linear map where one side is a weight; what attention is made of where none is."""
    for source, weight, (inputs, outputs) in ((first, second, (-2, -1)), (second, first, (-1, -2))):
        given = graph[weight].shape
        if graph.is_constant(weight) and not graph.is_constant(source) and given is not None and len(given) >= 2:
            rows, columns = given[inputs], given[outputs]
            if rows is not None and columns is not None:
                return linear(graph, source, rows, columns, shape)
    length = (graph[first].shape or (None,))[-1]
    macs = None if length is None else _times(size_of(shape), length)
    return graph.add(Op("matmul", (first, second), shape=shape, macs=macs))


def scaled_attention(graph: OperatorGraph, query: int, key: int, value: int, shape: Shape | None) -> int:
    """Attention in one operator; heads are read from a shape of (batch, heads, positions, width)."""
    keys = graph[key].shape
    positions = keys[-2] if keys is not None and len(keys) >= 2 else None
    macs = None if positions is None else _times(size_of(shape), 2 * positions)
    return graph.add(Op("attention", (query, key, value), heads_and_channels(shape), shape, macs=macs))


def heads_and_channels(shape: Shape | None) -> dict[str, AttributeValue]:
    """What the shape of attention's result tells."""
    if shape is None or len(shape) != 4 or shape[1] is None or shape[3] is None:
        return {}
    return {"heads": shape[1], "channels": shape[1] * shape[3]}


def pool(
    graph: OperatorGraph,
    source: int,
    kind: str,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    shape: Shape | None,
) -> int:
    """`max_pool` or `avg_pool`; one window over everything is a global pool."""
    given = graph[source].shape
    if given is not None and list(given[2:]) == list(kernel) and shape is not None and set(shape[2:]) == {1}:
        return global_pool(graph, source, "max" if kind == "max_pool" else "avg", shape)
    return graph.add(Op(kind, (source,), _window(kernel, stride, dilation), shape))


def global_pool(graph: OperatorGraph, source: int, function: str, shape: Shape | None) -> int:
    """Over all positions."""
    return graph.add(Op("global_pool", (source,), {} if function == "avg" else {"function": function}, shape))


def adaptive_pool(graph: OperatorGraph, source: int, kind: str, shape: Shape | None) -> int:
    """To a given size, which is an ordinary pool wherever it divides."""
    given = graph[source].shape
    if given is None or shape is None or None in given[2:] or None in shape[2:]:
        return unknown(graph, f"adaptive_{kind}", [source], shape)
    before, after = [int(one or 0) for one in given[2:]], [int(one or 0) for one in shape[2:]]
    if set(after) == {1}:
        return global_pool(graph, source, "max" if kind == "max_pool" else "avg", shape)
    if before == after:
        return passed(graph, source, shape)
    if all(new and old % new == 0 for old, new in zip(before, after, strict=True)):
        window = [old // new for old, new in zip(before, after, strict=True)]
        return pool(graph, source, kind, window, window, [1], shape)
    return unknown(graph, f"adaptive_{kind}", [source], shape)


def reduced(graph: OperatorGraph, source: int, name: str, axes: Sequence[int], shape: Shape | None) -> int:
    """A sum, mean or other reduction over some axes; which of them pool is found later, among `patterns`."""
    given = graph[source].shape or ()
    rank = len(given)
    found = sorted({axis % rank if rank else axis for axis in (axes or range(rank))})
    if rank and all(given[axis] == 1 for axis in found):
        return passed(graph, source, shape)
    return graph.add(Op(f"reduce_{name}", (source,), {"rank": rank}, shape, axes=tuple(found)))


def joined(graph: OperatorGraph, sources: Sequence[int], axis: int, is_stack: bool, shape: Shape | None) -> int:
    """A concatenation, or a stack along a new axis."""
    rank = len(shape or ())
    place = axis % rank if rank else axis
    return graph.add(Op("concat", tuple(sources), {"is_stack": is_stack}, shape, axes=(place,)))


def normalization(graph: OperatorGraph, source: int, function: str, shape: Shape | None) -> int:
    """Of any kind; scale and bias are part of it."""
    return graph.add(Op("normalization", (source,), {"function": function}, shape))


def embedding(graph: OperatorGraph, source: int, table: Shape, shape: Shape | None) -> int:
    """A trained vector for each index."""
    width = table[-1]
    attributes = {} if width is None else {"channels": width}
    return graph.add(Op("embedding", (source,), dict(attributes), shape, params=size_of(table) or 0))


def recurrent(
    graph: OperatorGraph, source: int, function: str, num_inputs: int, channels: int, is_both_ways: bool, shape: Shape | None
) -> int:  # fmt: skip
    """One recurrent layer."""
    gates = {"lstm": 4, "gru": 3}.get(function, 1)
    params = (2 if is_both_ways else 1) * gates * channels * (num_inputs + channels)
    attributes: dict[str, AttributeValue] = {"function": function, "channels": channels}
    if is_both_ways:
        attributes["bidirectional"] = True
    steps = None if shape is None or None in shape[:2] else math.prod(int(one or 0) for one in shape[:2])
    return graph.add(Op("recurrent", (source,), attributes, shape, params=params, macs=_times(steps, params)))


def upsampled(graph: OperatorGraph, source: int, shape: Shape | None) -> int:
    """More positions from fewer, by whatever interpolation."""
    given = graph[source].shape
    attributes: dict[str, AttributeValue] = {}
    if given and shape and given[-1] and shape[-1]:
        attributes["scale"] = shape[-1] / given[-1]
    return graph.add(Op("upsample", (source,), attributes, shape))


def _window(kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> dict[str, AttributeValue]:
    """What a window tells; sides of different length keep their shape as text beside the longest."""
    found: dict[str, AttributeValue] = {"kernel_size": max(kernel), "stride": max(stride, default=1)}
    if len(set(kernel)) > 1:
        found["kernel_shape"] = "x".join(map(str, kernel))
    if max(dilation, default=1) > 1:
        found["dilation"] = max(dilation)
    if len(kernel) != 2:
        found["num_axes"] = len(kernel)
    return found


def _times(first: int | None, second: int) -> int | None:
    return None if first is None else first * second
