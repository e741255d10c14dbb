"""FBNet: 22 layers by index or by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from predictor.errors import NotationError
from predictor.search_spaces.fbnet import BLOCK_NAMES, FBNet

SPACE = FBNet()
INDICES = [7, 8, 1, 8, 4, 8, 8, 8, 7, 4, 1, 4, 7, 3, 2, 7, 3, 2, 4, 2, 4, 5]


def test_indices_and_names_as_text_or_list_are_the_same() -> None:
    names = [BLOCK_NAMES[index] for index in INDICES]
    written = [SPACE.parse(notation).genotype for notation in (INDICES, json.dumps(INDICES), names, json.dumps(names))]

    assert set(written) == {json.dumps(INDICES)}


def test_layers_follow_the_published_macro_architecture() -> None:
    layers = SPACE.parse([0] * 22).operations[1:-1]

    assert [layer.get("channels") for layer in layers] == [
        16, *[24] * 4, *[32] * 4, *[64] * 4, *[112] * 4, *[184] * 4, 352,
    ]  # fmt: skip
    assert [place for place, layer in enumerate(layers) if layer.get("stride") == 2] == [1, 5, 9, 17]


def test_a_block_is_what_its_name_says() -> None:
    block = SPACE.parse(["k5_e1_g2"] * 22).operations[1]

    assert block.kind == "mbconv"
    assert [block.get(name) for name in ("kernel_size", "expansion", "groups")] == [5, 1, 2]


def test_a_skipped_layer_stays_and_keeps_its_shape() -> None:
    layers = SPACE.parse(["skip"] * 22).operations[1:-1]

    assert {layer.kind for layer in layers} == {"identity"}
    assert [layers[1].get("stride"), layers[1].get("channels")] == [2, 24]


@pytest.mark.parametrize(
    ("notation", "complaint"),
    [
        (INDICES[:21], "expected a JSON list of 22 block indices 0 to 8 or block names, got 21 entries"),
        ([*INDICES, 0], "got 23 entries"),
        ([*INDICES[:21], 9], "layer 22: expected an index 0 to 8 or one of k3_e1, .*, skip, got 9"),
        ([*INDICES[:21], -1], "layer 22: expected .* got -1"),
        ([*INDICES[:21], True], "layer 22: expected .* got True"),
        ([*INDICES[:21], 1.0], "layer 22: expected .* got 1.0"),
        ([*INDICES[:21], "k7_e6"], "layer 22: expected .* got 'k7_e6'"),
        ([*INDICES[:21], [1]], "layer 22: expected .* got \\[1\\]"),
        ("7 8 1", "expected a JSON list of 22 .* got '7 8 1'"),
        ({"blocks": INDICES}, "expected a JSON list of 22 .* got dict"),
    ],
)
def test_a_wrong_list_is_told_what_is_wrong(notation: Any, complaint: str) -> None:
    with pytest.raises(NotationError, match=complaint):
        SPACE.parse(notation)


def test_every_published_network_is_read_and_written_as_it_is(published_rows: Any) -> None:
    for row in published_rows("help_fbnet_latency", "arch", "src_arch_str"):
        architecture = SPACE.parse(row["arch"])

        assert architecture.genotype == row["arch"]
        assert SPACE.parse(row["src_arch_str"]).genotype == row["arch"]
