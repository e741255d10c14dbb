import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError, NotInSpaceError
from predictor.search_spaces.mnasnet import MnasNet

SPACE = MnasNet()
EXAMPLE = "e6k3l1se0 e4k5l2se0 e6k3l3se0 e6k5l3se1 e6k5l2se0 e1k3l4se0 e1k3l2se0"


def test_the_canonical_text_is_the_published_one() -> None:
    assert SPACE.parse(f"  {EXAMPLE.replace(' ', '  ')} ").genotype == EXAMPLE


def test_layers_repeat_within_their_stage_and_only_the_first_has_its_stride() -> None:
    layers = [op for op in SPACE.parse(EXAMPLE).operations if op.kind == "mbconv"]

    assert [op.get("channels") for op in layers] == (
        [16] + [24] * 2 + [40] * 3 + [80] * 3 + [112] * 2 + [192] * 4 + [320] * 2
    )
    assert [op.get("stride") for op in layers] == [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1]
    assert {op.get("se") for op in layers if op.get("channels") == 80} == {True}
    assert layers[1] == Operation.of("mbconv", kernel_size=5, expansion=4, stride=2, channels=24, se=False)


@pytest.mark.parametrize(
    ("notation", "complaint"),
    [
        (EXAMPLE[:-10], "expected seven stages such as e6k3l1se0, got 6"),
        (EXAMPLE.replace("e6k3l1se0", "e5k3l1se0", 1), "expected e of stage 1 to be one of 1, 4, 6, got 5"),
        (EXAMPLE.replace("e6k3l1se0", "e6k3l4se0", 1), "expected l of stage 1 to be one of 1, 2, 3, got 4"),
        (EXAMPLE.replace("e6k3l1se0", "e6k3l1se2", 1), "expected se of stage 1 to be one of 0, 1, got 2"),
        (EXAMPLE.replace("e6k3l1se0", "e6k3l1", 1), "expected stage 1 to read like e6k3l1se0"),
        (EXAMPLE.replace("e6", "e٦", 1), "expected stage 1 to read like"),
        ({"stages": 7}, "expected text of seven stages, got dict"),
        ("", "got 0"),
    ],
)
def test_wrong_notation_is_refused_with_what_was_expected(notation: object, complaint: str) -> None:
    with pytest.raises(NotationError, match=complaint):
        SPACE.parse(notation)  # type: ignore[arg-type]


def test_size_is_the_product_of_all_stages() -> None:
    assert SPACE.size() == (3 * 2 * 3 * 2) ** 6 * (3 * 2 * 4 * 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_move_stays_in_the_space_and_is_recovered_from_its_graph(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = SPACE.sample(rng), SPACE.sample(rng)

    moved = [first, SPACE.mutate(first, rng), SPACE.crossover(first, second, rng), *SPACE.neighbours(first)]

    for architecture in moved:
        assert SPACE.parse(SPACE.format(architecture)) == architecture
        assert SPACE.format(dataclasses.replace(architecture, genotype=None)) == architecture.genotype
    assert moved[1] in moved[3:]


def test_a_stage_whose_layers_differ_is_refused() -> None:
    own = SPACE.parse(EXAMPLE)
    operations = list(own.operations)
    operations[3] = Operation.of("mbconv", kernel_size=3, expansion=4, stride=1, channels=24, se=False)

    with pytest.raises(NotInSpaceError, match="expected an architecture of this space"):
        SPACE.format(Architecture(tuple(operations), own.edges))


def test_every_published_text_is_canonical(published_rows: Any) -> None:
    for row in published_rows("accel_nasbench", "arch_str"):
        assert SPACE.parse(row["arch_str"]).genotype == row["arch_str"]
