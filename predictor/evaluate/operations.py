"""Operations of architectures as steps of a plan, by what they are: kind, kernel, stride, channels and the rest.

Where a graph tells only convolutions (as search spaces do) each comes with normalisation and activation; where it tells those
too (as networks that were read from a framework do), each operation is bare. `Style` says which.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from predictor.architecture import Operation
from predictor.errors import UnbuildableError
from predictor.evaluate.plan import Part, Planner, Value

MAX_CHANNELS = 65_536
MAX_REPEATS = 64

Order = Literal["norm_act", "act_first", "linear", "bare"]


@dataclass(frozen=True)
class Style:
    """What comes with an operation that does not tell it, and the width of one that tells none."""

    order: Order = "norm_act"
    flattens: bool = False  # a linear map of an image takes all positions at once
    mbconv: Mapping[str, str] | None = None  # options of inverted residual blocks


def whole(operation: Operation, name: str, default: int, largest: int = MAX_CHANNELS) -> int:
    """A positive whole number among the attributes.

    Raises:
        UnbuildableError: if it is something else.
    """
    value = operation.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise UnbuildableError(
            f"expected {name} of {operation.kind!r} to be a whole number from 1 to {largest}, got {value!r:.80}"
        )
    return value


def factor(operation: Operation, name: str, default: float) -> float:
    """A positive number among the attributes; raises UnbuildableError if it is something else."""
    value = operation.get(name, default)
    if isinstance(value, bool | str) or value is None or not 0.0 < value <= 1_000.0:
        raise UnbuildableError(
            f"expected {name} of {operation.kind!r} to be a number from 0 to 1,000, got {value!r:.80}"
        )
    return float(value)


Builder = Callable[[Planner, str, Value, Operation, Style], Value]


def build(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    """The steps of one operation on one value.

    Raises:
        UnbuildableError: if the operation is not known, or its attributes make no sense here.
    """
    builder = BUILDERS.get(operation.kind)
    if builder is None:
        raise UnbuildableError(f"expected operations among {', '.join(sorted(BUILDERS))}, got {operation.kind!r:.80}")
    if operation.get("num_axes", 2) != 2:
        raise UnbuildableError(
            f"expected operations on images, got {operation.kind!r} on {operation.get('num_axes')} axes"
        )
    made = builder(planner, name, value, operation, style)
    if operation.get("se") is True and operation.kind != "mbconv" and made.is_image:
        made = planner.part(f"{name}_se", made, "SqueezeExcitation", made.channels, max(made.channels // 4, 1))
    return made


def label(operation: Operation) -> str:
    """A name for a step, such as conv_3x3."""
    kernel = operation.get("kernel_size")
    plain = "".join(character if character.isalnum() else "_" for character in operation.kind.lower())
    return f"{plain}_{kernel}x{kernel}" if isinstance(kernel, int) else plain


def as_image(planner: Planner, name: str, value: Value) -> Value:
    """The value with rows and columns."""
    return value if value.is_image else planner.part(f"{name}_image", value, "AsImage")


def projected(planner: Planner, name: str, value: Value, channels: int, stride: int, style: Style) -> Value:
    """The value with another width, or fewer positions."""
    if not value.is_image:
        return planner.part(name, value, "nn.Linear", value.channels, channels)
    if style.order == "act_first":
        if stride == 2:
            return planner.part(name, value, "FactorizedReduction", value.channels, channels)
        return planner.part(name, value, "ActConvNorm", value.channels, channels, 1, stride)
    return planner.part(name, value, "ConvNorm", value.channels, channels, 1, stride)


def _convolution(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    value = as_image(planner, name, value)
    channels = whole(operation, "channels", value.channels)
    kernel, dilation = whole(operation, "kernel_size", 3, 255), whole(operation, "dilation", 1, 255)
    is_depthwise = operation.kind == "depthwise_conv"
    for number in range(whole(operation, "repeats", 1, MAX_REPEATS)):
        stride = whole(operation, "stride", 1, 255) if number == 0 else 1
        groups = value.channels if is_depthwise else whole(operation, "groups", 1)
        if is_depthwise and channels % value.channels:
            value = projected(planner, f"{name}_widened", value, channels, 1, style)
            groups = value.channels
        arguments = (value.channels, channels, kernel, stride)
        value = planner.add(name, _convolution_part(style.order, arguments, dilation, groups), value)
    return value


def _convolution_part(order: Order, arguments: tuple[int, int, int, int], dilation: int, groups: int) -> Part:
    more = {name: number for name, number in (("dilation", dilation), ("groups", groups)) if number != 1}
    if order == "bare":
        return Part.of("SameConv2d", *arguments, **more, bias=True)
    if order == "linear" and not more:
        return Part.of("ConvNorm", *arguments)
    return Part.of("ActConvNorm" if order == "act_first" else "ConvNormAct", *arguments, **more)


def _separable(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    value = as_image(planner, name, value)
    options = {
        "dilation": whole(operation, "dilation", 1, 255),
        "repeats": whole(operation, "repeats", 1, MAX_REPEATS),
    }
    more = {option: number for option, number in options.items() if number != 1}
    channels, kernel = whole(operation, "channels", value.channels), whole(operation, "kernel_size", 3, 255)
    stride = whole(operation, "stride", 1, 255)
    return planner.part(name, value, "SeparableConv", value.channels, channels, kernel, stride, **more)


def _mbconv(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    value = as_image(planner, name, value)
    told = dict(style.mbconv or {})
    always_expands, from_input = told.pop("always_expands", ""), told.pop("is_squeezed_from_input", "")
    channels, expansion = whole(operation, "channels", value.channels), factor(operation, "expansion", 1.0)
    for number in range(whole(operation, "repeats", 1, MAX_REPEATS)):
        stride = whole(operation, "stride", 1, 255) if number == 0 else 1
        expanded = max(round(value.channels * expansion), 1)
        base = value.channels if from_input else expanded
        options: dict[str, int | str] = {**told}
        if expansion != 1.0 or always_expands:
            options["expanded"] = expanded
        if operation.get("se") is True:
            options["squeezed"] = max(base // 4, 1) if from_input else _divisible(base / 4)
        if (groups := whole(operation, "groups", 1)) != 1:
            options["groups"] = groups
        kernel = whole(operation, "kernel_size", 3, 255)
        value = planner.part(name, value, "MBConv", value.channels, channels, kernel, stride, **options)
    return value


def _divisible(number: float, divisor: int = 8) -> int:
    """The nearest multiple that is not much less, as MobileNetV3 rounds widths."""
    nearest = max(divisor, int(number + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * number else nearest


def _pool(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    value = as_image(planner, name, value)
    kernel, stride = whole(operation, "kernel_size", 3, 255), whole(operation, "stride", 1, 255)
    edge: dict[str, int | bool] = {"padding": kernel // 2} if kernel % 2 else {"ceil_mode": True}
    if operation.kind == "max_pool":
        made = planner.part(name, value, "nn.MaxPool2d", kernel, stride, **edge)
    else:
        made = planner.part(name, value, "nn.AvgPool2d", kernel, stride, **edge, count_include_pad=False)
    channels = whole(operation, "channels", made.channels)
    return made if channels == made.channels else projected(planner, f"{name}_projected", made, channels, 1, style)


def _global_pool(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    function = operation.get("function", "avg")
    if function not in ("avg", "max"):
        raise UnbuildableError(f"expected a global pool of avg or max, got {function!r:.80}")
    return planner.part(name, value, "GlobalPool", str(function)) if value.is_image else value


def _identity(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    channels, stride = whole(operation, "channels", value.channels), whole(operation, "stride", 1, 255)
    if channels == value.channels and (stride == 1 or not value.is_image):
        return value
    return projected(planner, name, value, channels, stride, style)


def _zero(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    channels, stride = whole(operation, "channels", value.channels), whole(operation, "stride", 1, 255)
    return planner.part(name, value, "Zeros", channels, stride)


def _linear(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    if value.is_image and style.flattens:
        value = planner.part(f"{name}_flat", value, "nn.Flatten")
    return planner.part(name, value, "ChannelLinear", value.channels, whole(operation, "channels", value.channels))


def _attention(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    value = as_image(planner, name, value)
    channels = whole(operation, "channels", value.channels)
    if channels != value.channels:
        value = projected(planner, f"{name}_projected", value, channels, 1, style)
    heads = whole(operation, "heads", 1)
    options = {"is_bare": True} if style.order == "bare" else {}
    for _ in range(whole(operation, "repeats", 1, MAX_REPEATS)):
        value = planner.part(name, value, "SpatialAttention", channels, heads, **options)
    return value


def _mlp(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    value = as_image(planner, name, value)
    channels = whole(operation, "channels", value.channels)
    if channels != value.channels:
        value = projected(planner, f"{name}_projected", value, channels, 1, style)
    hidden = max(round(channels * factor(operation, "expansion", 4.0)), 1)
    options = {"is_bare": True} if style.order == "bare" else {}
    for _ in range(whole(operation, "repeats", 1, MAX_REPEATS)):
        value = planner.part(name, value, "ChannelMlp", channels, hidden, **options)
    return value


def _normalization(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    function = str(operation.get("function", "batch_norm"))
    channels = value.channels
    match function:
        case "batch_norm":
            return planner.part(name, value, "nn.BatchNorm2d" if value.is_image else "nn.BatchNorm1d", channels)
        case "layer_norm":
            return planner.part(name, value, "nn.GroupNorm", 1, channels)
        case "instance_norm" if value.is_image:
            return planner.part(name, value, "nn.InstanceNorm2d", channels, affine=True)
        case "group_norm":
            return planner.part(name, value, "nn.GroupNorm", whole(operation, "groups", 1), channels)
    raise UnbuildableError(
        f"expected a normalization of batch_norm, layer_norm, instance_norm or group_norm, got {function!r:.80}"
    )


ACTIVATIONS = {
    "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "LeakyReLU", "prelu": "PReLU", "elu": "ELU", "selu": "SELU", "celu": "CELU",
    "gelu": "GELU", "silu": "SiLU", "swish": "SiLU", "mish": "Mish", "hard_swish": "Hardswish", "hard_sigmoid": "Hardsigmoid",
    "hard_tanh": "Hardtanh", "sigmoid": "Sigmoid", "tanh": "Tanh", "softplus": "Softplus", "softsign": "Softsign",
    "log_sigmoid": "LogSigmoid",
}  # fmt: skip
"""Names in torch.nn."""
_OVER_CHANNELS = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "glu": "GLU"}


def _activation(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    function = str(operation.get("function", "relu"))
    if function in ACTIVATIONS:
        return planner.part(name, value, f"nn.{ACTIVATIONS[function]}")
    if function in _OVER_CHANNELS:
        return planner.part(name, value, f"nn.{_OVER_CHANNELS[function]}", dim=1)
    known = ", ".join([*ACTIVATIONS, *_OVER_CHANNELS])
    raise UnbuildableError(f"expected an activation among {known}, got {function!r:.80}")


def _upsample(planner: Planner, name: str, value: Value, operation: Operation, style: Style) -> Value:
    value = as_image(planner, name, value)
    scale = factor(operation, "scale", 2.0)
    height, width = (max(round(size * scale), 1) for size in value.shape[1:])
    if height * width > MAX_CHANNELS:
        raise UnbuildableError(f"expected at most {MAX_CHANNELS} positions, got {height} × {width}")
    return planner.part(name, value, "Resize", height, width)


BUILDERS: Mapping[str, Builder] = {
    "conv": _convolution,
    "depthwise_conv": _convolution,
    "separable_conv": _separable,
    "mbconv": _mbconv,
    "max_pool": _pool,
    "avg_pool": _pool,
    "global_pool": _global_pool,
    "identity": _identity,
    "zero": _zero,
    "linear": _linear,
    "attention": _attention,
    "mlp": _mlp,
    "normalization": _normalization,
    "activation": _activation,
    "upsample": _upsample,
}
"""By kind. Joins (add, concat, multiply), input and output are the graph's business."""
