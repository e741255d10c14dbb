"""What each ONNX operator is in the shared vocabulary, and what shape it makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from predictor.errors import FormatError
from predictor.formats import onnx_shapes as shapes
from predictor.formats import vocabulary
from predictor.formats.onnx_model import DEFAULT_DOMAINS, AttributeOf, Node, Tensor
from predictor.formats.operators import MAX_KNOWN_NUMBERS, Numbers, Operator, OperatorGraph, Shape, size_of

_MAX_OUTPUTS = 1_024

Default = TypeVar("Default", bound=AttributeOf)


@dataclass(frozen=True)
class Call:
    """One node with the operators that feed it; None for an input that is left out."""

    graph: OperatorGraph
    node: Node
    sources: tuple[int | None, ...]
    opset: int

    def source(self, place: int) -> int:
        """The operator of an input that has to be there."""
        if place >= len(self.sources) or self.sources[place] is None:
            raise FormatError(f"expected {self.node.op_type!r:.80} with input {place}, got none")
        return int(self.sources[place] or 0)

    @property
    def given(self) -> list[int]:
        """The operators of all inputs that are there."""
        return [one for one in self.sources if one is not None]

    def shape(self, place: int) -> Shape | None:
        """Of an input; None if it is left out or not known."""
        source = self.sources[place] if place < len(self.sources) else None
        return None if source is None else self.graph[source].shape

    def numbers(self, place: int) -> Numbers | None:
        """What a small constant input holds."""
        source = self.sources[place] if place < len(self.sources) else None
        return None if source is None else self.graph[source].numbers if self.graph.is_constant(source) else None

    def get(self, name: str, default: Default) -> Default:
        """An attribute of the type of its default; a wrong type is refused."""
        value = self.node.attributes.get(name, default)
        if type(value) is not type(default):
            raise FormatError(f"expected attribute {name!r} of {self.node.op_type!r:.80} as {type(default).__name__}")
        return value

    def integers(self, name: str, place: int) -> tuple[int, ...] | None:
        """Whole numbers that are an attribute in older opsets and an input in newer ones; () where they are left out."""
        given = self.node.attributes.get(name)
        if isinstance(given, tuple):
            return tuple(int(one) for one in given)
        if place < len(self.sources) and self.sources[place] is not None:
            numbers = self.numbers(place)
            return None if numbers is None else tuple(int(one) for one in numbers)
        return ()

    def passed(self, shape: Shape | None, numbers: Numbers | None = None) -> int:
        """A node that hands on its first input in another shape; small constants stay known."""
        if self.graph.is_constant(self.source(0)):
            return self.graph.add_constant(shapes.bounded(shape), numbers)
        return vocabulary.passed(self.graph, self.source(0), shapes.bounded(shape))


Handler = Callable[[Call], "int | list[int]"]


def made_by(call: Call) -> list[int]:
    """The operators that a node becomes, one for each of its results or one for all."""
    if not call.given and call.node.op_type != "Constant":
        return [call.graph.add_constant(None)]
    handler = _HANDLERS.get(call.node.op_type) if call.node.domain in DEFAULT_DOMAINS else None
    if handler is None and call.node.domain in _DOMAINS_BY_NAME:
        handler = _handler_by_name(call.node.op_type)
    made = (handler or _unknown)(call)
    return made if isinstance(made, list) else [made]


_DOMAINS_BY_NAME = (*DEFAULT_DOMAINS, "com.microsoft")


def _handler_by_name(name: str) -> Handler | None:
    plain = vocabulary.squeezed(name)
    if plain in vocabulary.ACTIVATIONS:
        return lambda call: vocabulary.activation(
            call.graph, call.source(0), vocabulary.ACTIVATIONS[plain], call.shape(0)
        )
    return (lambda call: call.passed(call.shape(0), call.numbers(0))) if plain in vocabulary.PASSING else None


def _unknown(call: Call) -> int:
    sources = [one for one in call.given if not call.graph.is_constant(one)] or call.given
    shape = call.shape(0) if vocabulary.squeezed(call.node.op_type) in _ELEMENTWISE else None
    return vocabulary.unknown(call.graph, call.node.op_type, sources, shape)


def _conv(call: Call, is_transposed: bool = False) -> int:
    weight = call.shape(1)
    kernel = [one or 1 for one in weight[2:]] if weight else []
    groups = max(call.get("group", 1), 1)
    channels = None if not weight or len(weight) < 2 else (weight[1] or 0) * groups if is_transposed else weight[0]
    follow = shapes.widened if is_transposed else shapes.windowed
    shape = shapes.bounded(follow(call.shape(0), channels, kernel, call.node.attributes))
    return vocabulary.convolution(
        call.graph,
        call.source(0),
        call.source(1),
        stride=shapes.whole(call.node.attributes, "strides", len(kernel), 1),
        dilation=shapes.whole(call.node.attributes, "dilations", len(kernel), 1),
        groups=groups,
        is_transposed=is_transposed,
        shape=shape,
    )


def _pool(kind: str) -> Handler:
    def handler(call: Call) -> int:
        kernel = call.get("kernel_shape", ())
        if not kernel or any(one < 1 for one in kernel):
            raise FormatError(f"expected {call.node.op_type} with a kernel_shape of positive numbers, got {kernel}")
        given, attributes = call.shape(0), call.node.attributes
        shape = shapes.bounded(
            shapes.windowed(given, given[1] if given and len(given) > 1 else None, kernel, attributes)
        )
        stride = shapes.whole(attributes, "strides", len(kernel), 1)
        dilation = shapes.whole(attributes, "dilations", len(kernel), 1)
        return vocabulary.pool(call.graph, call.source(0), kind, kernel, stride, dilation, shape)

    return handler


def _global_pool(function: str) -> Handler:
    def handler(call: Call) -> int:
        given = call.shape(0)
        shape = None if given is None else (*given[:2], *(1 for _ in given[2:]))
        return vocabulary.global_pool(call.graph, call.source(0), function, shape)

    return handler


def _gemm(call: Call) -> int:
    first, second = call.shape(0), call.shape(1)
    if call.get("transA", 0):
        first = shapes.transposed(first, ())
    if call.get("transB", 0):
        second = shapes.transposed(second, ())
    shape = shapes.multiplied(first, second)
    if not call.graph.is_constant(call.source(1)) or second is None or None in second or len(second) != 2:
        return vocabulary.matrix_product(call.graph, call.source(0), call.source(1), shape)
    return vocabulary.linear(call.graph, call.source(0), int(second[0] or 0), int(second[1] or 0), shape)


def _matmul(call: Call) -> int:
    shape = shapes.bounded(shapes.multiplied(call.shape(0), call.shape(1)))
    return vocabulary.matrix_product(call.graph, call.source(0), call.source(1), shape)


def _arithmetic(kind: str) -> Handler:
    """Elementwise, of any number of inputs, with the numbers of small constants."""

    def handler(call: Call) -> int:
        sources = call.given
        shape = shapes.broadcast([call.graph[one].shape for one in sources])
        sides = [call.graph[one].numbers if call.graph.is_constant(one) else None for one in sources]
        numbers = shapes.elementwise(call.node.op_type, sides)
        return call.graph.add(Operator(kind, tuple(sources), shape=shapes.bounded(shape), numbers=numbers))

    return handler


def _power(value: float) -> Handler:
    """An operator that is a power by another name."""

    def handler(call: Call) -> int:
        numbers = shapes.elementwise(call.node.op_type, [call.numbers(0)])
        if call.graph.is_constant(call.source(0)):
            return call.graph.add_constant(call.shape(0), numbers)
        return call.graph.add(Operator("power", (call.source(0),), shape=call.shape(0), numbers=(value,)))

    return handler


def _negation(call: Call) -> int:
    if call.graph.is_constant(call.source(0)):
        return call.graph.add_constant(call.shape(0), shapes.elementwise("Neg", [call.numbers(0)]))
    return call.graph.add(Operator("scale", (call.source(0),), shape=call.shape(0), numbers=(-1.0,)))


def _clip(call: Call) -> int:
    def bound(name: str, place: int) -> float | None:
        given = call.node.attributes.get(name)
        numbers = call.numbers(place)
        return float(given) if isinstance(given, int | float) else float(numbers[0]) if numbers else None

    lowest, highest = bound("min", 1), bound("max", 2)
    known = None if lowest is not None and lowest <= -1e30 else lowest
    return vocabulary.clipped(call.graph, call.source(0), known, highest, call.shape(0))


def _constant(call: Call) -> int:
    for value in call.node.attributes.values():
        if isinstance(value, Tensor):
            return call.graph.add_constant(value.shape, value.numbers)
        if isinstance(value, tuple):
            return call.graph.add_constant((len(value),), value)
        if isinstance(value, int | float):
            return call.graph.add_constant((), (value,))
    return call.graph.add_constant(None)


def _shape_of(call: Call) -> int:
    given = call.shape(0)
    if given is None:
        return call.graph.add_constant(None)
    start, end = call.get("start", 0), call.get("end", len(given))
    dims = given[start:end]
    return call.graph.add_constant((len(dims),), None if None in dims else [int(one or 0) for one in dims])


def _size(call: Call) -> int:
    size = size_of(call.shape(0))
    return call.graph.add_constant((), None if size is None else (size,))


def _filled(call: Call) -> int:
    target = call.numbers(0)
    shape = None if target is None else shapes.bounded(tuple(int(one) for one in target))
    size, value = size_of(shape), call.node.attributes.get("value")
    number = value.numbers[0] if isinstance(value, Tensor) and value.numbers else 0.0
    return call.graph.add_constant(shape, None if size is None or size > MAX_KNOWN_NUMBERS else [number] * size)


def _range(call: Call) -> int:
    bounds = [call.numbers(place) for place in range(3)]
    if any(one is None or len(one) != 1 for one in bounds):
        return call.graph.add_constant((None,))
    start, end, step = (one[0] for one in bounds if one)
    count = max(0, math.ceil((end - start) / step)) if step else 0
    numbers = [start + place * step for place in range(count)] if count <= MAX_KNOWN_NUMBERS else None
    return call.graph.add_constant((count,), numbers)


def _reshape(call: Call) -> int:
    target = call.integers("shape", 1)
    return call.passed(shapes.reshaped(call.shape(0), target, bool(call.get("allowzero", 0))), call.numbers(0))


def _transpose(call: Call) -> int:
    given, order = _known(call), call.get("perm", ())
    shape = shapes.transposed(call.shape(0), order)
    kept = None
    if given is not None and shape is not None:
        kept = shapes.reordered(*given, order or range(len(given[1]) - 1, -1, -1))
    return call.passed(shape, kept)


def _known(call: Call) -> tuple[Numbers, list[int]] | None:
    """Numbers and shape of a small constant."""
    numbers, shape = call.numbers(0), call.shape(0)
    if numbers is None or shape is None or size_of(shape) != len(numbers):
        return None
    return numbers, [one for one in shape if one is not None]


def _expand(call: Call) -> int:
    target = call.integers("shape", 1)
    numbers = call.numbers(0)
    shape = shapes.bounded(shapes.broadcast([call.shape(0), target])) if target is not None else None
    size = size_of(shape)
    is_small = numbers is not None and len(numbers) == 1 and size is not None and size <= MAX_KNOWN_NUMBERS
    return call.passed(shape, numbers * size if is_small and numbers and size else None)


def _slice(call: Call) -> int:
    starts, ends = call.integers("starts", 1), call.integers("ends", 2)
    axes, steps = call.integers("axes", 3) or None, call.integers("steps", 4) or None
    shape = shapes.sliced(call.shape(0), starts, ends, axes, steps)
    given = _known(call)
    if given is None or shape is None or starts is None or ends is None:
        return call.passed(shape)
    places = [range(size) for size in given[1]]
    for place, (start, end) in enumerate(zip(starts, ends, strict=False)):
        axis = axes[place] if axes and place < len(axes) else place
        places[axis] = range(given[1][axis])[start : end : steps[place] if steps and place < len(steps) else 1]
    return call.passed(shape, shapes.picked(*given, places))


def _gather(call: Call) -> int:
    axis, table, indices = call.get("axis", 0), call.source(0), call.source(1)
    given = call.shape(0)
    shape = shapes.bounded(shapes.gathered(given, call.shape(1), axis))
    if call.graph.is_constant(table) and not call.graph.is_constant(indices):
        return vocabulary.embedding(call.graph, indices, given or (None,), shape)
    numbers, places = call.numbers(0), call.numbers(1)
    kept = None
    if numbers is not None and places is not None and given is not None and len(given) == 1:
        in_range = all(-len(numbers) <= one < len(numbers) for one in places)
        kept = tuple(numbers[int(one)] for one in places) if in_range else None
    return call.passed(shape, kept)


def _concat(call: Call) -> int:
    axis = call.get("axis", 0)
    sources = call.given
    inputs = [call.graph[one].shape for one in sources]
    shape = shapes.bounded(shapes.concatenated(inputs, axis))
    if all(call.graph.is_constant(one) for one in sources):
        pieces = [call.graph[one].numbers for one in sources]
        known = None if any(one is None for one in pieces) else tuple(n for one in pieces if one for n in one)
        return call.graph.add_constant(shape, known)
    is_stack = all(one and -len(one) <= axis < len(one) and one[axis] == 1 for one in inputs)
    return vocabulary.joined(call.graph, sources, axis, is_stack, shape)


def _split(call: Call) -> list[int]:
    given, axis = call.shape(0), call.get("axis", 0)
    count = len(call.node.outputs)
    if count > _MAX_OUTPUTS:
        raise FormatError(f"expected Split with at most {_MAX_OUTPUTS} outputs, got {count}")
    sizes = call.integers("split", 1)
    if given is None or not -len(given) <= axis < len(given):
        return [call.passed(None) for _ in range(count)]
    axis %= len(given)
    whole = given[axis]
    even = [None if whole is None else -(-whole // count)] * count
    lengths = list(sizes) if sizes and len(sizes) == count else even
    return [call.passed((*given[:axis], length, *given[axis + 1 :])) for length in lengths]


def _tile(call: Call) -> int:
    given, repeats = call.shape(0), call.numbers(1)
    if given is None or repeats is None or len(repeats) != len(given):
        return call.passed(None)
    return call.passed(tuple(None if d is None else d * int(r) for d, r in zip(given, repeats, strict=True)))


def _pad(call: Call) -> int:
    given, pads = call.shape(0), call.integers("pads", 1)
    if given is None or not pads or len(pads) != 2 * len(given) or len(call.given) > 3:
        return call.passed(given if pads == () else None)
    dims = (None if d is None else d + pads[i] + pads[i + len(given)] for i, d in enumerate(given))
    return call.passed(tuple(dims))


def _reduction(name: str) -> Handler:
    def handler(call: Call) -> int:
        axes = call.integers("axes", 1)
        if call.get("noop_with_empty_axes", 0) and not axes:
            return call.passed(call.shape(0), call.numbers(0))
        shape = None if axes is None else shapes.reduced_shape(call.shape(0), axes, bool(call.get("keepdims", 1)))
        if call.graph.is_constant(call.source(0)):
            numbers = call.numbers(0)
            is_product = name == "prod" and numbers is not None and shape in ((), (1,))
            return call.graph.add_constant(shape, (math.prod(numbers),) if is_product and numbers else None)
        return vocabulary.reduced(call.graph, call.source(0), name, axes or (), shape)

    return handler


def _normalization(function: str) -> Handler:
    return lambda call: vocabulary.normalization(call.graph, call.source(0), function, call.shape(0))


def _instance_norm(call: Call) -> int:
    """Behind a reshape it is how exporters write group normalisation."""
    is_grouped = call.graph[call.source(0)].kind == "view"
    function = "group_norm" if is_grouped else "instance_norm"
    return vocabulary.normalization(call.graph, call.source(0), function, call.shape(0))


def _resize(call: Call) -> int:
    given = call.shape(0)
    sizes = call.numbers(3) if call.node.op_type == "Resize" else None
    scales = call.numbers(2 if call.node.op_type == "Resize" and call.opset >= 11 else 1)
    shape: Shape | None = None
    if sizes:
        shape = tuple(int(one) for one in sizes)
    elif scales and given is not None and len(scales) == len(given):
        shape = tuple(None if d is None else math.floor(d * s) for d, s in zip(given, scales, strict=True))
    return vocabulary.upsampled(call.graph, call.source(0), shapes.bounded(shape))


def _recurrent(function: str) -> Handler:
    def handler(call: Call) -> list[int]:
        given, weight = call.shape(0), call.shape(1)
        width = weight[2] if weight and len(weight) == 3 else None
        hidden = call.get("hidden_size", 0)
        is_both = call.get("direction", "forward") == "bidirectional"
        shape = (*given[:1], 2 if is_both else 1, *given[1:2], hidden) if given and len(given) == 3 else None
        made = vocabulary.recurrent(call.graph, call.source(0), function, width or 0, hidden, is_both, None)
        steps = None if not given or None in given[:2] else math.prod(int(one or 0) for one in given[:2])
        params = call.graph[made].params
        call.graph.become(made, shape=shape, macs=None if steps is None else steps * params)
        return [made]

    return handler


def _attention(call: Call) -> int:
    given, values = call.shape(0), call.shape(2)
    heads = call.get("q_num_heads", 0)
    shape = None if not given or not values else (*given[:-1], values[-1])
    made = vocabulary.scaled_attention(call.graph, call.source(0), call.source(1), call.source(2), shape)
    if heads and values and values[-1] and len(values) == 3:
        call.graph.become(made, attributes={"heads": heads, "channels": values[-1] // max(call.get("kv_num_heads", heads), 1) * heads})  # fmt: skip
    return made


def _same_shape(kind: str) -> Handler:
    return lambda call: call.graph.add(Operator(kind, (call.source(0),), shape=call.shape(0)))


def _cast(call: Call) -> int:
    return call.passed(call.shape(0), call.numbers(0))


_ELEMENTWISE = frozenset(
    {
        *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "sign", "round"),
        *("cumsum", "isnan", "isinf", "bitwisenot", "trilu", "scatternd", "scatterelements"),
    }
)
"""Operators without a meaning here whose result has the shape of their first input."""


_HANDLERS: Mapping[str, Handler] = {
    "Conv": _conv,
    "ConvTranspose": lambda call: _conv(call, is_transposed=True),
    "MaxPool": _pool("max_pool"),
    "AveragePool": _pool("avg_pool"),
    "GlobalAveragePool": _global_pool("avg"),
    "GlobalMaxPool": _global_pool("max"),
    "Gemm": _gemm,
    "MatMul": _matmul,
    **{name: _arithmetic(name.lower()) for name in ("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Equal")},
    **{
        name: _arithmetic(name.lower())
        for name in ("Greater", "Less", "Where", "Floor", "Ceil", "Abs", "Exp", "Log", "Not")
    },
    "Sum": _arithmetic("add"),
    "Sqrt": _power(0.5),
    "Reciprocal": _power(-1.0),
    "Neg": _negation,
    "Erf": _same_shape("erf"),
    "Clip": _clip,
    "Constant": _constant,
    "Shape": _shape_of,
    "Size": _size,
    "ConstantOfShape": _filled,
    "Range": _range,
    "Reshape": _reshape,
    "Flatten": lambda call: call.passed(shapes.flattened(call.shape(0), call.get("axis", 1))),
    "Squeeze": lambda call: call.passed(
        shapes.squeezed_shape(call.shape(0), call.integers("axes", 1)), call.numbers(0)
    ),
    "Unsqueeze": lambda call: call.passed(shapes.unsqueezed(call.shape(0), call.integers("axes", 1)), call.numbers(0)),
    "Transpose": _transpose,
    "Expand": _expand,
    "Slice": _slice,
    "Gather": _gather,
    "Concat": _concat,
    "Split": _split,
    "Tile": _tile,
    "Pad": _pad,
    "Cast": _cast,
    **{f"Reduce{name}": _reduction(name.lower()) for name in ("Mean", "Sum", "Max", "Min", "Prod", "L2", "SumSquare")},
    "BatchNormalization": _normalization("batch_norm"),
    "LayerNormalization": _normalization("layer_norm"),
    "GroupNormalization": _normalization("group_norm"),
    "RMSNormalization": _normalization("rms_norm"),
    "InstanceNormalization": _instance_norm,
    "Resize": _resize,
    "Upsample": _resize,
    "LSTM": _recurrent("lstm"),
    "GRU": _recurrent("gru"),
    "RNN": _recurrent("rnn"),
    "Attention": _attention,
}
