"""ONNX nodes as operators.

Functions of the model are replaced by what they are made of. Shapes are followed through, so that what an exporter computes from
shapes at run time (the target of a reshape, the heads of attention) is known here. The first dimension of an input counts as one
example where it has a name instead of a number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from predictor.architecture import Architecture
from predictor.errors import FormatError
from predictor.formats.assembly import assembled
from predictor.formats.onnx_calls import Call, made_by
from predictor.formats.onnx_model import AttributeOf, Function, Node, OnnxModel, read_onnx_model
from predictor.formats.operators import OperatorGraph, Shape

_MAX_CALL_DEPTH = 16


def architecture_from_onnx(content: bytes | memoryview) -> Architecture:
    """The network in the bytes of an ONNX file, opsets 7 to 26.

    Raises:
        FormatError: if they are no ONNX model, or one with control flow, data in other files or more than can be taken.
        InvalidGraphError: if its operators are no acyclic graph.
    """
    return assembled(operators_of(read_onnx_model(content)))


def operators_of(model: OnnxModel) -> OperatorGraph:
    """What the model computes, step by step."""
    reader = _Reader(model)
    scope: Scope = {name: reader.graph.add_input(_of_one(shape)) for name, shape in model.inputs.items()}
    reader.read(model.nodes, scope, 0)
    reader.graph.outputs = [reader.value(name, scope, "an output of the graph") for name in model.outputs]
    return reader.graph


def _of_one(shape: Shape | None) -> Shape | None:
    return (1, *shape[1:]) if shape and shape[0] is None else shape


Scope = dict[str, int]
"""Operators by the names of their results."""


class _Reader:
    def __init__(self, model: OnnxModel) -> None:
        self.graph = OperatorGraph()
        self._model = model
        self._weights: dict[str, int] = {}

    def value(self, name: str, scope: Scope, reader: str) -> int:
        """The operator that makes a value; weights become operators when they are first read."""
        if name in scope:
            return scope[name]
        if name not in self._model.weights:
            raise FormatError(f"expected {reader} to read what comes before it, got the unknown name {name!r:.80}")
        if name not in self._weights:
            weight = self._model.weights[name]
            self._weights[name] = self.graph.add_constant(weight.shape, weight.numbers)
        return self._weights[name]

    def read(self, nodes: Sequence[Node], scope: Scope, depth: int) -> None:
        for node in nodes:
            sources = [self.value(name, scope, f"node {node.op_type!r:.80}") if name else None for name in node.inputs]
            function = self._model.functions.get((node.domain, node.op_type))
            made = (
                made_by(Call(self.graph, node, tuple(sources), self._model.opset))
                if function is None
                else self._called(function, node, sources, depth)
            )
            for name, number in zip(node.outputs, made, strict=False):
                if name in scope or name in self._model.weights:
                    raise FormatError(f"expected every name once, got {name!r:.80} from several nodes")
                if name:
                    self._complete(name, number)
                    scope[name] = number
            if len(made) < len(node.outputs):
                scope.update(dict.fromkeys(filter(None, node.outputs[len(made) :]), made[0]))

    def _complete(self, name: str, number: int) -> None:
        """What the file says of a shape that could not be followed."""
        if self.graph[number].shape is None and name in self._model.shapes:
            self.graph.become(number, shape=self._model.shapes[name])

    def _called(self, function: Function, node: Node, sources: list[int | None], depth: int) -> list[int]:
        if depth >= _MAX_CALL_DEPTH:
            raise FormatError(f"expected functions nested at most {_MAX_CALL_DEPTH} deep, got deeper ones")
        scope = {name: one for name, one in zip(function.inputs, sources, strict=False) if one is not None}
        given = {**function.defaults, **node.attributes}
        own = [_with_references(one, given) for one in function.nodes]
        self.read(own, scope, depth + 1)
        return [self.value(name, scope, f"function {node.op_type!r:.80}") for name in function.outputs]


def _with_references(node: Node, given: Mapping[str, AttributeOf]) -> Node:
    told = {name: given[reference] for name, reference in node.references.items() if reference in given}
    return replace(node, attributes={**node.attributes, **told}) if told else node
