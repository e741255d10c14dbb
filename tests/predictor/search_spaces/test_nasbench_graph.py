"""NAS-Bench-Graph: links, operations, and which writings are the same network."""

from __future__ import annotations

from typing import Any

import pytest

from predictor.errors import NotationError
from predictor.search_spaces.nasbench_graph import NASBenchGraph

SPACE = NASBenchGraph()


def test_leaves_are_joined_before_the_output() -> None:
    architecture = SPACE.parse("0112|gcn-gin-fc-cheb")  # 1 feeds 2 and 3, 2 feeds 4

    assert [operation.kind for operation in architecture.operations] == [
        "input",
        "graph_conv",
        "graph_conv",
        "linear",
        "graph_conv",
        "concat",
        "output",
    ]
    assert sorted(architecture.edges) == [(0, 1), (1, 2), (1, 3), (2, 4), (3, 5), (4, 5), (5, 6)]


def test_a_single_leaf_needs_no_join() -> None:
    architecture = SPACE.parse("0123|gcn-gin-fc-cheb")

    assert architecture.edges == ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))


@pytest.mark.parametrize(
    ("written", "genotype"),
    [
        ("0121|gcn-gin-fc-cheb", "0112|gcn-gin-cheb-fc"),  # another numbering
        ("0000|fc-gat-gin-gcn", "0000|gat-gcn-gin-fc"),  # equal places, sorted
        ("0012|gcn-gat-gin-fc", "0012|gat-gcn-fc-gin"),  # branches swap whole
        ("0123|gcn-skip-gin-fc", "0123|skip-gcn-gin-fc"),  # a skip on the way changes nothing
        ("0123|gcn-gin-fc-skip", "0123|skip-gcn-gin-fc"),  # nor does one at the end
        ("0000|gcn-skip-gin-fc", "0111|skip-gcn-gin-fc"),  # the raw input is not joined
        ("0111|gcn-gin-skip-fc", "0111|gcn-gin-fc-skip"),  # a shortcut from a node to the output stays
        ("0122|gcn-skip-gin-fc", "0122|skip-gcn-gin-fc"),  # operations behind a skip are siblings
    ],
)
def test_writings_of_the_same_network_are_one_genotype(written: str, genotype: str) -> None:
    assert SPACE.parse(written).genotype == genotype


def test_json_is_read_too() -> None:
    notation = {"link": [0, 1, 1, 2], "ops": ["gcn", "gin", "fc", "cheb"]}

    assert SPACE.parse(notation).genotype == "0112|gcn-gin-fc-cheb"


def test_different_networks_are_different_graphs() -> None:
    listed = list(SPACE.enumerate())

    assert len({architecture.hash for architecture in listed}) == len(listed) == SPACE.size() == 26_206


@pytest.mark.parametrize(
    ("notation", "complaint"),
    [
        ("0112|gcn-gin-fc", "expected four operations out of gat, .*, skip, got \\['gcn', 'gin', 'fc'\\]"),
        ("0112|gcn-gin-fc-gcn2", "expected text such as"),
        ("0112|gcn-gin-fc-lstm", "expected four operations out of gat"),
        ("0212|gcn-gin-fc-cheb", "expected a link of four digits, the i-th a node from 0 to i-1"),
        ("1112|gcn-gin-fc-cheb", "expected a link of four digits"),
        ("011|gcn-gin-fc-cheb", "expected text such as"),
        ("0112 gcn-gin-fc-cheb", "expected text such as"),
        ("0123|skip-skip-skip-skip", "expected a buildable architecture"),
        ({"link": [0, 1, 1, 2.0], "ops": ["gcn"] * 4}, "expected a link of four digits"),
        ({"link": [0, True, 1, 2], "ops": ["gcn"] * 4}, "expected a link of four digits"),
        ({"link": [0, 1, 1, 2], "ops": ["gcn", [], "gcn", "gcn"]}, "expected four operations"),
        ({"link": [0, 1, 1, 2]}, "expected an object with the keys link, ops"),
    ],
)
def test_a_wrong_notation_is_told_what_is_wrong(notation: Any, complaint: str) -> None:
    with pytest.raises(NotationError, match=complaint):
        SPACE.parse(notation)


def test_the_published_networks_are_exactly_this_space(published_rows: Any) -> None:
    published = {f"{row['link']}|{row['ops']}" for row in published_rows("nasbench_graph", "link", "ops")}

    assert published == {architecture.genotype for architecture in SPACE.enumerate()}
    assert all(SPACE.parse(notation).genotype == notation for notation in published)
