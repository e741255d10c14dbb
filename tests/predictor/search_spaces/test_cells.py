from __future__ import annotations

import numpy as np
import pytest

from predictor.errors import NotInSpaceError
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.cells import CellSpace
from predictor.search_spaces.darts import OPERATION_NAMES as DARTS_OPERATIONS
from predictor.search_spaces.registry import built_in_search_spaces, search_space

OF_CELLS = [space for space in built_in_search_spaces().values() if isinstance(space, CellSpace)]


def cells_of(space: SearchSpace) -> CellSpace:
    assert isinstance(space, CellSpace)
    return space


def test_the_spaces_of_cells_are_these() -> None:
    assert {space.name for space in OF_CELLS} == {"darts", "nasbench201", "transnas_micro"}


@pytest.mark.parametrize("space", OF_CELLS, ids=lambda space: space.name)
def test_a_selection_and_its_architecture_tell_the_same(space) -> None:
    rng = np.random.default_rng(0)

    for _ in range(20):
        architecture = space.sample(rng)
        assert space.selected(space.selection_of(architecture)) == architecture
        assert space.format(space.selected(space.selection_of(architecture))) == architecture.genotype


def test_a_darts_cell_has_fourteen_edges_and_the_eight_published_operations() -> None:
    normal, reduction = cells_of(search_space("darts")).cells

    assert [len(normal.edges), len(reduction.edges)] == [14, 14]
    assert [one.name for one in normal.candidates] == ["none", *DARTS_OPERATIONS]
    assert [normal.stride, reduction.stride] == [1, 2]
    assert normal.incoming == ((0, 1), (2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12, 13))


def test_a_nasbench201_cell_has_six_edges_and_five_operations() -> None:
    (cell,) = cells_of(search_space("nasbench201")).cells

    assert cell.edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    assert [one.name for one in cell.candidates if one.is_skip] == ["skip_connect"]
    assert cell.passing == (1, 2, 3, 4)


def test_a_selection_that_no_architecture_has_is_refused() -> None:
    with pytest.raises(NotInSpaceError, match="on each of 6 edges"):
        cells_of(search_space("nasbench201")).selected((((0, 1), (1, 1)),))
    one_edge_a_node = tuple((edges[0], 1) for edges in ((0, 1), (2, 3, 4), (5,), (9,)))
    with pytest.raises(NotInSpaceError, match="to keep two edges"):
        cells_of(search_space("darts")).selected((one_edge_a_node, one_edge_a_node))
