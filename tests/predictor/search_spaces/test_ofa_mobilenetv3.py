import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError, NotInSpaceError
from predictor.search_spaces.ofa_mobilenetv3 import OFAMobileNetV3

SPACE = OFAMobileNetV3()
SMALLEST = {"ks": [3] * 20, "e": [3] * 20, "d": [2] * 5, "r": 128}
LARGEST = {"ks": [7] * 20, "e": [6] * 20, "d": [4] * 5, "r": 224}


def test_text_and_object_are_the_same_architecture() -> None:
    assert SPACE.parse(json.dumps(LARGEST)) == SPACE.parse(LARGEST)


def test_depths_count_the_layers_and_stages_give_stride_width_and_squeeze_excitation() -> None:
    architecture = SPACE.parse({**SMALLEST, "d": [2, 3, 4, 2, 2], "r": 160})

    layers = [op for op in architecture.operations if op.kind == "mbconv"]
    assert [op.get("channels") for op in layers] == [24] * 2 + [40] * 3 + [80] * 4 + [112] * 2 + [160] * 2
    assert [op.get("stride") for op in layers] == [2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    assert [op.get("se") for op in layers] == [False] * 2 + [True] * 3 + [False] * 4 + [True] * 4
    assert dict(architecture.global_attributes) == {"resolution": 160}


def test_numbers_of_layers_beyond_the_depth_may_be_anything_and_make_no_difference() -> None:
    odd = {**SMALLEST, "ks": [3, 3, 0, -7.5] * 5, "e": [3, 3, 99, 10**30] * 5}

    architecture = SPACE.parse(odd)

    assert architecture == SPACE.parse(SMALLEST)
    assert architecture.genotype == SPACE.parse(SMALLEST).genotype


def test_a_change_of_a_layer_within_the_depth_is_another_architecture() -> None:
    changed = {**SMALLEST, "ks": [3, 5, *[3] * 18]}

    assert SPACE.parse(changed) != SPACE.parse(SMALLEST)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ks": [4, *[3] * 19]}, r"expected ks\[0\] to be one of 3, 5, 7, got 4"),
        ({"e": [3] * 19}, "expected e to be a list of 20 numbers"),
        ({"e": [True, *[3] * 19]}, r"expected e\[0\]"),
        ({"ks": [3, 3, "x", 3] * 5}, r"expected ks\[2\] to be a number"),
        ({"d": [5, 2, 2, 2, 2]}, r"expected d\[0\] to be one of 2, 3, 4, got 5"),
        ({"d": "22222"}, "expected d to be a list of 5"),
        ({"r": 130}, "expected r to be one of 128 to 224 in steps of 4, got 130"),
        ({"r": math.nan}, "expected r"),
        ({"r": 10**5000}, "a whole number of 16610 bits"),
        ({"x": 1}, "expected the keys ks, e, d and r"),
    ],
)
def test_wrong_notation_is_refused_with_what_was_expected(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(NotationError, match=complaint):
        SPACE.parse({**SMALLEST, **change})


@pytest.mark.parametrize("text", ["", "[]", "{", '{"ks": NaN}', "[" * 100_000, '{"r": 128, "r": 128}', "1" * 5000])
def test_text_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(NotationError, match="expected"):
        SPACE.parse(text)


def test_size_counts_only_layers_that_exist() -> None:
    assert SPACE.size() == (9**2 + 9**3 + 9**4) ** 5 * 25


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_move_stays_in_the_space_and_is_recovered_from_its_graph(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = SPACE.sample(rng), SPACE.sample(rng)

    moved = [first, SPACE.mutate(first, rng), SPACE.crossover(first, second, rng), SPACE.neighbours(first)[-1]]

    for architecture in moved:
        assert SPACE.parse(SPACE.format(architecture)) == architecture
        assert SPACE.format(dataclasses.replace(architecture, genotype=None)) == architecture.genotype
    assert moved[1] != first


def test_graphs_of_other_spaces_are_refused() -> None:
    own = SPACE.parse(SMALLEST)
    wider = Architecture(
        tuple(Operation(op.kind, (*op.attributes, ("width", 2))) for op in own.operations),
        own.edges,
        own.global_attributes,
    )
    unsized = Architecture(own.operations, own.edges)

    for foreign in (wider, unsized, Architecture.build([Operation.of("input")], [])):
        with pytest.raises(NotInSpaceError, match="expected an architecture of this space"):
            SPACE.format(foreign)


def test_every_published_configuration_is_read(published_rows: Any) -> None:
    texts = [row["arch"] for row in published_rows("help_ofa_latency", "arch")]

    for text in texts[:500]:
        document, own = json.loads(text), json.loads(SPACE.parse(text).genotype or "")
        assert (own["d"], own["r"]) == (document["d"], document["r"])
        active = [layer for layer in range(20) if layer % 4 < document["d"][layer // 4]]
        assert [own["ks"][layer] for layer in active] == [document["ks"][layer] for layer in active]
        assert [own["e"][layer] for layer in active] == [document["e"][layer] for layer in active]
