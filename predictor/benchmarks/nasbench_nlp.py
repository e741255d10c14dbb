"""NAS-Bench-NLP: recurrent cells on Penn Treebank (Klyuchnikov et al., IEEE Access 2022). Only 312 of its cells were
published with their recipe; those become graphs of the open `graph` space.

A recipe names for every node its operation and inputs; `x` is the token, `h_prev_i` and `h_new_i` the recurrent states
before and after. `blend` of (g, a, b) is g·a + (1 - g)·b and becomes exactly that, since its inputs are not interchangeable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np

from predictor.architecture import Architecture, Operation
from predictor.benchmarks.base import Benchmark, Contents, Measurements
from predictor.benchmarks.metrics import LOSS_NATS
from predictor.benchmarks.table import PublishedTable
from predictor.errors import BenchmarkError
from predictor.search_spaces.registry import search_space
from predictor.tasks import Task

_OPERATIONS = {
    "linear": Operation.of("linear"),
    "activation_sigm": Operation.of("activation", function="sigmoid"),
    "activation_tanh": Operation.of("activation", function="tanh"),
    "activation_leaky_relu": Operation.of("activation", function="leaky_relu"),
    "elementwise_sum": Operation.of("add"),
    "elementwise_prod": Operation.of("multiply"),
    "blend": Operation.of("add"),
}
_PRODUCT = Operation.of("multiply")
_COMPLEMENT = Operation.of("activation", function="one_minus")


class NASBenchNLP(Benchmark):
    """One task: the test loss of the cells whose recipes were published."""

    name = "nasbench_nlp_ptb"
    file_name = "nasbench_nlp_ptb.parquet"

    def _contents(self, table: PublishedTable) -> Iterable[Contents]:
        space = search_space("graph")
        recipes = table.texts("recipe_json")
        known = np.array([recipe is not None for recipe in recipes])
        loss = np.where(known, table.numbers("ptb_loss_nats"), np.nan)
        measurements = Measurements(
            Task(space.name, "penn_treebank", LOSS_NATS), loss, params=table.numbers("trainable_params_m") * 1e6
        )
        yield Contents(space, cache(lambda row: _notation(str(recipes[row]))), (measurements,))


def _notation(recipe: str) -> str:
    return json.dumps(recipe_to_graph(json.loads(recipe)).to_json(), separators=(",", ":"))


def recipe_to_graph(recipe: Mapping[str, Mapping[str, object]]) -> Architecture:
    """The cell of a recipe, without the nodes that no new state depends on.

    Raises:
        BenchmarkError: if a node has an unknown operation or input.
    """
    places: dict[str, int] = {}
    operations: list[Operation] = []
    edges: list[tuple[int, int]] = []

    def add(operation: Operation, *sources: int) -> int:
        operations.append(operation)
        edges.extend((source, len(operations) - 1) for source in sources)
        return len(operations) - 1

    def place(name: str) -> int:
        if name not in places:
            places[name] = add(_input(name)) if name not in recipe else node(name)
        return places[name]

    def node(name: str) -> int:
        kind, inputs = _checked(name, recipe[name])
        sources = [place(source) for source in inputs]
        if kind == "blend":
            gate, first, second = sources
            sources = [add(_PRODUCT, gate, first), add(_PRODUCT, add(_COMPLEMENT, gate), second)]
        return add(_OPERATIONS[kind], *sources)

    for name in sorted(name for name in recipe if name.startswith("h_new_")):
        add(Operation.of("output", state=int(name.removeprefix("h_new_"))), place(name))
    return Architecture.build(operations, edges)


def _input(name: str) -> Operation:
    if name == "x":
        return Operation.of("input", role="token")
    if name.startswith("h_prev_"):
        return Operation.of("input", role="state", state=int(name.removeprefix("h_prev_")))
    raise BenchmarkError(f"nasbench_nlp: expected x, h_prev_i or a node of the recipe as input, got {name!r}")


def _checked(name: str, node: Mapping[str, object]) -> tuple[str, list[str]]:
    kind, inputs = node.get("op"), node.get("input")
    if kind not in _OPERATIONS or not isinstance(inputs, list) or (kind == "blend" and len(inputs) != 3):
        raise BenchmarkError(
            f"nasbench_nlp: expected {name} to have an operation out of {', '.join(_OPERATIONS)} and its inputs, got {node}"
        )
    return str(kind), [str(source) for source in inputs]
