"""Shapes of what ONNX operators make, and the small numbers that shapes are computed from.

A dimension that is not known is None, and so is a shape whose rank is not known. Numbers are those of constants of at most 64.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Mapping, Sequence

from predictor.formats.operators import MAX_KNOWN_NUMBERS, Numbers, Shape, size_of

_MAX_RANK = 32
_LARGEST = 2**63

Number = int | float


def bounded(shape: Shape | None) -> Shape | None:
    """The shape, if a tensor can have it."""
    if shape is None or len(shape) > _MAX_RANK or any(one is not None and not 0 <= one < _LARGEST for one in shape):
        return None
    return shape


def broadcast(shapes: Sequence[Shape | None]) -> Shape | None:
    """Of an elementwise operator."""
    if not shapes or any(shape is None for shape in shapes):
        return None
    rank = max(len(shape) for shape in shapes if shape is not None)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes if shape is not None]
    return tuple(_broadcast_dim(dims) for dims in zip(*padded, strict=True))


def _broadcast_dim(dims: Sequence[int | None]) -> int | None:
    large = [one for one in dims if one is not None and one != 1]
    return large[0] if large else None if None in dims else 1


def windowed(
    shape: Shape | None, channels: int | None, kernel: Sequence[int], attributes: Mapping[str, object]
) -> Shape | None:
    """Of a convolution or pool, by the formula of the ONNX specification."""
    if shape is None or len(shape) != len(kernel) + 2:
        return None
    num_axes = len(kernel)
    strides, dilations = whole(attributes, "strides", num_axes, 1), whole(attributes, "dilations", num_axes, 1)
    pads = whole(attributes, "pads", 2 * num_axes, 0)
    is_same = str(attributes.get("auto_pad", "")).startswith("SAME")
    found: list[int | None] = [shape[0], channels]
    for axis, size in enumerate(shape[2:]):
        if size is None:
            found.append(None)
        elif is_same:
            found.append(-(-size // strides[axis]))
        else:
            room = size + pads[axis] + pads[axis + num_axes] - dilations[axis] * (kernel[axis] - 1) - 1
            rounded = -(-room // strides[axis]) if attributes.get("ceil_mode") else room // strides[axis]
            found.append(max(rounded + 1, 0))
    return tuple(found)


def widened(
    shape: Shape | None, channels: int | None, kernel: Sequence[int], attributes: Mapping[str, object]
) -> Shape | None:
    """Of a transposed convolution."""
    if shape is None or len(shape) != len(kernel) + 2:
        return None
    num_axes = len(kernel)
    strides, dilations = whole(attributes, "strides", num_axes, 1), whole(attributes, "dilations", num_axes, 1)
    pads, more = whole(attributes, "pads", 2 * num_axes, 0), whole(attributes, "output_padding", num_axes, 0)
    sizes = [
        None
        if size is None
        else strides[axis] * (size - 1) + more[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        - pads[axis] - pads[axis + num_axes]
        for axis, size in enumerate(shape[2:])
    ]  # fmt: skip
    return (shape[0], channels, *sizes)


def whole(attributes: Mapping[str, object], name: str, count: int, default: int) -> list[int]:
    """An attribute of that many whole numbers, all at least as large as the default; the default where it is anything else."""
    given = attributes.get(name)
    if (
        isinstance(given, tuple)
        and len(given) == count
        and all(isinstance(one, int) and one >= default for one in given)
    ):
        return list(given)
    return [default] * count


def reshaped(shape: Shape | None, target: Numbers | None, allow_zero: bool = False) -> Shape | None:
    """Of Reshape: 0 copies a dimension and -1 takes what is left."""
    if target is None:
        return None
    dims: list[int | None] = []
    for place, given in enumerate(target):
        is_copied = given == 0 and not allow_zero
        dims.append((shape[place] if shape and place < len(shape) else None) if is_copied else int(given))
    if -1 in dims:
        left, size = dims.index(-1), size_of(shape)
        rest = size_of(tuple(one for one in dims if one != -1))
        dims[left] = size // rest if size is not None and rest else None
    return tuple(dims)


def flattened(shape: Shape | None, axis: int) -> Shape | None:
    """Of Flatten: two dimensions."""
    if shape is None:
        return None
    axis = axis + len(shape) if axis < 0 else axis
    return size_of(shape[:axis]), size_of(shape[axis:])


def squeezed_shape(shape: Shape | None, axes: Sequence[int] | None) -> Shape | None:
    """Without these axes, or without any of size 1."""
    if shape is None:
        return None
    gone = {axis % len(shape) for axis in axes} if axes and shape else {i for i, one in enumerate(shape) if one == 1}
    return tuple(one for axis, one in enumerate(shape) if axis not in gone)


def unsqueezed(shape: Shape | None, axes: Sequence[int] | None) -> Shape | None:
    """With axes of size 1 at these places of the result."""
    if shape is None or axes is None or len(axes) > _MAX_RANK:
        return None
    rank = len(shape) + len(axes)
    places, rest = {axis % rank for axis in axes}, iter(shape)
    return tuple(1 if place in places else next(rest, None) for place in range(rank))


def transposed(shape: Shape | None, order: Sequence[int]) -> Shape | None:
    """Axes in another order; reversed where none is given."""
    if shape is None:
        return None
    places = order or range(len(shape) - 1, -1, -1)
    return tuple(shape[one] for one in places) if sorted(places) == list(range(len(shape))) else None


def concatenated(shapes: Sequence[Shape | None], axis: int) -> Shape | None:
    """Side by side along one axis."""
    known = [shape for shape in shapes if shape is not None]
    if not known or len(known) != len(shapes) or len({len(shape) for shape in known}) > 1 or not known[0]:
        return None
    axis %= len(known[0])
    sizes = [shape[axis] for shape in known]
    total = None if None in sizes else sum(one for one in sizes if one is not None)
    return _with(known[0], axis, total)


def _with(shape: Shape, axis: int, size: int | None) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def sliced(shape: Shape | None, starts: Numbers | None, ends: Numbers | None, axes: Numbers | None, steps: Numbers | None) -> Shape | None:  # fmt: skip
    """Of Slice; along axes whose bounds are not known nothing is."""
    if shape is None or starts is None or ends is None:
        return None if shape is None else tuple(None for _ in shape)
    found = shape
    for place, (start, end) in enumerate(zip(starts, ends, strict=False)):
        axis = int(axes[place]) if axes is not None and place < len(axes) else place
        step = int(steps[place]) if steps is not None and place < len(steps) else 1
        if not -len(shape) <= axis < len(shape) or step == 0:
            return None
        size = shape[axis]
        length = None if size is None else len(range(size)[int(start) : int(end) : step])
        found = _with(found, axis % len(shape), length)
    return found


def picked(numbers: Numbers, shape: Sequence[int], places: Sequence[Sequence[int]]) -> Numbers:
    """The numbers at these places of each axis."""
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    indices = itertools.product(*places)
    return tuple(numbers[sum(i * step for i, step in zip(index, steps, strict=True))] for index in indices)


def reordered(numbers: Numbers, shape: Sequence[int], order: Sequence[int]) -> Numbers:
    """The numbers of a transposed tensor."""
    steps = [math.prod(shape[axis + 1 :]) for axis in order]
    indices = itertools.product(*(range(shape[axis]) for axis in order))
    return tuple(numbers[sum(i * step for i, step in zip(index, steps, strict=True))] for index in indices)


def gathered(shape: Shape | None, indices: Shape | None, axis: int) -> Shape | None:
    """Of Gather."""
    if shape is None or indices is None or not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    return (*shape[:axis], *indices, *shape[axis + 1 :])


def reduced_shape(shape: Shape | None, axes: Sequence[int], keeps: bool) -> Shape | None:
    """Of a reduction over these axes, or over all."""
    if shape is None:
        return None
    gone = {axis % len(shape) for axis in axes} if axes and shape else set(range(len(shape)))
    return tuple(1 if axis in gone else one for axis, one in enumerate(shape) if keeps or axis not in gone)


def multiplied(first: Shape | None, second: Shape | None) -> Shape | None:
    """Of MatMul."""
    if not first or not second:
        return None
    if len(first) == 1 or len(second) == 1:
        return first[:-1] if len(second) == 1 else (*second[:-2], second[-1])
    batch = broadcast([first[:-2], second[:-2]])
    return None if batch is None else (*batch, first[-2], second[-1])


def elementwise(name: str, sides: Sequence[Numbers | None]) -> Numbers | None:
    """Arithmetic of small constants; None where it is not known or has no finite result."""
    function = _FUNCTIONS.get(name)
    if function is None or not sides or any(side is None for side in sides):
        return None
    known = [side for side in sides if side is not None]
    length = max(map(len, known))
    if length > MAX_KNOWN_NUMBERS or any(len(side) not in (1, length) for side in known):
        return None
    try:
        rows = zip(*(side * length if len(side) == 1 else side for side in known), strict=True)
        found = tuple(function(*row) for row in rows)
    except (ArithmeticError, ValueError, TypeError):
        return None
    return found if all(abs(one) < _LARGEST for one in found) else None


def _quotient(first: Number, second: Number) -> Number:
    if isinstance(first, int) and isinstance(second, int):
        return abs(first) // abs(second) * (1 if (first < 0) == (second < 0) else -1)
    return first / second


def _chosen(condition: Number, first: Number, second: Number) -> Number:
    return first if condition else second


_FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": _quotient,
    "Mod": operator.mod,
    "Pow": lambda base, power: math.pow(base, power),
    "Equal": operator.eq,
    "Greater": operator.gt,
    "Less": operator.lt,
    "Where": _chosen,
    "Min": min,
    "Max": max,
    "Sqrt": math.sqrt,
    "Neg": operator.neg,
    "Abs": abs,
    "Floor": math.floor,
    "Ceil": math.ceil,
    "Reciprocal": lambda value: 1.0 / value,
    "Exp": math.exp,
    "Log": math.log,
    "Not": operator.not_,
}
