"""What several operators are together: GELU written out, normalisation written out, attention, squeeze and excitation.

Exporters spell one network in different ways. `simplified` walks the operators once, inputs first, and lets each that ends a
known pattern become what the pattern is. Whatever of the pattern nobody else reads is then no longer reached.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

from predictor.architecture import AttributeValue
from predictor.formats.operators import CONSTANT, PASSED, Operator, OperatorGraph
from predictor.formats.vocabulary import heads_and_channels

_PASSING = frozenset({PASSED, "scale", "shift"})
_TOLERANCE = 0.01
_GATES = ("sigmoid", "hard_sigmoid")
_WEIGHTED = ("conv", "depthwise_conv", "linear", "conv_transpose")


def simplified(graph: OperatorGraph) -> None:
    """Changes the graph in place."""
    for number in range(len(graph.operators)):
        operator = graph[number]
        if operator.inputs:
            graph.become(number, inputs=tuple(_source(graph, one) for one in operator.inputs))
            if all(graph.is_constant(one) for one in graph[number].inputs):
                graph.become(number, kind=CONSTANT, inputs=())
            _become_first(graph, number, _PATTERNS.get(graph[number].kind, ()))
    graph.outputs = [_source(graph, one) for one in graph.outputs]
    _pool_globally(graph)
    _unstack(graph)
    _fold_normalizations(graph, graph.num_readers())
    _fold_gates(graph, graph.num_readers())


Pattern = Callable[[OperatorGraph, int], bool]
"""Whether the operator of that number became what the pattern is."""


def _become_first(graph: OperatorGraph, number: int, patterns: tuple[Pattern, ...]) -> None:
    while any(pattern(graph, number) for pattern in patterns):
        patterns = _PATTERNS.get(graph[number].kind, ())


def _source(graph: OperatorGraph, number: int) -> int:
    """The first operator upwards that does more than hand on what it gets."""
    while graph[number].kind == PASSED:
        number = graph[number].inputs[0]
    return number


def _unscaled(graph: OperatorGraph, number: int, kinds: frozenset[str] = frozenset({PASSED, "scale"})) -> int:
    while graph[number].kind in kinds:
        number = graph[number].inputs[0]
    return number


def _is_activation(operator: Operator, *functions: str) -> bool:
    return operator.kind == "activation" and operator.attributes["function"] in functions


def _is_about(operator: Operator, number: float) -> bool:
    """Whether a scale, shift or power has that number, or one that is not known."""
    return operator.numbers is None or math.isclose(operator.numbers[0], number, rel_tol=_TOLERANCE)


def _both_ways(operator: Operator) -> Iterator[tuple[int, int]]:
    if len(operator.inputs) == 2:
        first, second = operator.inputs
        yield first, second
        yield second, first


def _activate(graph: OperatorGraph, number: int, source: int, function: str) -> bool:
    graph.become(
        number, kind="activation", inputs=(source,), attributes={"function": function}, numbers=None, axes=(), macs=0
    )
    return True


def _by_a_constant(kind: str, invert: Callable[[float], float] | None) -> Pattern:
    """An operator of two whose other side is a constant has one input: it shifts, scales or raises to a power."""

    def becomes(graph: OperatorGraph, number: int) -> bool:
        operator = graph[number]
        if len(operator.inputs) != 2:
            return False
        first, second = operator.inputs
        if graph.is_constant(second):
            source, constant = first, second
        elif graph.is_constant(first) and kind != "power":
            source, constant = second, first
        else:
            return False
        value = graph.scalar(constant)
        if operator.kind == "div" and source == second:  # a constant divided by it
            graph.become(number, kind="power", inputs=(source,), numbers=(-1.0,))
            return True
        known = None if value is None else (value if invert is None else invert(value))
        if kind == "scale" and known == 0.0:  # what it was scaled does not matter
            graph.become(number, kind=CONSTANT, inputs=(), numbers=(0.0,))
            return True
        graph.become(number, kind=kind, inputs=(source,), numbers=None if known is None else (known,))
        return True

    return becomes


def _power_of_itself(graph: OperatorGraph, number: int) -> bool:
    """x · x, and x · x²."""
    for one, other in _both_ways(graph[number]):
        if one == other:
            graph.become(number, kind="power", inputs=(one,), numbers=(2.0,))
            return True
        power = graph[other]
        if power.kind == "power" and power.inputs == (one,) and power.numbers == (2.0,):
            graph.become(number, kind="power", inputs=(one,), numbers=(3.0,))
            return True
    return False


def _power_of_a_power(graph: OperatorGraph, number: int) -> bool:
    """1 / √x, whichever comes first."""
    operator = graph[number]
    inner = graph[operator.inputs[0]]
    if inner.kind != "power" or operator.numbers is None or inner.numbers is None:
        return False
    graph.become(number, inputs=inner.inputs, numbers=(operator.numbers[0] * inner.numbers[0],))
    return True


def _gelu(graph: OperatorGraph, number: int) -> bool:
    """x · (1 + erf(x / √2)), and its approximation by tanh; Hendrycks & Gimpel (2016)."""
    for one, other in _both_ways(graph[number]):
        shift, source = graph[_unscaled(graph, one)], _unscaled(graph, other)
        if shift.kind != "shift" or not _is_about(shift, 1.0):
            continue
        inner = graph[_unscaled(graph, shift.inputs[0])]
        if inner.kind == "erf" and _unscaled(graph, inner.inputs[0]) == source:
            return _activate(graph, number, source, "gelu")
        if _is_activation(inner, "tanh") and _is_cubic(graph, _unscaled(graph, inner.inputs[0]), source):
            return _activate(graph, number, source, "gelu")
    return False


def _is_cubic(graph: OperatorGraph, number: int, source: int) -> bool:
    """x + c · x³."""
    operator = graph[number]
    for one, other in _both_ways(operator) if operator.kind == "add" else ():
        power = graph[_unscaled(graph, other)]
        is_third = power.kind == "power" and power.numbers == (3.0,)
        if is_third and _unscaled(graph, one) == source == _unscaled(graph, power.inputs[0]):
            return True
    return False


def _gated_by_itself(graph: OperatorGraph, number: int) -> bool:
    """x · f(x) for the functions that have a name together."""
    for one, other in _both_ways(graph[number]):
        gate = graph[_unscaled(graph, one)]
        if gate.kind != "activation":
            continue
        inner = gate.inputs[0]
        if _is_activation(gate, "relu6") and _is_shifted_by_three(graph, inner, other):
            return _activate(graph, number, other, "hard_swish")
        if _is_activation(gate, "tanh") and _is_activation(graph[inner], "softplus"):
            return graph[inner].inputs == (other,) and _activate(graph, number, other, "mish")
        if inner == other and gate.attributes["function"] in _NAMED_TOGETHER:
            return _activate(graph, number, other, _NAMED_TOGETHER[str(gate.attributes["function"])])
        if _is_activation(gate, "sigmoid") and _unscaled(graph, inner) == other:
            return _activate(graph, number, other, "quick_gelu")
    return False


_NAMED_TOGETHER = {"sigmoid": "silu", "hard_sigmoid": "hard_swish"}


def _is_shifted_by_three(graph: OperatorGraph, number: int, source: int) -> bool:
    shift = graph[number]
    return shift.kind == "shift" and shift.inputs == (source,) and _is_about(shift, 3.0)


def _hard_sigmoid(graph: OperatorGraph, number: int) -> bool:
    """relu6(x + 3) / 6."""
    inner = graph[graph[number].inputs[0]]
    if not _is_activation(inner, "relu6"):
        return False
    shift = graph[inner.inputs[0]]
    is_shifted = shift.kind == "shift" and _is_about(shift, 3.0) and _is_about(graph[number], 1 / 6)
    return is_shifted and _activate(graph, number, shift.inputs[0], "hard_sigmoid")


def _written_normalization(graph: OperatorGraph, number: int) -> bool:
    """(x - mean) / √(variance + ε), or the same without the mean."""
    operator = graph[number]
    pairs = _both_ways(operator) if operator.kind == "mul" else iter([operator.inputs])
    for numerator, denominator in pairs:
        root = graph[_unscaled(graph, denominator)]
        if root.kind != "power" or not _is_about(root, -0.5 if operator.kind == "mul" else 0.5):
            continue
        spread = graph[_unscaled(graph, root.inputs[0], _PASSING)]
        centred = _centred_on(graph, numerator)
        if spread.kind == "variance" and centred is not None and _source(graph, spread.inputs[0]) == centred:
            return _normalize(graph, number, centred, "layer_norm")
        square = graph[spread.inputs[0]] if spread.kind == "reduce_mean" else spread
        if spread.kind == "reduce_mean" and square.kind == "power" and _is_about(square, 2.0):
            about = square.inputs[0]
            if centred is not None and _centred_on(graph, about) == centred:
                return _normalize(graph, number, centred, "layer_norm")
            if about == numerator:
                return _normalize(graph, number, about, "rms_norm")
    return False


def _centred_on(graph: OperatorGraph, number: int) -> int | None:
    """x, if the operator is x - mean(x)."""
    operator = graph[number]
    if operator.kind != "sub" or len(operator.inputs) != 2:
        return None
    source, mean = operator.inputs
    return source if graph[mean].kind == "reduce_mean" and graph[mean].inputs == (source,) else None


def _normalize(graph: OperatorGraph, number: int, source: int, function: str) -> bool:
    graph.become(number, kind="normalization", inputs=(source,), attributes={"function": function}, numbers=None)
    return True


def _attention(graph: OperatorGraph, number: int) -> bool:
    """softmax(query · key, masked or not) · value; Vaswani et al. (2017)."""
    operator = graph[number]
    weights, value = operator.inputs
    softmax = graph[_unscaled(graph, weights, _PASSING)]
    if not _is_activation(softmax, "softmax"):
        return False
    product = graph[_unscaled(graph, softmax.inputs[0], _PASSING)]
    if product.kind == "add":
        sides = [_unscaled(graph, one, _PASSING) for one in product.inputs]
        product = next((graph[one] for one in sides if graph[one].kind == "matmul"), product)
    if product.kind != "matmul":
        return False
    macs = None if operator.macs is None or product.macs is None else operator.macs + product.macs
    inputs = tuple(_unscaled(graph, one) for one in (*product.inputs, value))
    attributes = heads_and_channels(operator.shape)
    graph.become(number, kind="attention", inputs=inputs, attributes=attributes, macs=macs)
    return True


def _added_stack(graph: OperatorGraph, number: int) -> bool:
    """The sum along the axis on which tensors were stacked adds them."""
    operator = graph[number]
    stack = graph[operator.inputs[0]]
    if stack.kind != "concat" or not stack.attributes["is_stack"] or stack.axes != operator.axes:
        return False
    graph.become(number, kind="add", inputs=stack.inputs, attributes={}, axes=())
    return True


def _pool_globally(graph: OperatorGraph) -> None:
    """A mean or maximum over all positions, wherever it is no part of something that has a name."""
    for number in sorted(graph.reached()):
        operator = graph[number]
        if operator.kind not in ("reduce_mean", "reduce_max"):
            continue
        rank = int(operator.attributes["rank"])
        is_global = operator.axes == tuple(range(2, rank)) if rank > 3 else rank == 3 and operator.axes in ((1,), (2,))
        if is_global:
            attributes: dict[str, AttributeValue] = {} if operator.kind == "reduce_mean" else {"function": "max"}
            graph.become(number, kind="global_pool", attributes=attributes, axes=())


def _only_part(graph: OperatorGraph, number: int) -> bool:
    """A join of one operator with constants joins nothing."""
    sources = [one for one in graph[number].inputs if not graph.is_constant(one)]
    if len(sources) != 1 or graph[number].attributes.get("is_stack"):  # a stack waits for the sum along its axis
        return False
    graph.become(number, kind=PASSED, inputs=(sources[0],), attributes={}, axes=(), numbers=None)
    return True


_PATTERNS: dict[str, tuple[Pattern, ...]] = {
    "add": (_by_a_constant("shift", None), _only_part),
    "sub": (_by_a_constant("shift", lambda value: -value),),
    "mul": (_by_a_constant("scale", None), _power_of_itself, _gelu, _gated_by_itself, _written_normalization),
    "div": (_by_a_constant("scale", lambda value: 1.0 / value if value else math.inf), _written_normalization),
    "pow": (_by_a_constant("power", None),),
    "power": (_power_of_a_power,),
    "scale": (_hard_sigmoid,),
    "matmul": (_attention,),
    "reduce_sum": (_added_stack,),
    "concat": (_only_part,),
    "where": (_only_part,),
    "maskedfill": (_only_part,),
}


def _unstack(graph: OperatorGraph) -> None:
    """A stack of one tensor is that tensor."""
    for number, operator in enumerate(graph.operators):
        if operator.kind == "concat":
            graph.become(number, attributes={**operator.attributes, "is_stack": False})
            _only_part(graph, number)


def _fold_normalizations(graph: OperatorGraph, readers: Counter[int]) -> None:
    """Batch normalisation right behind a weighted operator is part of it, as exporters have it."""
    for number, operator in enumerate(graph.operators):
        if operator.kind == "normalization" and operator.attributes["function"] == "batch_norm":
            source = operator.inputs[0]
            while readers[source] == 1 and graph[source].kind in _PASSING:
                source = graph[source].inputs[0]
            if graph[source].kind in _WEIGHTED and readers[source] == 1:
                graph.become(number, kind=PASSED, inputs=(source,), attributes={})


def _fold_gates(graph: OperatorGraph, readers: Counter[int]) -> None:
    """Squeeze and excitation (Hu et al., 2018) becomes `se` of the weighted operator that it gates."""
    for number, operator in enumerate(graph.operators):
        for gate, source in _both_ways(operator) if operator.kind == "mul" else ():
            inside = _excitation(graph, _plain(graph, gate), _plain(graph, source))
            gated = None if inside is None else _gated(graph, readers, _plain(graph, source))
            if inside is not None and gated is not None:
                own = graph[gated]
                params = own.params + sum(graph[one].params for one in inside)
                macs = own.macs and own.macs + sum(graph[one].macs or 0 for one in inside)
                graph.become(gated, attributes={**own.attributes, "se": True}, params=params, macs=macs)
                graph.become(number, kind=PASSED, inputs=(source,))
                break


def _plain(graph: OperatorGraph, number: int) -> int:
    return _unscaled(graph, number, _PASSING)


def _excitation(graph: OperatorGraph, gate: int, source: int) -> list[int] | None:
    """The two weighted operators between the pool of `source` and the gate; None if it is none."""
    if not _is_activation(graph[gate], *_GATES):
        return None
    weighted: list[int] = []
    place = _plain(graph, graph[gate].inputs[0])
    for kinds in (("conv", "linear"), ("activation",), ("conv", "linear")):
        if graph[place].kind not in kinds:
            return None
        if "activation" not in kinds:
            weighted.append(place)
        place = _plain(graph, graph[place].inputs[0])
    return weighted if graph[place].kind == "global_pool" and _plain(graph, graph[place].inputs[0]) == source else None


def _gated(graph: OperatorGraph, readers: Counter[int], source: int) -> int | None:
    """The weighted operator that makes the gated tensor, with nothing but an activation or normalisation between."""
    while graph[source].kind in ("activation", "normalization", *_PASSING):
        source = graph[source].inputs[0]
        if readers[source] != 1 and graph[source].kind not in _PASSING:
            return None
    return source if graph[source].kind in _WEIGHTED else None
