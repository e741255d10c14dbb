"""The operators of a graph that PyTorch traced (aten, before any decomposition), in the shared vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from predictor.errors import FormatError
from predictor.formats import vocabulary
from predictor.formats.operators import Operator, OperatorGraph, Shape


def operators_of(graph: fx.Graph, user_inputs: frozenset[str] | None) -> OperatorGraph:
    """What the graph computes, step by step; placeholders that are not the user's are weights.

    Raises:
        FormatError: if there is control flow, or more than can be taken.
    """
    found = OperatorGraph()
    numbers: dict[fx.Node, int] = {}
    for node in graph.nodes:
        match node.op:
            case "placeholder" if user_inputs is None or node.name in user_inputs:
                numbers[node] = _placeholder(found, node)
            case "placeholder" | "get_attr":
                numbers[node] = found.add_constant(_shape(node), _held(node))
            case "output":
                found.outputs = [numbers[one] for one in node.all_input_nodes]
            case "call_function":
                numbers[node] = _made(found, node, numbers)
            case _:
                raise FormatError(f"expected a graph of function calls, got {node.op} {node.target}")
    return found


def _placeholder(graph: OperatorGraph, node: fx.Node) -> int:
    """An input; an argument that is no tensor is a constant."""
    is_tensor = isinstance(node.meta.get("val"), Tensor)
    return graph.add_input(_shape(node)) if is_tensor else graph.add_constant(None)


def _held(node: fx.Node) -> Sequence[float] | None:
    """What a small constant holds, where the trace kept it."""
    value = node.meta.get("val")
    constant = getattr(value, "constant", None)
    if isinstance(constant, Tensor) and constant.numel() == 1:
        return (float(constant.item()),)
    return None


def _shape(node: fx.Node) -> Shape | None:
    """Of what the node makes, or of the first tensor of several."""
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        value = next((one for one in value if isinstance(one, Tensor)), None)
    if not isinstance(value, Tensor):
        return None
    return tuple(int(one) if isinstance(one, int) else None for one in value.shape)


@dataclass(frozen=True)
class Call:
    """One call with its arguments by name, as the operator's schema has them."""

    graph: OperatorGraph
    node: fx.Node
    name: str
    arguments: Mapping[str, Any]
    numbers: Mapping[fx.Node, int]

    @property
    def shape(self) -> Shape | None:
        """Of the result."""
        return _shape(self.node)

    def source(self, name: str) -> int:
        """The operator behind an argument; a number becomes a constant."""
        value = self.arguments.get(name)
        if isinstance(value, fx.Node):
            return self.numbers[value]
        if isinstance(value, bool | int | float):
            return self.graph.add_constant((), (float(value),))
        raise FormatError(f"expected {self.name} with a tensor as {name}, got {type(value).__name__}")

    @property
    def first(self) -> int:
        """The operator behind the first argument."""
        return self.source(next(iter(self.arguments)))

    @property
    def sources(self) -> list[int]:
        """The operators behind all arguments, those in lists included."""
        return [self.numbers[one] for one in self.node.all_input_nodes]

    def whole(self, name: str) -> list[int]:
        """An argument of whole numbers, one or several."""
        value = self.arguments.get(name)
        if value is None:
            return []
        given = value if isinstance(value, list | tuple) else [value]
        return [one for one in given if isinstance(one, int)]

    def spread(self, name: str, count: int, default: int = 1) -> list[int]:
        """The same for each of `count` axes."""
        given = self.whole(name) or [default]
        return given * count if len(given) == 1 else given

    def shape_of(self, name: str) -> Shape | None:
        """Of an argument."""
        value = self.arguments.get(name)
        return self.graph[self.numbers[value]].shape if isinstance(value, fx.Node) else None


Handler = Callable[[Call], int]


def _made(graph: OperatorGraph, node: fx.Node, numbers: Mapping[fx.Node, int]) -> int:
    target = node.target
    name = _name(target)
    vocabulary.refuse_control_flow(name)
    call = Call(graph, node, name, _arguments(node), numbers)
    plain = vocabulary.squeezed(name)
    if plain in _CONSTANT or not node.all_input_nodes:
        return graph.add_constant(call.shape, _number_of(call))
    handler = _HANDLERS.get(plain)
    if handler is not None:
        return handler(call)
    if plain in vocabulary.ACTIVATIONS:
        return vocabulary.activation(graph, call.sources[0], vocabulary.ACTIVATIONS[plain], call.shape)
    if plain in vocabulary.PASSING:
        return vocabulary.passed(graph, call.sources[0], call.shape)
    known = [one for one in call.sources if not graph.is_constant(one)] or call.sources
    return vocabulary.unknown(graph, name, known, call.shape)


def _name(target: Any) -> str:
    """`aten.relu_.default` is relu, `operator.getitem` is getitem."""
    if isinstance(target, torch._ops.OpOverload):
        return str(target._schema.name).rpartition("::")[2]
    name = getattr(target, "__name__", None) or getattr(target, "_name", None) or str(target)
    return str(name)


def _arguments(node: fx.Node) -> dict[str, Any]:
    """By name, defaults included."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return {str(place): one for place, one in enumerate(node.args)} | dict(node.kwargs)
    found: dict[str, Any] = {}
    for place, one in enumerate(node.target._schema.arguments):
        default = one.default_value if one.has_default_value() else None
        found[one.name] = node.args[place] if place < len(node.args) else node.kwargs.get(one.name, default)
    return found


def _number_of(call: Call) -> Sequence[float] | None:
    values = [one for one in call.arguments.values() if isinstance(one, int | float) and not isinstance(one, bool)]
    is_scalar = call.name in ("full", "scalar_tensor", "full_like", "new_full") and len(values) >= 1
    return (float(values[0]),) if is_scalar else None


def _conv(call: Call) -> int:
    weight = call.shape_of("weight") or ()
    count = max(len(weight) - 2, 1)
    return vocabulary.convolution(
        call.graph,
        call.source("input"),
        call.source("weight"),
        stride=call.spread("stride", count),
        dilation=call.spread("dilation", count),
        groups=int(call.arguments.get("groups") or 1),
        is_transposed="transpose" in call.name or bool(call.arguments.get("transposed")),
        shape=call.shape,
    )


def _linear(call: Call) -> int:
    weight = call.shape_of("weight")
    if not call.graph.is_constant(call.source("weight")) or weight is None or len(weight) != 2:
        return vocabulary.matrix_product(call.graph, call.source("input"), call.source("weight"), call.shape)
    return vocabulary.linear(call.graph, call.source("input"), int(weight[1] or 0), int(weight[0] or 0), call.shape)


def _product(first: str, second: str) -> Handler:
    return lambda call: vocabulary.matrix_product(call.graph, call.source(first), call.source(second), call.shape)


def _pool(kind: str) -> Handler:
    def handler(call: Call) -> int:
        count = max(len(call.graph[call.source("self")].shape or (0, 0, 0, 0)) - 2, 1)
        kernel = call.spread("kernel_size", count)
        stride = call.spread("stride", count) if call.whole("stride") else kernel
        dilation = call.spread("dilation", count)
        return vocabulary.pool(call.graph, call.source("self"), kind, kernel, stride, dilation, call.shape)

    return handler


def _adaptive(kind: str) -> Handler:
    return lambda call: vocabulary.adaptive_pool(call.graph, call.source("self"), kind, call.shape)


def _arithmetic(kind: str) -> Handler:
    def handler(call: Call) -> int:
        first, second = call.source("self"), call.source("other")
        if kind == "div" and call.arguments.get("rounding_mode"):
            return vocabulary.unknown(call.graph, "floor_divide", [first, second], call.shape)
        return call.graph.add(Operator(kind, (first, second), shape=call.shape))

    return handler


def _reversed_subtraction(call: Call) -> int:
    return call.graph.add(Operator("sub", (call.source("other"), call.source("self")), shape=call.shape))


def _power(call: Call) -> int:
    exponent = call.arguments.get("exponent")
    if isinstance(exponent, int | float):
        return call.graph.add(Operator("power", (call.first,), shape=call.shape, numbers=(float(exponent),)))
    return call.graph.add(Operator("pow", (call.first, call.source("exponent")), shape=call.shape))


def _fixed_power(value: float) -> Handler:
    return lambda call: call.graph.add(Operator("power", (call.first,), shape=call.shape, numbers=(value,)))


def _negation(call: Call) -> int:
    return call.graph.add(Operator("scale", (call.first,), shape=call.shape, numbers=(-1.0,)))


def _bounded(lowest: str, highest: str) -> Handler:
    def handler(call: Call) -> int:
        bounds = [call.arguments.get(name) for name in (lowest, highest)]
        low, high = (float(one) if isinstance(one, int | float) else None for one in bounds)
        return vocabulary.clipped(call.graph, call.first, low, high, call.shape)

    return handler


def _reduction(name: str) -> Handler:
    def handler(call: Call) -> int:
        axes = call.whole("dim") or call.whole("axis")
        return vocabulary.reduced(call.graph, call.first, name, axes, call.shape)

    return handler


def _variance(call: Call) -> int:
    made = vocabulary.reduced(call.graph, call.first, "variance", call.whole("dim"), call.shape)
    if not call.graph.is_constant(made):
        call.graph.become(made, kind="variance")
    return made


def _normalization(function: str) -> Handler:
    return lambda call: vocabulary.normalization(call.graph, call.first, function, call.shape)


def _concatenation(is_stack: bool) -> Handler:
    def handler(call: Call) -> int:
        given = call.arguments.get("tensors") or ()
        sources = [call.numbers[one] for one in given if isinstance(one, fx.Node)]
        axis = int(call.arguments.get("dim") or 0)
        inputs = [call.graph[one].shape for one in sources]
        is_flat = is_stack or all(one and -len(one) <= axis < len(one) and one[axis] == 1 for one in inputs)
        return vocabulary.joined(call.graph, sources, axis, is_flat, call.shape)

    return handler


def _attention(call: Call) -> int:
    query, key, value = (call.source(name) for name in ("query", "key", "value"))
    return vocabulary.scaled_attention(call.graph, query, key, value, call.shape)


def _embedding(call: Call) -> int:
    table = call.shape_of("weight") or (None,)
    return vocabulary.embedding(call.graph, call.source("indices"), table, call.shape)


def _upsampled(call: Call) -> int:
    return vocabulary.upsampled(call.graph, call.first, call.shape)


def _recurrent(function: str) -> Handler:
    """A stack of layers; weights come as (input, hidden, biases …) of each layer and direction."""

    def handler(call: Call) -> int:
        source = call.source("input")
        shape, given = call.shape, call.graph[source].shape
        is_both = bool(call.arguments.get("bidirectional"))
        weights = call.arguments.get("params") or ()
        first = call.graph[call.numbers[weights[0]]].shape if weights else None
        second = call.graph[call.numbers[weights[1]]].shape if weights else None
        hidden, width = int((second or (0,))[-1] or 0), int((first or (0,))[-1] or 0)
        for _ in range(int(call.arguments.get("num_layers") or 1)):
            source = vocabulary.recurrent(call.graph, source, function, width, hidden, is_both, given)
            width = hidden * (2 if is_both else 1)
        call.graph.become(source, shape=shape)
        return source

    return handler


def _masked(call: Call) -> int:
    return call.graph.add(Operator("maskedfill", (call.source("self"), call.source("mask")), shape=call.shape))


def _chosen(call: Call) -> int:
    return call.graph.add(Operator("where", tuple(call.sources), shape=call.shape))


def _indexed(call: Call) -> int:
    """Fixed places are a slice; places that are data choose among vectors."""
    table, places = call.first, [one for one in call.sources[1:] if not call.graph.is_constant(one)]
    if call.graph.is_constant(table) and places:
        return vocabulary.embedding(call.graph, places[0], call.graph[table].shape or (None,), call.shape)
    return vocabulary.passed(call.graph, table, call.shape)


def _erf(call: Call) -> int:
    return call.graph.add(Operator("erf", (call.first,), shape=call.shape))


_CONSTANT = frozenset(
    map(
        vocabulary.squeezed,
        (
            *(
                "zeros_like",
                "ones_like",
                "full_like",
                "empty_like",
                "new_zeros",
                "new_ones",
                "new_full",
                "new_empty",
                "sym_size",
            ),
            *("sym_numel", "arange", "full", "zeros", "ones", "scalar_tensor", "rand_like", "randn_like", "size"),
        ),
    )
)
_HANDLERS: Mapping[str, Handler] = {
    vocabulary.squeezed(name): handler
    for names, handler in (
        (
            ("conv1d", "conv2d", "conv3d", "convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
            _conv,
        ),
        (("linear",), _linear),
        (("matmul",), _product("self", "other")),
        (("mm", "bmm"), _product("self", "mat2")),
        (("addmm",), _product("mat1", "mat2")),
        (("baddbmm",), _product("batch1", "batch2")),
        (("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices"), _pool("max_pool")),
        (("avg_pool1d", "avg_pool2d", "avg_pool3d"), _pool("avg_pool")),
        (("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"), _adaptive("avg_pool")),
        (("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"), _adaptive("max_pool")),
        (("add",), _arithmetic("add")),
        (("sub",), _arithmetic("sub")),
        (("rsub",), _reversed_subtraction),
        (("mul", "multiply"), _arithmetic("mul")),
        (("div", "true_divide", "divide"), _arithmetic("div")),
        (("pow",), _power),
        (("square",), _fixed_power(2.0)),
        (("sqrt",), _fixed_power(0.5)),
        (("rsqrt",), _fixed_power(-0.5)),
        (("reciprocal",), _fixed_power(-1.0)),
        (("neg",), _negation),
        (("erf",), _erf),
        (("clamp", "clip"), _bounded("min", "max")),
        (("hardtanh",), _bounded("min_val", "max_val")),
        (("mean",), _reduction("mean")),
        (("sum",), _reduction("sum")),
        (("amax",), _reduction("max")),
        (("amin",), _reduction("min")),
        (("var",), _variance),
        (("batch_norm", "native_batch_norm", "_native_batch_norm_legit_no_training"), _normalization("batch_norm")),
        (("layer_norm", "native_layer_norm"), _normalization("layer_norm")),
        (("group_norm", "native_group_norm"), _normalization("group_norm")),
        (("instance_norm",), _normalization("instance_norm")),
        (("rms_norm",), _normalization("rms_norm")),
        (("cat", "concat", "concatenate"), _concatenation(is_stack=False)),
        (("stack",), _concatenation(is_stack=True)),
        (("scaled_dot_product_attention",), _attention),
        (("embedding",), _embedding),
        (("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d"), _upsampled),
        (("upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"), _upsampled),
        (("lstm",), _recurrent("lstm")),
        (("gru",), _recurrent("gru")),
        (("rnn_tanh", "rnn_relu"), _recurrent("rnn")),
        (("masked_fill",), _masked),
        (("where",), _chosen),
        (("index",), _indexed),
    )
    for name in names
}
"""By the operator's name without case and underscores; a change in place is the same operator."""
