"""What could have been decided otherwise, in every space; nothing that the space does not have."""

from __future__ import annotations

import numpy as np
import pytest

from predictor.architecture import Architecture, Operation
from predictor.errors import ExplanationError, NotInSpaceError
from predictor.explain.parts import Parts
from predictor.explain.reading import decision_names, parts_of
from predictor.search_spaces.registry import built_in_search_spaces

SPACES = built_in_search_spaces()
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"


def some_parts(name: str, seed: int = 0) -> Parts:
    space = SPACES[name]
    return parts_of(space, space.sample(np.random.default_rng(seed)))


def choice(parts: Parts, part: str, label: str) -> Architecture:
    number = [one.name for one in parts.parts].index(part)
    return next(one.architecture for one in parts.choices(number) if one.label == label)


@pytest.mark.parametrize("name", list(SPACES))
def test_every_choice_is_an_architecture_of_the_space(name: str) -> None:
    parts, space = some_parts(name), SPACES[name]

    for number, part in enumerate(parts.parts):
        choices = parts.choices(number)
        assert len(choices) > 1
        assert len({one.label for one in choices}) == len(choices)
        assert [one.label for one in choices if one.is_own] == [part.chosen]
        for one in choices:
            assert space.parse(space.format(one.architecture)) == one.architecture
            assert (one.architecture == parts.architecture) or not one.is_own


@pytest.mark.parametrize("name", list(SPACES))
def test_mixtures_go_from_a_variant_to_the_architecture_and_stay_in_the_space(name: str) -> None:
    parts, space, rng = some_parts(name, 1), SPACES[name], np.random.default_rng(2)
    seen = set()
    for _ in range(5):
        variant = parts.variant(rng)
        assert parts.mixed(variant, [True] * len(parts.parts)) == parts.architecture
        for _ in range(5):
            mixed = parts.mixed(variant, (rng.random(len(parts.parts)) < 0.5).tolist())
            if mixed is not None:
                seen.add(mixed.hash)
                assert space.parse(space.format(mixed)) == mixed

    assert len(seen) > 5


def test_the_parts_of_a_cell_are_its_edges() -> None:
    parts = parts_of(SPACES["nasbench201"], SPACES["nasbench201"].parse(CELL))

    assert [one.name for one in parts.parts] == ["edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3"]
    assert [one.chosen for one in parts.parts][:3] == ["nor_conv_3x3", "none", "skip_connect"]
    swapped = choice(parts, "edge_0_1", "none")
    assert swapped == SPACES["nasbench201"].parse(CELL.replace("|nor_conv_3x3~0|+", "|none~0|+"))


def test_decisions_that_do_not_apply_are_no_parts() -> None:
    space = SPACES["ofa_mobilenetv3"]
    parts = some_parts("ofa_mobilenetv3")

    own = space.choices_of(parts.architecture)  # type: ignore[attr-defined]
    depths = [
        space.decisions[place].choices[own[place]]
        for place in range(len(own))
        if "depth" in space.decisions[place].name
    ]  # type: ignore[attr-defined]
    kernels = [one for one in parts.parts if "kernel" in one.name]
    assert len(kernels) == sum(int(depth) for depth in depths)


def test_values_that_a_space_would_replace_are_not_offered() -> None:
    parts = some_parts("autoformer")

    for number in range(len(parts.parts)):
        made = [one.architecture.hash for one in parts.choices(number)]
        assert len(set(made)) == len(made)


def test_declared_decisions_are_parts_as_far_as_they_apply(conditional_space) -> None:
    architecture = conditional_space.parse({"depth": 2, "op": ["conv3x3", "skip_connect"], "width": [32, None], "rate": 0.01, "only": "this"})  # fmt: skip
    parts = parts_of(conditional_space, architecture)

    assert [one.name for one in parts.parts] == ["depth", "op[0]", "op[1]", "width[0]", "rate"]
    assert [one.chosen for one in parts.parts] == ["2", "conv3x3", "skip_connect", "32", "0.01"]
    deeper = conditional_space.assignment(choice(parts, "depth", "3"))
    assert deeper["op", 2] == "skip_connect"  # as the layer before
    wider = conditional_space.assignment(choice(parts, "op[1]", "conv3x3"))
    assert wider["width", 1] == 32  # applies only now: as the layer before
    rates = [one.label for one in parts.choices(4)]
    assert rates == ["0.001", "0.00215443", "0.00464159", "0.01", "0.0215443", "0.0464159", "0.1"]


def test_a_variant_decides_what_does_not_apply_in_it_too(conditional_space) -> None:
    rng = np.random.default_rng(3)
    parts = parts_of(conditional_space, conditional_space.sample(rng))

    drawn = [parts.variant(rng) for _ in range(60)]

    assert all(set(one) == set(conditional_space.definition.document_slots) for one in drawn)
    assert {one["op", 2] for one in drawn if one["depth", -1] == 1} == {"conv3x3", "skip_connect", "max_pool_3x3"}


def test_operations_and_edges_are_parts_where_there_are_no_decisions(diamond: Architecture) -> None:
    parts = parts_of(SPACES["graph"], diamond)

    canonical = diamond.canonical()
    kinds = [canonical.operations[one.nodes[0]].kind for one in parts.parts if one.kind == "operation"]
    assert sorted(kinds) == ["add", "conv", "conv", "max_pool"]  # the input and the output stay
    edges = [one.nodes for one in parts.parts if one.kind == "edge"]
    assert {tuple(canonical.operations[end].kind for end in ends) for ends in edges} == {
        ("conv", "add")
    }  # the way past
    assert len(edges) == 1
    assert dict(parts.architecture.global_attributes) == {
        "resolution": 32
    }  # what holds for this graph alone is left out


def test_no_choice_cuts_a_graph_apart(diamond: Architecture) -> None:
    parts, rng = parts_of(SPACES["graph"], diamond), np.random.default_rng(4)

    made = [one.architecture for number in range(len(parts.parts)) for one in parts.choices(number)]
    made += [parts.mixed(parts.variant(rng), (rng.random(len(parts.parts)) < 0.5).tolist()) for _ in range(50)]
    for graph in made:
        assert graph is not None
        for node, operation in enumerate(graph.operations):
            assert graph.predecessors[node] or operation.kind == "input"
            assert graph.successors[node] or operation.kind == "output"


def test_operations_of_a_space_are_those_that_it_uses() -> None:
    cell = SPACES["nasbench101"].parse(
        {
            "matrix": [[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]],
            "ops": ["input", "conv1x1-bn-relu", "maxpool3x3", "output"],
        }
    )
    parts = parts_of(SPACES["nasbench101"], cell)
    (number,) = [place for place, one in enumerate(parts.parts) if one.chosen == "conv(kernel_size=1, stride=1)"]

    labels = {one.label for one in parts.choices(number)}

    assert labels == {
        "conv(kernel_size=1, stride=1)", "conv(kernel_size=3, stride=1)", "max_pool(kernel_size=3, stride=1)", "gone",
    }  # fmt: skip


def test_graphs_that_are_too_large_and_architectures_of_other_spaces_are_refused() -> None:
    chain = [Operation.of("input"), *[Operation.of("identity")] * 300, Operation.of("output")]
    long = Architecture.build(chain, [(node, node + 1) for node in range(301)])

    with pytest.raises(ExplanationError, match="at most 100 nodes, got one of 302"):
        parts_of(SPACES["graph"], long)
    with pytest.raises(NotInSpaceError):
        parts_of(SPACES["nasbench201"], long)
    with pytest.raises(NotInSpaceError):
        parts_of(SPACES["nasbench101"], long)


@pytest.mark.parametrize("name", list(SPACES))
def test_every_feature_tells_of_a_decision(name: str) -> None:
    space = SPACES[name]

    names = decision_names(space)

    assert len(names) == len(space.features(space.sample(np.random.default_rng(0))))
