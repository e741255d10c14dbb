"""NAS-Bench-101: matrix and operations, pruned and counted as the benchmark does."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest

from predictor.errors import NotationError, NotInSpaceError
from predictor.search_spaces.nasbench101 import CELLS_BY_VERTICES, NUM_CELLS, OPERATION_NAMES, NASBench101
from predictor.search_spaces.nasbench201 import NASBench201

SPACE = NASBench101()
CONV1, CONV3, POOL = OPERATION_NAMES
CHAIN = {"matrix": [[0, 1, 0], [0, 0, 1], [0, 0, 0]], "ops": ["input", CONV3, "output"]}


def test_json_text_and_object_are_the_same() -> None:
    assert SPACE.parse(json.dumps(CHAIN)).genotype == SPACE.parse(CHAIN).genotype


def test_the_genotype_is_compact_json() -> None:
    assert (
        SPACE.parse(CHAIN).genotype == '{"matrix":[[0,1,0],[0,0,1],[0,0,0]],"ops":["input","conv3x3-bn-relu","output"]}'
    )


def test_vertices_without_a_path_are_pruned() -> None:
    dead_ends = {
        "matrix": [[0, 1, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]],
        "ops": ["input", CONV3, POOL, CONV1, "output"],
    }

    assert SPACE.parse(dead_ends).genotype == SPACE.parse(CHAIN).genotype


def test_the_limit_on_edges_counts_what_is_left_after_pruning() -> None:
    matrix = np.triu(np.ones((7, 7), dtype=int), k=1)
    ops = ["input", *[CONV1] * 5, "output"]
    with pytest.raises(NotationError, match="expected at most 9 edges, got 21"):
        SPACE.parse({"matrix": matrix.tolist(), "ops": ops})

    matrix[4:6, 6] = 0  # 4 and 5 lead nowhere now
    matrix[2:4, 6] = 0
    assert SPACE.parse({"matrix": matrix.tolist(), "ops": ops}).num_nodes == 3


def test_a_cell_may_be_a_wire() -> None:
    assert SPACE.parse({"matrix": [[0, 1], [0, 0]], "ops": ["input", "output"]}).num_nodes == 2


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"matrix": [[0, 0, 0], [0, 0, 1], [0, 0, 0]]}, "expected a path from input to output"),
        ({"matrix": [[0, 1, 0], [1, 0, 1], [0, 0, 0]]}, "upper triangular matrix, got an edge from 1 to 0"),
        ({"matrix": [[1, 1, 0], [0, 0, 1], [0, 0, 0]]}, "upper triangular matrix, got an edge from 0 to 0"),
        ({"matrix": [[0, 2, 0], [0, 0, 1], [0, 0, 0]]}, r"matrix\[0\]\[1\]: expected 0 or 1, got 2"),
        ({"matrix": [[0, True, 0], [0, 0, 1], [0, 0, 0]]}, r"matrix\[0\]\[1\]: expected 0 or 1, got True"),
        ({"matrix": [[0, 1.0, 0], [0, 0, 1], [0, 0, 0]]}, r"matrix\[0\]\[1\]: expected 0 or 1, got 1.0"),
        ({"matrix": [[0, 1], [0, 0]]}, "expected matrix as a list of 3 rows, one an operation, got 2"),
        ({"matrix": [[0, 1, 0], [0, 1], [0, 0, 0]]}, r"expected matrix\[1\] as a list of 3 entries, got 2"),
        ({"matrix": "011"}, "expected matrix as a list of 3 rows, one an operation, got str"),
        ({"ops": ["input", "conv5x5", "output"]}, r"ops\[1\]: expected conv1x1-bn-relu or .*, got 'conv5x5'"),
        ({"ops": [CONV1, CONV1, "output"]}, r"ops\[0\]: expected input, got"),
        ({"ops": ["input", "output", "output"]}, r"ops\[1\]: expected conv1x1-bn-relu or .*, got 'output'"),
        ({"ops": ["input"] * 8}, "expected 2 to 7 operations, got 8"),
        ({"operations": []}, "expected an object with the keys matrix, ops, got"),
    ],
)
def test_a_wrong_cell_is_told_what_is_wrong(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(NotationError, match=complaint):
        SPACE.parse({**CHAIN, **changes})


def test_isomorphic_cells_are_equal() -> None:
    first = {"matrix": [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0] * 4], "ops": ["input", CONV1, POOL, "output"]}
    second = {**first, "ops": ["input", POOL, CONV1, "output"]}

    assert SPACE.parse(first) == SPACE.parse(second)


def test_there_are_as_many_small_cells_as_the_benchmark_counts() -> None:
    assert sum(CELLS_BY_VERTICES) == NUM_CELLS == SPACE.size()
    assert [len(all_hashes(num_vertices)) for num_vertices in (2, 3, 4)] == [1, 6, 84]
    assert list(CELLS_BY_VERTICES[:3]) == [1, 6, 84]


def test_neighbours_of_a_chain_are_exactly_its_single_edits() -> None:
    neighbours = SPACE.neighbours(SPACE.parse(CHAIN))

    other_operation = 2
    edge_flipped = 1  # input to output; taking one of the two edges out leaves no path
    vertex_taken_out = 0  # the cell would be unconnected
    vertex_put_in_series = 2 * 3  # beside the edge that stays: input to conv, conv to output
    vertex_in_parallel = 3
    assert len(neighbours) == (
        other_operation + edge_flipped + vertex_taken_out + vertex_put_in_series + vertex_in_parallel
    )


def test_samples_are_as_large_as_most_cells_are() -> None:
    rng = np.random.default_rng(0)
    sizes = [SPACE.sample(rng).num_nodes for _ in range(200)]

    assert sizes.count(7) > 140  # 85% of all cells
    assert sizes.count(6) > 10


def test_a_graph_with_too_many_edges_or_another_operation_is_refused() -> None:
    pooled = NASBench201().parse("|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|")

    with pytest.raises(NotInSpaceError, match="got a graph of 3 nodes and 2 edges that is none"):
        SPACE.format(pooled)


@pytest.mark.parametrize("table", ["nb101_cifar10_30k", "ecnas_nb101_4v5v_energy"])
def test_every_published_cell_is_read_and_told_apart_as_the_benchmark_does(table: str, published_rows: Any) -> None:
    hashes: dict[str, set[str]] = {}
    for row in published_rows(table, "adjacency_json", "ops_json", "module_hash"):
        matrix, ops = json.loads(row["adjacency_json"]), json.loads(row["ops_json"])
        architecture = SPACE.parse({"matrix": matrix, "ops": ops})
        assert SPACE.format(architecture) == json.dumps({"matrix": matrix, "ops": ops}, separators=(",", ":"))
        hashes.setdefault(row["module_hash"], set()).add(architecture.hash)

    assert all(len(own) == 1 for own in hashes.values())
    assert len(set.union(*hashes.values())) == len(hashes)


def all_hashes(num_vertices: int) -> set[str]:
    """Of the cells of exactly so many vertices."""
    places = list(itertools.combinations(range(num_vertices), 2))
    found = set()
    for present in itertools.product((0, 1), repeat=len(places)):
        matrix = np.zeros((num_vertices, num_vertices), dtype=int)
        for (source, target), value in zip(places, present, strict=True):
            matrix[source, target] = value
        for middle in itertools.product(OPERATION_NAMES, repeat=num_vertices - 2):
            try:
                architecture = SPACE.parse({"matrix": matrix.tolist(), "ops": ["input", *middle, "output"]})
            except NotationError:
                continue
            if architecture.num_nodes == num_vertices:
                found.add(architecture.hash)
    return found
