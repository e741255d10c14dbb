from __future__ import annotations

import itertools

import numpy as np
import pytest

from predictor.canonical_order import _Part, _ranked, _Search, _signatures, canonical_order
from predictor.wiring import wiring


def searched(kinds, predecessors, successors, order):
    """The canonical order without its short cuts."""
    part, search = _Part(dict(enumerate(predecessors)), dict(enumerate(successors))), _Search(len(kinds))
    colors = _ranked(dict(enumerate(_signatures(kinds, predecessors, successors, order))))
    return search.solved(part, search.refined(part, colors), first_only=False, depth=0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_short_cuts_find_the_order_that_the_search_finds(share) -> None:
    rng = np.random.default_rng(0)
    for num_nodes in (1, 2, 5, 9):
        names = rng.permutation(num_nodes)
        pairs = itertools.combinations(range(num_nodes), 2)
        kept = [(s, t) for s, t in pairs if t == s + 1 or rng.random() < share]
        one = wiring(num_nodes, tuple((int(names[s]), int(names[t])) for s, t in kept))
        arguments = (["a"] * num_nodes, one.predecessors, one.successors, one.topological_order)

        assert canonical_order(*arguments) == searched(*arguments)


def test_nodes_that_differ_in_kind_alone_are_told_apart_without_a_search() -> None:
    one = wiring(4, ((0, 1), (0, 2), (1, 3), (2, 3)))
    arguments = (["a", "c", "b", "a"], one.predecessors, one.successors, one.topological_order)

    assert canonical_order(*arguments) == searched(*arguments) == (0, 2, 1, 3)
