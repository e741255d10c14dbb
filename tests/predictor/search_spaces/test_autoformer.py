import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.architecture import Architecture
from predictor.errors import NotationError, NotInSpaceError
from predictor.search_spaces.autoformer import SUB_SPACES, AutoFormer

SPACE = AutoFormer()
TINY = {"depth": 12, "embed_dim": 192, "mlp_ratio": [4, 3.5] * 6, "num_heads": [3, 4] * 6}
BASE = {"depth": 14, "embed_dim": 624, "mlp_ratio": [3.0] * 14, "num_heads": [9] * 14}


def test_text_and_object_are_the_same_architecture_and_4_is_4_point_0() -> None:
    as_floats = {**TINY, "mlp_ratio": [4.0, 3.5] * 6}

    assert SPACE.parse(json.dumps(TINY)) == SPACE.parse(as_floats)
    assert SPACE.parse(as_floats).genotype == json.dumps(TINY, separators=(",", ":"))


def test_a_block_is_attention_then_mlp() -> None:
    operations = SPACE.parse(TINY).operations

    assert [op.kind for op in operations] == ["input", *["attention", "mlp"] * 12, "output"]
    assert (operations[1].get("heads"), operations[1].get("channels")) == (3, 192)
    assert (operations[4].get("expansion"), operations[4].get("channels")) == (3.5, 192)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"embed_dim": 200}, "expected embed_dim to be one of 192, 216, 240, 320"),
        ({"depth": 15}, "expected depth of the tiny sub-space to be one of 12, 13, 14, got 15"),
        ({"mlp_ratio": [3] * 12}, r"expected mlp_ratio\[0\] of the tiny sub-space to be one of 3.5, 4, got 3"),
        ({"num_heads": [5] * 12}, r"expected num_heads\[0\] of the tiny sub-space to be one of 3, 4, got 5"),
        ({"num_heads": [3] * 13}, r"expected num_heads to be a list of 12 numbers \(the depth\)"),
        ({"depth": True}, "expected depth"),
        ({"mlp_ratio": [math.nan] * 12}, r"expected mlp_ratio\[0\]"),
        ({"extra": 1}, "expected the keys depth, embed_dim, mlp_ratio, num_heads"),
    ],
)
def test_wrong_notation_is_refused_with_what_was_expected(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(NotationError, match=complaint):
        SPACE.parse({**TINY, **change})


def test_size_adds_the_three_sub_spaces() -> None:
    tiny = 3 * (4**12 + 4**13 + 4**14)
    small = 3 * (9**12 + 9**13 + 9**14)
    base = 3 * (6**14 + 6**15 + 6**16)

    assert SPACE.size() == tiny + small + base


def test_samples_come_from_all_three_sub_spaces_about_evenly() -> None:
    rng = np.random.default_rng(0)

    widths = [json.loads(SPACE.sample(rng).genotype or "")["embed_dim"] for _ in range(300)]

    for sub_space in SUB_SPACES:
        count = sum(width in sub_space.embed_dims for width in widths)
        assert 60 <= count <= 140  # 100 expected; five standard deviations are 41


def test_a_width_of_another_sub_space_carries_the_rest_along() -> None:
    neighbours = [json.loads(n.genotype or "") for n in SPACE.neighbours(SPACE.parse(TINY))]

    carried = next(n for n in neighbours if n["embed_dim"] == 624)

    assert carried == {"depth": 14, "embed_dim": 624, "mlp_ratio": [4, 3.5] * 6 + [3, 3], "num_heads": [9] * 14}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_move_stays_in_the_space_and_is_recovered_from_its_graph(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = SPACE.sample(rng), SPACE.sample(rng)

    moved = [first, SPACE.mutate(first, rng), SPACE.crossover(first, second, rng), SPACE.neighbours(first)[0]]

    for architecture in moved:
        assert SPACE.parse(SPACE.format(architecture)) == architecture
        assert SPACE.format(dataclasses.replace(architecture, genotype=None)) == architecture.genotype
    assert moved[1] != first


def test_blocks_of_two_widths_are_refused() -> None:
    tiny, base = SPACE.parse(TINY), SPACE.parse(BASE)
    mixed = (*tiny.operations[:3], *base.operations[3:25], tiny.operations[-1])

    with pytest.raises(NotInSpaceError, match="expected an architecture of this space"):
        SPACE.format(Architecture(mixed, tiny.edges))


def test_every_published_transformer_is_read(published_rows: Any) -> None:
    for row in published_rows("autoformer_imagenet_3k", "arch_json"):
        assert json.loads(SPACE.parse(row["arch_json"]).genotype or "") == json.loads(row["arch_json"])
