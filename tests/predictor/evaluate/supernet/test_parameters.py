from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from predictor.evaluate.supernet.parameters import ArchitectureParameters, skip_share, strongest
from predictor.evaluate.supernet.stack import cell_space
from predictor.search_spaces.registry import search_space

DARTS = cell_space(search_space("darts"))
CELLS = cell_space(search_space("nasbench201"))
NONE, MAX_POOL, SKIP, SEPARABLE = 0, 1, 3, 4


def parameters_of(*tensors: Tensor, normalises_edges: bool = False, space=DARTS) -> ArchitectureParameters:
    return ArchitectureParameters(space.cells, normalises_edges, tensors)


def test_the_two_strongest_predecessors_are_kept_and_none_never_is() -> None:
    normal = torch.zeros(14, 8)
    normal[:, NONE] = 5.0  # the strongest everywhere, and never taken
    normal[2, SKIP], normal[4, SEPARABLE] = 2.0, 3.0  # node 3: from nodes 0 and 2
    normal[9, MAX_POOL], normal[12, SKIP] = 1.0, 2.0  # node 5: from nodes 0 and 3
    reduction = torch.zeros(14, 8)
    reduction[:, SKIP] = 1.0

    selection = parameters_of(normal, reduction).selection()

    assert selection[0] == (
        (0, MAX_POOL), (1, MAX_POOL), (2, SKIP), (4, SEPARABLE), (5, MAX_POOL), (6, MAX_POOL), (9, MAX_POOL), (12, SKIP),
    )  # fmt: skip
    assert selection[1] == tuple((edge, SKIP) for edge in (0, 1, 2, 3, 5, 6, 9, 10))
    assert DARTS.selected(selection).genotype == (
        "Genotype(normal=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 2), "
        "('max_pool_3x3', 0), ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 3)], "
        "normal_concat=range(2, 6), reduce=[('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), "
        "('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), ('skip_connect', 1)], "
        "reduce_concat=range(2, 6))"
    )
    assert skip_share(DARTS.cells, selection) == pytest.approx(10 / 16)


def test_an_edge_counts_by_its_passing_candidate_and_not_by_what_none_leaves_over() -> None:
    normal = torch.zeros(14, 8)
    normal[2, SKIP] = 4.0
    normal[2, NONE] = 6.0  # the same edge passes less than the others now
    selection = parameters_of(normal, torch.zeros(14, 8)).selection()

    assert [edge for edge, _ in selection[0]] == [0, 1, 3, 4, 5, 6, 9, 10]


def test_where_every_edge_has_a_candidate_none_may_be_it() -> None:
    parameters = torch.zeros(6, 5)
    parameters[range(6), [0, 1, 2, 3, 4, 0]] = 1.0

    selection = parameters_of(parameters, space=CELLS).selection()

    assert (
        CELLS.selected(selection).genotype
        == "|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|"
    )
    assert skip_share(CELLS.cells, selection) == pytest.approx(1 / 6)


def test_edge_weights_add_up_to_one_at_every_node_and_choose_between_edges() -> None:
    edges = torch.zeros(14)
    edges[4] = edges[13] = 1.0
    parameters = parameters_of(torch.zeros(14, 8), torch.zeros(14, 8), edges, torch.zeros(14), normalises_edges=True)

    normal, reduction = parameters.mixtures()
    sums = [float(normal.edges[list(incoming)].sum()) for incoming in DARTS.cells[0].incoming]

    assert sums == pytest.approx([1.0] * 4)
    assert float(normal.edges[4]) == pytest.approx(math.e / (math.e + 2.0))
    assert [edge for edge, _ in strongest(DARTS.cells[0], normal)] == [0, 1, 2, 4, 5, 6, 9, 13]
    assert [edge for edge, _ in strongest(DARTS.cells[1], reduction)] == [0, 1, 2, 3, 5, 6, 9, 10]


def test_initial_parameters_are_near_zero_and_the_generators() -> None:
    first, again = (
        ArchitectureParameters.initial(DARTS.cells, True, torch.Generator().manual_seed(1)) for _ in range(2)
    )

    assert [tuple(one.shape) for one in first.tensors] == [(14, 8), (14, 8), (14,), (14,)]
    assert all(torch.equal(one, other) for one, other in zip(first.tensors, again.tensors, strict=True))
    assert all(0.0 < float(one.detach().abs().max()) < 0.01 and one.requires_grad for one in first.tensors)
