"""NAS-Bench-Macro: eight digits, eight layers."""

from __future__ import annotations

from typing import Any

import pytest

from predictor.errors import NotationError
from predictor.search_spaces.nasbench_macro import NASBenchMacro

SPACE = NASBenchMacro()


def test_digits_are_layers_in_a_chain() -> None:
    architecture = SPACE.parse("01201201")
    layers = architecture.operations[1:-1]

    assert [layer.kind for layer in layers] == [
        "conv",  # the benchmark's identity where the shape changes: a strided 1x1 convolution
        "mbconv",
        "mbconv",
        "identity",
        "mbconv",
        "mbconv",
        "identity",
        "mbconv",
    ]
    assert [layer.get("channels") for layer in layers] == [64, 64, 128, 128, 128, 256, 256, 256]
    assert [layer.get("stride") for layer in layers] == [2, 1, 2, 1, 1, 2, 1, 1]
    assert [layers[1].get("kernel_size"), layers[1].get("expansion")] == [3, 3]
    assert [layers[2].get("kernel_size"), layers[2].get("expansion")] == [5, 6]
    assert architecture.edges == tuple((node, node + 1) for node in range(9))


def test_no_two_networks_are_equal() -> None:
    assert len({architecture.hash for architecture in SPACE.enumerate()}) == 6_561


@pytest.mark.parametrize(
    "notation", ["0120120", "012012012", "01201203", "0120120x", "0 1 2 0 1 2 0 1", "0120120\u0661"]
)
def test_a_wrong_code_is_told_what_is_expected(notation: str) -> None:
    with pytest.raises(NotationError, match="expected 8 digits 0, 1 or 2, one a layer, got '"):
        SPACE.parse(notation)


def test_a_number_is_no_code() -> None:
    with pytest.raises(NotationError, match="got int 1201201"):
        SPACE.parse(1201201)  # type: ignore[arg-type]


def test_every_published_code_is_read_and_written_as_it_is(published_rows: Any) -> None:
    codes = [row["arch"] for row in published_rows("nasbench_macro", "arch")]

    assert len(set(codes)) == SPACE.size()
    assert all(SPACE.parse(code).genotype == code for code in codes)
