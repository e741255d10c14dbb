"""DARTS: the published genotypes, and the graph of both cells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from predictor.errors import NotationError
from predictor.search_spaces.darts import Darts

SPACE = Darts()
NORMAL = [
    ("sep_conv_3x3", 0),
    ("sep_conv_3x3", 1),
    ("sep_conv_3x3", 0),
    ("sep_conv_3x3", 1),
    ("sep_conv_3x3", 1),
    ("skip_connect", 0),
    ("skip_connect", 0),
    ("dil_conv_3x3", 2),
]
REDUCE = [
    ("max_pool_3x3", 0),
    ("max_pool_3x3", 1),
    ("skip_connect", 2),
    ("max_pool_3x3", 1),
    ("max_pool_3x3", 0),
    ("skip_connect", 2),
    ("skip_connect", 2),
    ("max_pool_3x3", 1),
]
DARTS_V2 = f"Genotype(normal={NORMAL!r}, normal_concat=range(2, 6), reduce={REDUCE!r}, reduce_concat=range(2, 6))"


def genotype(**fields: Any) -> str:
    values = {
        "normal": NORMAL,
        "normal_concat": range(2, 6),
        "reduce": REDUCE,
        "reduce_concat": range(2, 6),
        **fields,
    }
    return f"Genotype({', '.join(f'{name}={value!r}' for name, value in values.items())})"


def test_text_with_a_range_or_a_list_and_json_are_the_same() -> None:
    expected = SPACE.parse(DARTS_V2).genotype
    fields = {"normal": NORMAL, "reduce": REDUCE}

    assert SPACE.parse(genotype(normal_concat=[2, 3, 4, 5])).genotype == expected
    assert SPACE.parse(fields).genotype == expected
    assert SPACE.parse(json.dumps(fields)).genotype == expected
    assert SPACE.parse({**fields, "normal_concat": [2, 3, 4, 5]}).genotype == expected


def test_blanks_and_line_breaks_do_not_matter() -> None:
    assert SPACE.parse("\n  " + DARTS_V2.replace(", ", ",\n    ")) == SPACE.parse(DARTS_V2)


def test_the_order_of_a_nodes_two_inputs_does_not_matter() -> None:
    swapped = [NORMAL[1], NORMAL[0], *NORMAL[2:]]

    assert SPACE.parse(genotype(normal=swapped)).genotype == SPACE.parse(DARTS_V2).genotype


def test_interchangeable_nodes_give_equal_graphs() -> None:
    pairs = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("dil_conv_5x5", 0), ("skip_connect", 1)]
    rest = [("max_pool_3x3", 0), ("max_pool_3x3", 1), ("avg_pool_3x3", 0), ("avg_pool_3x3", 1)]

    assert SPACE.parse(genotype(normal=[*pairs, *rest])) == SPACE.parse(
        genotype(normal=[*pairs[2:], *pairs[:2], *rest])
    )


def test_swapped_cells_are_another_architecture() -> None:
    assert SPACE.parse(genotype(normal=REDUCE, reduce=NORMAL)) != SPACE.parse(DARTS_V2)


def test_both_cells_are_in_one_graph_and_say_so() -> None:
    operations = SPACE.parse(DARTS_V2).operations
    cells = [operation.get("cell") for operation in operations]

    assert len(operations) == 32
    assert cells.count("normal") == cells.count("reduction") == 15
    assert cells.count(None) == 2  # input and output


def test_only_operations_on_a_reduction_cells_inputs_have_stride_two() -> None:
    operations = SPACE.parse(DARTS_V2).operations
    strided = [operation for operation in operations if operation.get("stride") == 2]

    assert len(strided) == sum(source < 2 for _, source in REDUCE)
    assert {operation.get("cell") for operation in strided} == {"reduction"}


def test_there_are_about_ten_to_the_eighteen() -> None:
    pairs_of_inputs = 1 * 3 * 6 * 10

    assert SPACE.size() == (pairs_of_inputs * 7**8) ** 2


@pytest.mark.parametrize(
    ("notation", "complaint"),
    [
        (genotype(normal=[("none", 0), *NORMAL[1:]]), "expected node 2 of normal to have pairs .* got \\('none', 0\\)"),
        (genotype(normal=[("sep_conv_3x3", 2), *NORMAL[1:]]), "with an input 0 to 1 .* got \\('sep_conv_3x3', 2\\)"),
        (genotype(normal=[("sep_conv_3x3", True), *NORMAL[1:]]), "got \\('sep_conv_3x3', True\\)"),
        (genotype(normal=[NORMAL[0], *NORMAL[:7]]), "expected node 2 of normal to have two different inputs, got 0"),
        (genotype(reduce=REDUCE[:6]), "expected reduce as a list of 8 pairs, got 6 entries"),
        (genotype(reduce="sep_conv_3x3"), "expected reduce as a list of 8 pairs, got str"),
        (genotype(normal_concat=range(3, 6)), "expected normal_concat to be the nodes 2, 3, 4, 5, got"),
        (genotype(normal_concat=range(10**12)), "expected text Genotype"),
        (genotype(extra=1), "expected an object with the keys normal, reduce"),
        ("Genotype(normal=[], normal=[])", "expected text Genotype"),
        ("Genotype([], [], [], [])", "expected text Genotype"),
        ("Genotype(normal=__import__('os').listdir(), reduce=[])", "expected text Genotype"),
        ("Other" + DARTS_V2, "expected text Genotype"),
        (DARTS_V2 + "; 1", "expected text Genotype"),
        ({"normal": NORMAL}, "expected an object with the keys normal, reduce"),
    ],
)
def test_a_wrong_genotype_is_told_what_is_wrong(notation: Any, complaint: str) -> None:
    with pytest.raises(NotationError, match=complaint):
        SPACE.parse(notation)
