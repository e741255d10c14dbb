"""Architectures that are one chain of operations between an input and an output node."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import lru_cache

from predictor.architecture import Architecture, AttributeValue, Operation

_INPUT, _OUTPUT = Operation.of("input"), Operation.of("output")


def build_chain(
    operations: Iterable[Operation],
    genotype: str,
    global_attributes: Mapping[str, AttributeValue] | None = None,
) -> Architecture:
    """input -> operations in order -> output."""
    nodes = (_INPUT, *operations, _OUTPUT)
    return Architecture.build(nodes, _edges(len(nodes)), global_attributes, genotype)


@lru_cache(maxsize=256)
def _edges(num_nodes: int) -> tuple[tuple[int, int], ...]:
    """From every node to the next; architectures of one length share them."""
    return tuple((node, node + 1) for node in range(num_nodes - 1))


def read_chain(architecture: Architecture) -> tuple[Operation, ...] | None:
    """The operations between input and output in order; None if the graph is no such chain."""
    order = architecture.topological_order
    if len(order) < 2 or set(architecture.edges) != set(itertools.pairwise(order)):
        return None
    operations = tuple(architecture.operations[node] for node in order)
    return operations[1:-1] if (operations[0], operations[-1]) == (_INPUT, _OUTPUT) else None
