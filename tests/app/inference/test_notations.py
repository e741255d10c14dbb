"""Architectures in whatever form a request writes them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from app.errors import InvalidContentError
from app.inference import built_in_search_spaces, parse_architecture, parse_many, referenced_ids, sampled, search_space

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
SPACE = search_space("nasbench201")


def test_every_built_in_space_reads_its_own_example() -> None:
    for summary in built_in_search_spaces():
        parsed = parse_architecture(search_space(summary.name), summary.example)

        assert len(parsed.id) == 32
        assert parsed.genotype == summary.example


def test_a_dag_with_its_nodes_shuffled_is_the_same_architecture() -> None:
    parsed = parse_architecture(SPACE, CELL)
    order = list(range(len(parsed.graph["nodes"])))
    random.Random(1).shuffle(order)
    place = {node: position for position, node in enumerate(order)}
    shuffled = {
        "nodes": [parsed.graph["nodes"][node] for node in order],
        "edges": [[place[source], place[target]] for source, target in parsed.graph["edges"]],
    }

    assert parse_architecture(SPACE, shuffled).id == parsed.id


def test_an_id_stands_for_the_stored_architecture() -> None:
    parsed = parse_architecture(SPACE, CELL)

    again = parse_architecture(SPACE, {"id": parsed.id}, {parsed.id: parsed.architecture})

    assert (again.id, again.genotype) == (parsed.id, parsed.genotype)


def test_ids_are_found_among_notations() -> None:
    assert referenced_ids([CELL, {"id": "0" * 32}, {"id": 7}, {"id": "0" * 32, "k": 1}, ["id"]]) == {"0" * 32}


@pytest.mark.parametrize("notation", [None, 7, True, "", "|conv~0|", [], {}, {"nodes": [], "edges": []}, {"id": "x"}])
def test_what_is_no_architecture_is_refused_with_what_was_expected(notation: Any) -> None:
    with pytest.raises(InvalidContentError, match="expected"):
        parse_architecture(SPACE, notation)


def test_an_architecture_of_another_space_is_refused() -> None:
    (other,) = sampled(search_space("darts"), 1, seed=1)

    with pytest.raises(InvalidContentError, match="nasbench201"):
        parse_architecture(SPACE, other.graph)


def test_errors_stand_where_their_architectures_were() -> None:
    outcomes = parse_many(SPACE, [CELL, "nonsense", CELL])

    assert [isinstance(outcome, InvalidContentError) for outcome in outcomes] == [False, True, False]
