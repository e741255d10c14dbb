"""TransNAS-Bench-101 micro: cells under one macro skeleton."""

from __future__ import annotations

from typing import Any

import pytest

from predictor.errors import NotationError, NotInSpaceError
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.search_spaces.transnas_micro import TransNASMicro

SPACE = TransNASMicro()


def test_digits_are_none_skip_conv1x1_and_conv3x3() -> None:
    architecture = SPACE.parse("64-41414-3_02_100")

    assert architecture == NASBench201().parse(
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|none~2|"
    )
    assert [operation.kind for operation in architecture.operations] == ["input", "identity", "output"]


def test_each_digit_is_one_edge() -> None:
    architecture = SPACE.parse("64-41414-1_02_333")
    kernels = sorted(str(operation.get("kernel_size")) for operation in architecture.operations)

    assert kernels == ["1", "3", "3", "3", "None", "None", "None"]  # 02: nothing from node 0, a 1x1 from node 1


@pytest.mark.parametrize(
    "notation",
    [
        "64-41414-1_02_334",
        "64-41414-1_02_33",
        "64-41414-1_02_3333",
        "64-41414-102333",
        "64-4141-1_02_333",
        "128-41414-1_02_333",
        "1_02_333",
        "64-41414-1_02_33\u0663",
    ],
)
def test_a_wrong_code_is_told_what_is_expected(notation: str) -> None:
    with pytest.raises(NotationError, match=r"expected text such as '64-41414-1_02_333' with six digits 0 to 3, got '"):
        SPACE.parse(notation)


def test_a_cell_with_pooling_is_not_in_the_space() -> None:
    pooled = NASBench201().parse("|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|")

    with pytest.raises(NotInSpaceError, match="expected an architecture of this space"):
        SPACE.format(pooled)


def test_a_genotype_of_nasbench201_is_written_as_a_code() -> None:
    cell = NASBench201().parse("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")

    assert SPACE.format(cell) == "64-41414-0_00_300"


def test_every_published_code_is_read_and_written_as_it_is(published_rows: Any) -> None:
    codes = [row["arch_str"] for row in published_rows("transnas_micro", "arch_str")]

    assert len(set(codes)) == SPACE.size() == 4_096
    assert all(SPACE.parse(code).genotype == code for code in codes)
