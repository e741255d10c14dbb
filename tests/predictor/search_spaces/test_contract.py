"""What every search space promises, whichever it is."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError, NotInSpaceError, SpaceTooLargeError, UnknownSearchSpaceError
from predictor.search_spaces.base import MAX_ENUMERATED, SearchSpace
from predictor.search_spaces.registry import built_in_search_spaces, declared_search_space, search_space

PUBLISHED = (
    "nasbench101",
    "nasbench201",
    "darts",
    "transnas_micro",
    "nasbench_macro",
    "fbnet",
    "ofa_mobilenetv3",
    "mnasnet",
    "nasbench_graph",
    "autoformer",
)
DEFINITION = {
    "version": 1,
    "decisions": [
        {"name": "depth", "type": "integer", "low": 1, "high": 3},
        {"name": "op", "type": "categorical", "values": ["conv3x3", "mbconv_k3_e6", "skip_connect"], "repeat": "depth"},
        {"name": "width", "type": "ordinal", "values": [16, 32], "repeat": "depth", "when": {"op": "conv3x3"}},
    ],
}
SPACES = [*built_in_search_spaces().values(), declared_search_space("declared_example", DEFINITION)]
FINITE = [space for space in SPACES if space.size() is not None]
SMALL = [space for space in FINITE if (space.size() or 0) <= MAX_ENUMERATED]
LARGE = [space for space in SPACES if space not in SMALL]
REVERSIBLE = [
    space
    for space in SPACES
    if space.name in {"nasbench101", "nasbench201", "darts", "transnas_micro", "nasbench_macro", "fbnet", "mnasnet"}
]
"""Spaces in which whatever one edit does, one edit undoes: no decision depends on another."""

JUNK: dict[str, Any] = {
    "none": None,
    "number": 42,
    "fraction": 1.5,
    "truth value": True,
    "bytes": b"0000|gcn-gcn-gcn-gcn",
    "a set": {"gcn"},
    "empty text": "",
    "blanks": " \n\t ",
    "a word": "resnet50",
    "empty list": [],
    "empty object": {},
    "JSON null": "null",
    "JSON number": "7",
    "JSON empty list": "[]",
    "JSON empty object": "{}",
    "broken JSON": '{"nodes": [',
    "NaN": '{"nodes": NaN}',
    "nested lists": [[[[[]]]]],
    "nested objects": {"nodes": {"nodes": {"nodes": {}}}},
    "very deep JSON": "[" * 50_000,
    "very deep JSON object": '{"a":' * 50_000,
    "very deep parentheses": "(" * 50_000,
    "huge text": "x" * 1_000_000,
    "huge number": "9" * 100_000,
    "huge list": [0] * 100_000,
    "list of junk": [None, {}, [], "x", 1.5],
    "null character": "\x00",
    "lone surrogate": "\ud800",
    "other keys": {"matrix": 1, "ops": 2, "surprise": 3},
    "code": "__import__('os').getcwd()",
    "call": "Genotype(*[1], **{})",
}

every_space = pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)


def sampled(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def assert_belongs(space: SearchSpace, architecture: Architecture) -> None:
    text = space.format(architecture)
    read = space.parse(text)
    assert read == architecture
    assert read.genotype == text
    assert space.format(read) == text


def test_the_registry_holds_the_published_spaces_and_graph_under_their_own_names() -> None:
    spaces = built_in_search_spaces()

    assert set(spaces) == {*PUBLISHED, "graph"}
    assert all(space.name == name for name, space in spaces.items())


def test_the_registry_shares_its_instances() -> None:
    assert search_space("darts") is built_in_search_spaces()["darts"]


def test_the_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        built_in_search_spaces()["mine"] = search_space("darts")  # type: ignore[index]


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownSearchSpaceError, match=r"expected one of nasbench101, .*graph, got 'nasbench'"):
        search_space("nasbench")


@every_space
def test_what_was_sampled_is_read_back_as_it_was_written(space: SearchSpace) -> None:
    for architecture in sampled(space, 25):
        assert_belongs(space, architecture)


@every_space
def test_samples_differ_and_follow_the_seed(space: SearchSpace) -> None:
    hashes = [architecture.hash for architecture in sampled(space, 20, seed=3)]

    assert len(set(hashes)) > 5
    assert hashes == [architecture.hash for architecture in sampled(space, 20, seed=3)]
    assert hashes != [architecture.hash for architecture in sampled(space, 20, seed=4)]


@every_space
def test_the_graph_alone_tells_the_genotype(space: SearchSpace) -> None:
    for architecture in sampled(space, 10):
        stripped = dataclasses.replace(architecture, genotype=None)

        assert space.parse(space.format(stripped)) == architecture


@every_space
def test_the_order_of_the_nodes_does_not_matter(space: SearchSpace) -> None:
    for architecture in sampled(space, 5):
        backwards = reversed_nodes(architecture)

        assert backwards == architecture
        assert space.parse(space.format(backwards)) == architecture


@every_space
def test_a_genotype_of_another_space_does_no_harm(space: SearchSpace) -> None:
    architecture = sampled(space, 1)[0]
    strange = dataclasses.replace(architecture, genotype="|not~a|+|genotype~here|")

    assert space.parse(space.format(strange)) == architecture


@every_space
def test_the_text_wins_only_where_it_builds_the_graph(space: SearchSpace) -> None:
    first, second = distinct(space, 2)
    mislabelled = dataclasses.replace(first, genotype=second.genotype)

    assert space.parse(space.format(mislabelled)) == first


@every_space
def test_known_parameters_do_not_put_an_architecture_outside_the_space(space: SearchSpace) -> None:
    architecture = sampled(space, 1)[0]
    known = {**dict(architecture.global_attributes), "params": 12_345, "flops": 1e9}
    measured = Architecture.build(architecture.operations, architecture.edges, known)

    assert space.parse(space.format(measured)) == architecture


@every_space
def test_mutation_stays_in_the_space_and_changes_something(space: SearchSpace) -> None:
    rng = np.random.default_rng(1)
    for architecture in sampled(space, 8):
        mutant = space.mutate(architecture, rng)

        assert mutant != architecture
        assert_belongs(space, mutant)


@every_space
def test_mutation_and_crossover_follow_the_seed(space: SearchSpace) -> None:
    first, second = distinct(space, 2)

    def children(seed: int) -> list[str]:
        rng = np.random.default_rng(seed)
        mutants = [space.mutate(first, rng) for _ in range(8)]
        return [child.hash for child in [*mutants, *(space.crossover(first, second, rng) for _ in range(8))]]

    assert children(5) == children(5)
    assert children(5) != children(6)


@every_space
def test_a_walk_of_mutations_never_leaves_the_space(space: SearchSpace) -> None:
    rng = np.random.default_rng(2)
    architecture = space.sample(rng)
    for _ in range(15):
        architecture = space.mutate(architecture, rng)

    assert_belongs(space, architecture)


@every_space
def test_a_child_is_in_the_space_and_takes_after_its_parents(space: SearchSpace) -> None:
    rng = np.random.default_rng(2)
    for first, second in itertools.pairwise(distinct(space, 6)):
        assert_belongs(space, space.crossover(first, second, rng))


@every_space
def test_the_child_of_twins_is_their_twin(space: SearchSpace) -> None:
    architecture = sampled(space, 1)[0]

    assert space.crossover(architecture, architecture, np.random.default_rng(0)) == architecture


@every_space
def test_neighbours_are_different_unique_and_in_the_space(space: SearchSpace) -> None:
    architecture = sampled(space, 1, seed=7)[0]
    neighbours = space.neighbours(architecture)

    assert neighbours
    assert architecture not in neighbours
    assert len({neighbour.hash for neighbour in neighbours}) == len(neighbours)
    for neighbour in neighbours[:: max(1, len(neighbours) // 40)]:
        assert_belongs(space, neighbour)


@pytest.mark.parametrize("space", REVERSIBLE, ids=lambda space: space.name)
def test_every_step_can_be_taken_back(space: SearchSpace) -> None:
    architecture = sampled(space, 1, seed=7)[0]
    neighbours = space.neighbours(architecture)

    for neighbour in neighbours[:: max(1, len(neighbours) // 12)]:
        assert architecture in space.neighbours(neighbour)


@pytest.mark.parametrize("space", REVERSIBLE, ids=lambda space: space.name)
def test_a_mutant_is_a_neighbour(space: SearchSpace) -> None:
    rng = np.random.default_rng(3)
    architecture = space.sample(rng)
    neighbours = space.neighbours(architecture)

    assert all(space.mutate(architecture, rng) in neighbours for _ in range(20))


@every_space
def test_an_architecture_of_no_space_is_refused(space: SearchSpace) -> None:
    stranger = Architecture.build([Operation.of("x" * 300), Operation.of("output")], [(0, 1)])

    for question in (space.format, space.neighbours):
        with pytest.raises(NotInSpaceError, match=r"expected .* got "):
            question(stranger)


@every_space
def test_features_are_equally_many_finite_numbers(space: SearchSpace) -> None:
    rows = [space.features(architecture) for architecture in sampled(space, 10)]

    assert len({len(row) for row in rows}) == 1
    assert all(math.isfinite(number) for row in rows for number in row)


@pytest.mark.parametrize("space", SMALL, ids=lambda space: space.name)
def test_a_small_space_lists_as_many_genotypes_as_it_says(space: SearchSpace) -> None:
    listed = list(space.enumerate())

    assert len(listed) == space.size()
    assert len({architecture.genotype for architecture in listed}) == len(listed)
    for architecture in listed[:: max(1, len(listed) // 100)]:
        assert_belongs(space, architecture)


@pytest.mark.parametrize("space", LARGE, ids=lambda space: space.name)
def test_a_large_space_refuses_to_be_listed(space: SearchSpace) -> None:
    with pytest.raises(SpaceTooLargeError, match=r"expected .* got "):
        next(iter(space.enumerate()))


@every_space
@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
def test_junk_is_refused_in_a_short_message(space: SearchSpace, junk: Any) -> None:
    with pytest.raises(NotationError) as refused:
        space.parse(junk)

    message = str(refused.value)
    assert "expected" in message
    assert "got" in message
    assert len(message) < 2_000


@every_space
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_damaged_text_is_refused_or_names_an_architecture(space: SearchSpace, data: st.DataObject) -> None:
    text = space.format(sampled(space, 3)[data.draw(st.integers(0, 2))])
    place = data.draw(st.integers(0, len(text)))
    width = data.draw(st.integers(0, 5))
    damaged = text[:place] + data.draw(st.text(max_size=4)) + text[place + width :]

    refusal = refusal_of(space, damaged)

    if refusal is None:
        assert_belongs(space, space.parse(damaged))
    else:
        assert "expected" in refusal
        assert "got" in refusal


def refusal_of(space: SearchSpace, text: str) -> str | None:
    """What the space says to text that it does not read."""
    try:
        space.parse(text)
    except NotationError as error:
        return str(error)
    return None


def distinct(space: SearchSpace, count: int) -> list[Architecture]:
    found: dict[str, Architecture] = {}
    rng = np.random.default_rng(11)
    while len(found) < count:
        architecture = space.sample(rng)
        found[architecture.hash] = architecture
    return list(found.values())


def reversed_nodes(architecture: Architecture) -> Architecture:
    last = architecture.num_nodes - 1
    return Architecture(
        architecture.operations[::-1],
        tuple((last - source, last - target) for source, target in reversed(architecture.edges)),
        architecture.global_attributes,
    )
