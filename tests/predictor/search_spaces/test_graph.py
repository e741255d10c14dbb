import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError, NotInSpaceError, SpaceTooLargeError, TooSymmetricError
from predictor.search_spaces.graph import GraphSpace
from predictor.search_spaces.graph_edits import MAX_NEIGHBOURS, every_edit

SPACE = GraphSpace()
DIAMOND: dict[str, Any] = {
    "nodes": [
        {"kind": "input"},
        {"kind": "conv", "attributes": {"kernel_size": 3, "channels": 64}},
        {"kind": "my_own_thing", "attributes": {"cleverness": 0.5, "kind": "very", "gated": True}},
        {"kind": "add"},
        {"kind": "output"},
    ],
    "edges": [[0, 1], [0, 2], [1, 3], [2, 3], [3, 4]],
    "attributes": {"resolution": 32, "params": 1000},
}


def chain(length: int, **attributes: object) -> dict[str, Any]:
    return {
        "nodes": [{"kind": "conv", "attributes": attributes}] * length,
        "edges": [list(pair) for pair in itertools.pairwise(range(length))],
    }


def test_isomorphic_documents_have_one_genotype() -> None:
    order = [4, 2, 0, 1, 3]
    place = {node: number for number, node in enumerate(order)}
    relabelled = {
        **DIAMOND,
        "nodes": [DIAMOND["nodes"][node] for node in order],
        "edges": [[place[a], place[b]] for a, b in reversed(DIAMOND["edges"])],
    }

    first, second = SPACE.parse(DIAMOND), SPACE.parse(json.dumps(relabelled))

    assert first == second
    assert first.genotype == second.genotype
    assert SPACE.parse(first.genotype or "").genotype == first.genotype


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"nodes": []}, "expected edges to be a list"),
        ({"nodes": [], "edges": []}, "expected at least one node, got none"),
        ({"nodes": [{"kind": "a"}], "edges": [[0, 0]]}, "expected no edge from a node to itself"),
        ({"nodes": [{"kind": "a"}], "edges": [[0, 1]]}, "expected edges between nodes 0 to 0"),
        ({"nodes": [{"kind": "a"}] * 2, "edges": [[0, 1], [1, 0]]}, "expected a graph without cycles"),
        ({"nodes": [{"kind": ""}], "edges": []}, "expected kind to be non-empty text"),
        ({"nodes": ["conv"], "edges": []}, "expected node 0 to be an object"),
        (chain(2001), "expected at most 2000 nodes, got 2001"),
        ({"nodes": [{"kind": "a"}], "edges": [[0, 1]] * 10_001}, "expected at most 10000 edges, got 10001"),
        (chain(1, **{f"a{n}": n for n in range(65)}), "expected at most 64 attributes, got 65"),
        (chain(1, text="x" * 257), "at most 256 characters"),
        (chain(1, text="a\0b"), "without NUL"),
        (chain(1, text="\ud800"), "without NUL"),
        (chain(1, rate=math.nan), "to be finite, got nan"),
        (chain(1, rate=math.inf), "to be finite, got inf"),
        (chain(1, size=10**5000), "at most 63 bits, got a whole number of 16610 bits"),
        (chain(1, size=[1]), "to be a number, text or a truth value"),
        (chain(1, **{"n" * 257: 1}), "expected names of at most 256 characters"),
        ({**chain(1), "attributes": {"resolution": "\0"}}, "global attributes: expected"),
        ('{"nodes": [{"kind": "a", "attributes": {"x": NaN}}], "edges": []}', "NaN, which is no JSON number"),
        ("[1, 2]", "expected a JSON object or its text, got list"),
        ("{", "expected the text of a JSON object"),
    ],
)
def test_a_document_that_is_no_graph_within_the_limits_is_refused(document: Any, complaint: str) -> None:
    with pytest.raises(NotationError, match=complaint):
        SPACE.parse(document)


def test_the_largest_graph_is_accepted_and_its_neighbours_are_bounded() -> None:
    architecture = SPACE.parse(chain(2000))

    assert architecture.num_nodes == 2000
    assert len(every_edit(architecture)) > MAX_NEIGHBOURS


def test_neighbours_are_bounded_and_differ() -> None:
    large = SPACE.parse(chain(60, kernel_size=3, channels=32))

    neighbours = SPACE.neighbours(large)

    assert len(neighbours) <= MAX_NEIGHBOURS
    assert len({n.hash for n in neighbours} - {large.hash}) == len(neighbours)


def test_neighbours_show_every_sort_of_edit() -> None:
    neighbours = SPACE.neighbours(SPACE.parse(DIAMOND))

    kinds = {op.kind for n in neighbours for op in n.operations}
    sizes = {n.num_nodes for n in neighbours}
    channels = {op.get("channels") for n in neighbours for op in n.operations}
    gated = {op.get("gated") for n in neighbours for op in n.operations if op.kind == "my_own_thing"}
    assert {"separable_conv", "concat"} <= kinds
    assert sizes == {4, 5, 6}
    assert {32, 64, 128} <= channels
    assert gated == {True, False}
    assert {len(n.edges) for n in neighbours if n.num_nodes == 5} >= {5, 6}


def test_a_changed_graph_forgets_its_parameters_but_not_its_resolution() -> None:
    for neighbour in SPACE.neighbours(SPACE.parse(DIAMOND)):
        assert dict(neighbour.global_attributes) == {"resolution": 32}


def test_crossover_of_an_architecture_with_itself_is_itself() -> None:
    own = SPACE.sample(np.random.default_rng(0))

    assert SPACE.crossover(own, own, np.random.default_rng(1)) == own


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_move_stays_in_the_space(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = SPACE.sample(rng), SPACE.parse(DIAMOND)

    moved = [first, SPACE.mutate(first, rng), SPACE.mutate(second, rng), SPACE.crossover(first, second, rng)]

    for architecture in moved:
        assert SPACE.parse(SPACE.format(architecture)) == architecture
        assert SPACE.format(architecture) == architecture.genotype
    assert moved[1] in SPACE.neighbours(first)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_samples_lead_from_one_input_to_one_output_without_loose_ends(seed: int) -> None:
    architecture = SPACE.sample(np.random.default_rng(seed))

    sources = [n for n, before in enumerate(architecture.predecessors) if not before]
    sinks = [n for n, after in enumerate(architecture.successors) if not after]
    assert [architecture.operations[n].kind for n in sources + sinks] == ["input", "output"]


def test_a_graph_too_symmetric_to_order_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(_: Architecture) -> Architecture:
        raise TooSymmetricError("expected fewer look-alike parts, got many")

    monkeypatch.setattr(Architecture, "canonical", give_up)

    with pytest.raises(NotationError, match="graph: expected fewer look-alike parts, got many"):
        SPACE.parse(DIAMOND)


def test_the_space_has_no_end() -> None:
    assert SPACE.size() is None
    with pytest.raises(SpaceTooLargeError, match="got the space of all graphs"):
        SPACE.enumerate()


def test_an_architecture_beyond_the_limits_cannot_be_written() -> None:
    too_large = Architecture((Operation.of("conv"),) * 2001, ())

    with pytest.raises(NotInSpaceError, match="expected at most 2000 nodes, got 2001"):
        SPACE.format(too_large)


def test_a_single_node_has_a_mutant() -> None:
    lone = SPACE.parse({"nodes": [{"kind": "conv"}], "edges": []})

    assert SPACE.mutate(lone, np.random.default_rng(0)) != lone
