"""NAS-Bench-201: the benchmark's strings, and what of a cell counts."""

from __future__ import annotations

from typing import Any

import pytest

from predictor.errors import NotationError, NotInSpaceError
from predictor.search_spaces.nasbench101 import NASBench101
from predictor.search_spaces.nasbench201 import NASBench201

SPACE = NASBench201()
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def test_operations_become_nodes() -> None:
    architecture = SPACE.parse(BEST)

    assert [operation.kind for operation in architecture.operations].count("conv") == 5
    assert [operation.kind for operation in architecture.operations].count("identity") == 1
    assert architecture.num_nodes == 8


def test_an_operation_without_effect_makes_no_difference() -> None:
    with_dead_end = SPACE.parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    without = SPACE.parse("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")

    assert with_dead_end == without
    assert with_dead_end.genotype != without.genotype


def test_a_cell_of_nones_has_no_path() -> None:
    architecture = SPACE.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")

    assert [operation.kind for operation in architecture.operations] == ["input", "output"]
    assert architecture.edges == ()


def test_operations_of_a_group_may_come_in_any_order() -> None:
    swapped = SPACE.parse(
        "|nor_conv_3x3~0|+|nor_conv_3x3~1|nor_conv_3x3~0|+|nor_conv_3x3~2|nor_conv_3x3~1|skip_connect~0|"
    )

    assert swapped.genotype == BEST


@pytest.mark.parametrize(
    ("notation", "complaint"),
    [
        (BEST.replace("nor_conv_3x3", "nor_conv_5x5"), "expected 'operation~node' with one of none"),
        (BEST[: BEST.rindex("+")], "expected three groups"),
        (BEST.replace("~2", "~3"), "expected each node 0 to 2 once in group 3"),
        (BEST.replace("~2", "~1"), "expected each node 0 to 2 once in group 3"),
        (BEST.replace("|nor_conv_3x3~2|", "|"), "expected 3 operations in group 3"),
        ({"cell": BEST}, "expected a cell string, got dict"),
    ],
)
def test_a_wrong_string_is_told_what_is_wrong(notation: Any, complaint: str) -> None:
    with pytest.raises(NotationError, match=complaint):
        SPACE.parse(notation)


def test_a_cell_of_another_space_is_refused() -> None:
    pooled = NASBench101().parse(
        {"matrix": [[0, 1, 0], [0, 0, 1], [0, 0, 0]], "ops": ["input", "maxpool3x3", "output"]}
    )

    with pytest.raises(NotInSpaceError, match="got a graph of 3 nodes"):
        SPACE.format(pooled)


def test_every_published_string_is_read_and_written_as_it_is(published_rows: Any) -> None:
    for row in published_rows("nb201_accuracy", "arch_str"):
        assert SPACE.parse(row["arch_str"]).genotype == row["arch_str"]
