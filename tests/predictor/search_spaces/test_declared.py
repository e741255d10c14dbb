import copy
import dataclasses
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.architecture import Architecture, Operation
from predictor.errors import InvalidDefinitionError, NotationError, NotInSpaceError, SpaceTooLargeError
from predictor.search_spaces.declared import DeclaredSpace
from predictor.search_spaces.declared_definition import Definition
from predictor.search_spaces.declared_size import count_genotypes
from predictor.search_spaces.declared_values import Grid, value_key


def definition(*decisions: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "decisions": list(decisions)}


def categorical(name: str, *values: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "categorical", "values": list(values), **more}


def ordinal(name: str, *values: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "ordinal", "values": list(values), **more}


def integer(name: str, low: Any, high: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "integer", "low": low, "high": high, **more}


def real(name: str, low: Any, high: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "real", "low": low, "high": high, **more}


RESNET = definition(
    integer("depth", 1, 8),
    categorical("op", "conv3x3", "sep_conv_5x5", "skip_connect", repeat="depth"),
    ordinal("width", 16, 32, 64, repeat="depth"),
    ordinal("kernel", 3, 5, 7, repeat="depth", when={"op": ["sep_conv_5x5"]}),
)
GRAPHGYM = definition(
    categorical("act", "relu", "prelu", "swish"),
    categorical("bn", True, False),
    categorical("drop", 0, 0.3, 0.6),
    categorical("agg", "mean", "max", "add"),
    ordinal("l_mp", 2, 4, 6, 8),
    categorical("stage", "stack", "skipsum", "skipconcat"),
)
HAT = definition(
    ordinal("encoder_embed_dim", 512, 640),
    integer("encoder_layers", 6, 6),
    ordinal("decoder_embed_dim", 512, 640),
    integer("decoder_layers", 1, 6),
    ordinal("encoder_ffn_dim", 1024, 2048, 3072, repeat="encoder_layers"),
    ordinal("encoder_heads", 4, 8, repeat="encoder_layers"),
    ordinal("decoder_ffn_dim", 1024, 2048, 3072, repeat="decoder_layers"),
    ordinal("decoder_heads", 4, 8, repeat="decoder_layers"),
    ordinal("decoder_ende_heads", 4, 8, repeat="decoder_layers"),
)
TRAINING = definition(
    real("lr", 1e-5, 1e-1, log=True),
    real("momentum", 0.0, 0.99),
    categorical("optimizer", "sgd", "adam"),
    real("beta", 0.5, 0.9, step=0.1, when={"optimizer": "adam"}),
    integer("batch", 16, 512, log=True),
)
NESTED = definition(
    integer("cells", 0, 2, when={"family": "cells"}),
    categorical("family", "cells", "flat"),
    integer("size", 1, 3, when={"family": "flat"}),
    categorical("kind", "a", "b", repeat="cells"),
    categorical("extra", 1, "1", True, repeat="cells", when={"kind": "b"}),
    ordinal("fixed", "low", "high", repeat=2, when={"size": [1, 3]}),
)
ALL = {"resnet": RESNET, "graphgym": GRAPHGYM, "hat": HAT, "training": TRAINING, "nested": NESTED}
SPACES = {name: DeclaredSpace(name, document) for name, document in ALL.items()}


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_move_stays_in_the_space_and_is_recovered_from_its_graph(name: str, seed: int) -> None:
    space, rng = SPACES[name], np.random.default_rng(seed)
    first, second = space.sample(rng), space.sample(rng)

    moved = [first, space.mutate(first, rng), space.crossover(first, second, rng), *space.neighbours(first)[:5]]

    for architecture in moved:
        assert space.parse(space.format(architecture)) == architecture
        assert space.parse(json.loads(architecture.genotype or "")).genotype == architecture.genotype
        bare = dataclasses.replace(architecture.canonical(), genotype=None)
        assert space.format(bare) == architecture.genotype
        features = space.features(architecture)
        assert features == space.features(bare)
        assert len(features) == space.num_features == len(space.feature_names)
        assert all(0.0 <= number <= 1.0 for number in features)
    assert moved[1] != first
    assert first not in moved[3:]


def test_the_genotype_is_compact_with_sorted_keys_and_null_where_nothing_applies() -> None:
    notation = {"depth": 2, "op": ["sep_conv_5x5", "skip_connect"], "width": [16, 64.0], "kernel": [7, None]}

    architecture = SPACES["resnet"].parse(notation)

    assert architecture.genotype == (
        '{"depth":2,"kernel":[7,null],"op":["sep_conv_5x5","skip_connect"],"width":[16,64]}'
    )


def test_lists_of_the_most_layers_and_values_that_do_not_apply_are_read_and_dropped() -> None:
    short = {"depth": 1, "op": ["conv3x3"], "width": [16], "kernel": [None]}
    long = {"depth": 1, "op": ["conv3x3"] + ["skip_connect"] * 7, "width": [16] * 8, "kernel": [7] * 8}

    assert SPACES["resnet"].parse(long) == SPACES["resnet"].parse(short)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"depth": 9}, "expected depth to be a whole number from 1 to 8, got 9"),
        ({"depth": 1.5}, "expected depth"),
        ({"depth": True}, "expected depth"),
        ({"depth": None}, "expected depth to be a whole number from 1 to 8, got none"),
        ({"depth": 10**5000}, "got a whole number of 16610 bits"),
        ({"depth": 3}, r"expected op\[2\] to be one of"),
        ({"op": ["conv3x3"] * 3}, r"expected op to be a list of 2 values \(or 8, the most possible\), got 3"),
        ({"op": "conv3x3"}, "expected op to be a list, one entry a layer"),
        ({"op": ["conv3x3", "conv9x9"]}, r"expected op\[1\] to be one of 'conv3x3', 'sep_conv_5x5', 'skip_connect'"),
        ({"width": [16, math.nan]}, r"expected width\[1\]"),
        ({"kernel": [4, None]}, r"expected kernel\[0\], which does not apply, to be null or one of 3, 5, 7, got 4"),
        ({"unknown": 1}, r"expected the decisions depth, op, width, kernel, got also \['unknown'\]"),
    ],
)
def test_wrong_notation_is_refused_with_what_was_expected(change: dict[str, Any], complaint: str) -> None:
    notation = {"depth": 2, "op": ["conv3x3", "conv3x3"], "width": [16, 16], "kernel": [None, None]}

    with pytest.raises(NotationError, match=complaint):
        SPACES["resnet"].parse({**notation, **change})


@pytest.mark.parametrize("text", ["", "[1]", '{"lr": NaN}', '{"lr": Infinity}', '{"lr": 1, "lr": 2}', "{" * 99_999])
def test_text_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(NotationError, match="expected"):
        SPACES["training"].parse(text)


@pytest.mark.parametrize("value", [0.2, -1e-5, math.inf, "0.01", 1e300, 10**400])
def test_a_real_outside_its_range_is_refused(value: object) -> None:
    with pytest.raises(NotationError, match=r"expected lr to be a number from 1e-05 to 0\.1"):
        SPACES["training"].parse({"lr": value, "momentum": 0.5, "optimizer": "sgd", "batch": 16})


@pytest.mark.parametrize("name", ["graphgym", "nested"])
def test_every_genotype_is_listed_once_and_builds_a_graph_of_its_own(name: str) -> None:
    space = SPACES[name]

    listed = list(space.enumerate())

    assert len(listed) == space.size()
    assert len({a.genotype for a in listed}) == len(listed)
    assert len({a.hash for a in listed}) == len(listed)


def test_sizes_count_conditions_and_repeats_exactly() -> None:
    per_cell = 1 + 3  # kind a, or kind b with its extra
    nested = (1 + per_cell + per_cell**2) + (2**2 + 1 + 2**2)

    assert SPACES["nested"].size() == nested
    assert SPACES["graphgym"].size() == 3 * 2 * 3 * 3 * 4 * 3
    assert SPACES["resnet"].size() == sum((3 + 3 + 9) ** depth for depth in range(1, 9))
    assert SPACES["hat"].size() == 4 * 6**6 * sum(12**depth for depth in range(1, 7))
    assert SPACES["training"].size() is None


def test_a_real_decision_with_a_step_is_finite_and_a_tenth_is_a_tenth() -> None:
    space = DeclaredSpace("steps", definition(real("rate", 0.0, 1.0, step=0.1)))

    assert [a.genotype for a in space.enumerate()][3] == '{"rate":0.3}'
    assert space.size() == 11
    assert space.parse({"rate": 0.1 + 0.2}) == space.parse({"rate": 0.3})


def test_a_long_chain_of_conditions_is_counted_exactly() -> None:
    links = [categorical(f"d{n}", 0, 1, **({"when": {f"d{n - 1}": 1}} if n else {})) for n in range(200)]

    assert DeclaredSpace("chain", definition(*links)).size() == 201


def test_entangled_conditions_give_an_upper_bound() -> None:
    rng = np.random.default_rng(0)
    web = []
    for n in range(150):
        others = rng.choice(n, size=min(n, 5), replace=False)
        web.append(categorical(f"d{n}", *range(5), when={f"d{other}": [0, 1, 2] for other in others}))

    size = DeclaredSpace("web", definition(*web)).size()

    assert size == 5 * 6**149


def test_spaces_that_are_too_large_or_continuous_are_not_listed() -> None:
    huge = DeclaredSpace("huge", definition(categorical("op", *range(200), repeat=200)))

    for space, came in [(SPACES["hat"], "got [0-9]+"), (SPACES["training"], "continuous range"), (huge, "bits")]:
        with pytest.raises(SpaceTooLargeError, match=came):
            space.enumerate()


def test_layers_become_operations_with_raw_values_beside_their_meaning() -> None:
    notation = {"depth": 2, "op": ["sep_conv_5x5", "skip_connect"], "width": [16, 64], "kernel": [7, None]}

    operations = SPACES["resnet"].parse(notation).operations

    assert operations == (
        Operation.of("input"),
        Operation.of("decision", depth=2),
        Operation.of("separable_conv", op="sep_conv_5x5", kernel=7, kernel_size=7, width=16, channels=16),
        Operation.of("identity", op="skip_connect", width=64, channels=64),
        Operation.of("output"),
    )


def test_decisions_of_the_whole_feed_the_first_layer_and_layers_are_a_chain() -> None:
    architecture = SPACES["resnet"].sample(np.random.default_rng(0))

    last = architecture.num_nodes - 1
    assert set(architecture.edges) == {(0, 1), (0, 2), (1, 2), *itertools.pairwise(range(2, last + 1))}


def test_a_space_without_layers_is_its_decisions_between_input_and_output() -> None:
    architecture = SPACES["graphgym"].sample(np.random.default_rng(0))

    assert [op.kind for op in architecture.operations] == ["input", "decision", "output"]
    assert architecture.edges == ((0, 1), (1, 2))
    assert architecture.operations[1].get("function") == architecture.operations[1].get("act")


def test_the_input_size_is_an_attribute_of_the_whole() -> None:
    space = DeclaredSpace("sized", definition(ordinal("resolution", 128, 224), categorical("op", "gcn", repeat=1)))

    assert dict(space.parse({"resolution": 224, "op": ["gcn"]}).global_attributes) == {"resolution": 224}


def test_meanings_never_take_the_name_of_a_decision() -> None:
    space = DeclaredSpace(
        "clash",
        definition(
            categorical("op", "conv3x3", "conv5x5", repeat=2),
            ordinal("kernel_size", 3, 5, repeat=2, when={"op": "conv5x5"}),
            categorical("kind", "x", "y", repeat=2),
        ),
    )

    listed = list(space.enumerate())

    assert len({a.hash for a in listed}) == len(listed) == (2 * (1 + 2)) ** 2
    assert all(space.format(dataclasses.replace(a, genotype=None)) == a.genotype for a in listed)


def test_many_decisions_of_the_whole_are_shared_among_nodes() -> None:
    space = DeclaredSpace("wide", definition(*(categorical(f"d{n}", 0, 1) for n in range(70))))

    architecture = space.sample(np.random.default_rng(0))

    assert [len(op.attributes) for op in architecture.operations] == [0, 32, 32, 6, 0]
    assert space.format(dataclasses.replace(architecture, genotype=None)) == architecture.genotype


def test_features_are_one_hot_or_scaled_and_zero_where_nothing_applies() -> None:
    space = DeclaredSpace(
        "small",
        definition(
            integer("depth", 1, 2),
            categorical("op", "a", "b", repeat="depth"),
            ordinal("width", 8, 16, 32, repeat="depth"),
            real("lr", 1e-4, 1e-2, log=True),
        ),
    )

    features = space.features(space.parse({"depth": 1, "op": ["b"], "width": [16], "lr": 1e-3}))

    assert space.feature_names == ("depth", "op[0]=a", "op[0]=b", "op[1]=a", "op[1]=b", "width[0]", "width[1]", "lr")
    assert features == pytest.approx((0, 0, 1, 0, 0, 0.5, 0, 0.5), abs=1e-12)  # a few roundings of logarithms


def test_numbers_move_by_one_step_or_a_tenth_of_their_range() -> None:
    space = DeclaredSpace("numbers", definition(integer("n", 0, 100), real("x", 0, 10)))

    moved = [json.loads(a.genotype or "") for a in space.neighbours(space.parse({"n": 50, "x": 9.5}))]

    assert sorted(m["n"] for m in moved if m["n"] != 50) == [40, 49, 51, 60]
    assert sorted(m["x"] for m in moved if m["x"] != 9.5) == pytest.approx([8.5, 10.0])


def test_a_layer_that_a_neighbour_adds_is_like_the_one_before() -> None:
    own = SPACES["resnet"].parse({"depth": 1, "op": ["skip_connect"], "width": [64], "kernel": [None]})

    deeper = [json.loads(a.genotype or "") for a in SPACES["resnet"].neighbours(own)]

    assert {"depth": 2, "op": ["skip_connect"] * 2, "width": [64] * 2, "kernel": [None] * 2} in deeper


def test_samples_over_a_logarithm_are_even_among_its_decades() -> None:
    rng = np.random.default_rng(0)

    rates = [json.loads(SPACES["training"].sample(rng).genotype or "")["lr"] for _ in range(400)]

    for decade in (1e-5, 1e-4, 1e-3, 1e-2):
        assert 60 <= sum(decade <= rate < 10 * decade for rate in rates) <= 140  # 100 expected, deviation 9


def test_a_space_of_one_architecture_has_no_moves() -> None:
    space = DeclaredSpace("one", definition(integer("n", 3, 3)))
    only = space.parse({"n": 3})

    assert space.neighbours(only) == []
    assert space.mutate(only, np.random.default_rng(0)) == only
    assert list(space.enumerate()) == [only]


def test_graphs_of_other_spaces_are_refused() -> None:
    own = SPACES["resnet"].sample(np.random.default_rng(0))
    extra = Architecture((*own.operations, Operation.of("conv")), own.edges)
    rewired = Architecture(own.operations, own.edges[1:])

    for foreign in (extra, rewired, Architecture.build([Operation.of("decision", depth=99)], [])):
        with pytest.raises(NotInSpaceError, match="expected an architecture of this space"):
            SPACES["resnet"].format(foreign)


VALUES = "1 to 200"


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "expected an object with version and decisions, got list"),
        ({"version": 1}, "definition: expected decisions, got none"),
        ({"version": 2, "decisions": [integer("a", 0, 1)]}, "version: expected 1, got 2"),
        ({"version": True, "decisions": [integer("a", 0, 1)]}, "version: expected 1, got True"),
        ({**definition(integer("a", 0, 1)), "name": "x"}, r"definition: expected the keys .* got also \['name'\]"),
        (definition(), "decisions: expected a list of 1 to 200 decisions, got 0 of them"),
        (definition(*(integer(f"a{n}", 0, 1) for n in range(201))), "got 201 of them"),
        ({"version": 1, "decisions": "abc"}, "decisions: expected a list .* got str"),
        ({"version": 1, "decisions": [3]}, r"decisions\[0\]: expected an object, got int"),
        (definition(integer("1a", 0, 1)), r"decisions\[0\]: expected name to be at most 64 letters"),
        (definition(integer("a-b", 0, 1)), "expected name"),
        (definition(integer("é", 0, 1)), "expected name"),
        (definition(integer("a" * 65, 0, 1)), "expected name"),
        (
            definition(integer("a", 0, 1), integer("a", 0, 1)),
            r"decisions\[1\]: expected every name once, got 'a' again",
        ),
        (definition({"name": "a", "type": "boolean"}), "decision 'a': expected type to be one of categorical"),
        (definition({"name": "a", "type": ["x"]}), "expected type to be one of"),
        (definition({"name": "a", "type": "integer", "low": 1}), "decision 'a': expected high, got none"),
        (definition(categorical("a", 1, low=3)), r"got also \['low'\]"),
        (definition(categorical("a")), f"values to be a list of {VALUES} values, got 0 of them"),
        (definition(categorical("a", *range(201))), "got 201 of them"),
        (definition(categorical("a", 1, 1.0)), "expected every value once, got 1.0 again"),
        (definition(categorical("a", None)), "finite numbers or truth values, got None"),
        (definition(categorical("a", [1])), r"got \[1\]"),
        (definition(categorical("a", math.nan)), "got nan"),
        (definition(categorical("a", 10**5000)), "got a whole number of 16610 bits"),
        (definition(categorical("a", "x" * 257)), "text of at most 256 characters"),
        (definition(categorical("a", "\0")), "without NUL"),
        (definition(integer("a", 2, 1)), "expected low to be at most high, got low 2 and high 1"),
        (definition(integer("a", 0, 1.5)), "expected high to be a whole number of at most 2\\^53, got 1.5"),
        (definition(integer("a", False, 1)), "expected low to be a whole number"),
        (definition(integer("a", 0, 2**60)), "at most 2\\^53"),
        (definition(integer("a", 0, 10, step=3)), "expected high to be low plus a whole number of steps"),
        (definition(integer("a", 0, 10, step=0)), "expected step to be above 0, got 0"),
        (definition(integer("a", 0, 10, log=True)), "expected low above 0 because log is true, got 0"),
        (definition(integer("a", 1, 10, log="yes")), "expected log to be true or false, got 'yes'"),
        (definition(integer("a", 1, 10, log=True, step=1)), "expected either log or step, got both"),
        (definition(real("a", 1.0, 1.0)), "expected low to be less than high"),
        (definition(real("a", math.nan, 1.0)), "expected low to be a finite number"),
        (definition(real("a", 0.0, math.inf)), "expected high to be a finite number"),
        (definition(real("a", 0.0, 10**400)), "expected high to be a finite number"),
        (definition(real("a", 0.0, 1e200)), "at most 1e\\+100"),
        (definition(real("a", 0.0, 1.0, step=0.3)), "expected high to be low plus a whole number of steps"),
        (definition(real("a", 0.0, 1.0, step=1e-300)), "expected at most 2\\^53 steps"),
        (definition(real("a", 1e20, 2e20, step=1e6)), "step"),
        (definition(real("a", 0.0, 1.0, step="x")), "expected step to be a finite number"),
        (definition(integer("a", 0, 1, repeat=0)), "expected repeat to be a whole number from 1 to 200"),
        (definition(integer("a", 0, 1, repeat=201)), "got 201"),
        (definition(integer("a", 0, 1, repeat=True)), "got True"),
        (definition(integer("a", 0, 1, repeat="b")), "expected repeat to name a decision, got 'b'"),
        (definition(integer("b", 0, 201), integer("a", 0, 1, repeat="b")), "whole numbers from 0 to 200, got 'b'"),
        (definition(integer("b", -1, 2), integer("a", 0, 1, repeat="b")), "whole numbers from 0 to 200"),
        (definition(categorical("b", "x"), integer("a", 0, 1, repeat="b")), "whole numbers from 0 to 200"),
        (definition(real("b", 0, 1), integer("a", 0, 1, repeat="b")), "whole numbers from 0 to 200"),
        (definition(integer("b", 0, 1, repeat=2), integer("a", 0, 1, repeat="b")), "that is not repeated, got 'b'"),
        (definition(integer("a", 0, 1, when=["b"])), "expected when to be an object, got list"),
        (definition(integer("a", 0, 1, when={"b": 1})), "expected when to name decisions, got 'b'"),
        (definition(integer("a", 0, 1, when={3: 1})), "expected when to name decisions, got 3"),
        (definition(integer("b", 0, 1), integer("a", 0, 1, when={"b": 2})), "expected when.b to be a whole number"),
        (definition(integer("b", 0, 1), integer("a", 0, 1, when={"b": []})), "expected when.b to list 1 to 200 values"),
        (definition(real("b", 0, 1), integer("a", 0, 1, when={"b": 1})), "got the real 'b'"),
        (definition(integer("b", 0, 1, repeat=2), integer("a", 0, 1, when={"b": 1})), "of the same layers"),
        (definition(integer("b", 0, 1, repeat=2), integer("a", 0, 1, repeat=3, when={"b": 1})), "of the same layers"),
        (definition(integer("a", 0, 1, when={"a": 1})), "got the circle a -> a"),
        (
            definition(integer("a", 0, 1, when={"b": 1}), integer("b", 0, 1, when={"a": 1})),
            "expected no decision to depend on itself, got the circle",
        ),
        (definition(*(integer(f"a{n}", 0, 1, repeat=200) for n in range(11))), "at most 2000 decisions .* got 2200"),
        (definition(integer("a", 0, 1, description=7)), "decision 'a': expected description to be text"),
        ({**definition(integer("a", 0, 1)), "description": "\0"}, "definition: expected description to be text"),
    ],
)
def test_a_wrong_document_is_refused_with_the_part_and_what_was_expected(document: Any, complaint: str) -> None:
    with pytest.raises(InvalidDefinitionError, match=complaint):
        DeclaredSpace("wrong", document)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_to_a_document_is_either_refused_or_still_a_space(data: st.DataObject) -> None:
    document = copy.deepcopy(ALL[data.draw(st.sampled_from(sorted(ALL)))])
    part = document["decisions"][data.draw(st.integers(0, len(document["decisions"]) - 1))]
    junk = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from(["op", "depth"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
    part[data.draw(st.sampled_from([*part, "repeat", "when", "step", "log", "values"]))] = data.draw(junk)

    try:
        space = DeclaredSpace("damaged", document)
    except InvalidDefinitionError:
        return
    architecture = space.sample(np.random.default_rng(0))

    assert space.parse(architecture.genotype or "") == architecture


@st.composite
def small_definitions(draw: st.DrawFn) -> dict[str, Any]:
    decisions: list[dict[str, Any]] = [integer("depth", draw(st.integers(0, 1)), 2)]
    for number in range(draw(st.integers(1, 4))):
        more: dict[str, Any] = {"repeat": draw(st.sampled_from(["depth", 2, None]))}
        allowed = [d for d in decisions if d.get("repeat") in (None, more["repeat"])]
        if draw(st.booleans()):
            more["when"] = {draw(st.sampled_from(allowed))["name"]: draw(st.sampled_from([1, [1, 2]]))}
        decisions.append(draw(st.sampled_from([categorical, ordinal]))(f"d{number}", 0, 1, 2, **more))
    return definition(*draw(st.permutations(decisions)))


@settings(max_examples=60, deadline=None)
@given(small_definitions())
def test_the_count_of_any_small_space_is_that_of_its_list(document: dict[str, Any]) -> None:
    space = DeclaredSpace("small", document)
    size = space.size()
    assert size is not None

    vectors = list(itertools.islice(space.enumerate(), 400)) if size <= 200_000 else []

    assert len(vectors) == (min(size, 400) if size <= 200_000 else 0)
    assert len({a.hash for a in vectors}) == len(vectors)


def test_counting_does_not_depend_on_the_documents_order() -> None:
    decisions = SPACES["nested"].decisions

    sizes = {count_genotypes(Definition(order)) for order in itertools.permutations(decisions)}

    assert sizes == {SPACES["nested"].size()}


@pytest.mark.parametrize(
    ("decision", "spread"),
    [
        ({"type": "categorical", "values": ["a", "b", True, 4, 5, 6, 7, 8]}, ["a", "b", True, 4, 5, 6, 7, 8]),
        ({"type": "integer", "low": 2, "high": 5}, [2, 3, 4, 5]),
        ({"type": "integer", "low": 0, "high": 100}, [0, 25, 50, 75, 100]),
        ({"type": "integer", "low": 1, "high": 1_000_000_000, "log": True}, [1, 178, 31_623, 5_623_413, 1_000_000_000]),
        ({"type": "real", "low": 0.0, "high": 1.0, "step": 0.1}, [0.0, 0.2, 0.5, 0.8, 1.0]),
        ({"type": "real", "low": 0.01, "high": 100.0, "log": True}, [0.01, 0.1, 1.0, 10.0, 100.0]),
    ],
)
def test_a_few_values_stand_for_many(decision, spread) -> None:
    space = DeclaredSpace("mine", {"version": 1, "decisions": [{"name": "x", **decision}]})

    found = space.domain(("x", -1)).spread(5)

    assert len(found) == len(spread)
    for value, expected in zip(found, spread, strict=True):
        assert value == (pytest.approx(expected) if isinstance(expected, float) else expected)


@pytest.mark.parametrize("most", [1, 2, 5, 12])
@pytest.mark.parametrize("apart", [(), (7,), (0, 1, 30, 60)])
@pytest.mark.parametrize(
    "grid",
    [Grid(0, 60, 1), Grid(1, 61, 3, log=True), Grid(0.0, 6.0, 0.1), Grid(7, 7, 1), Grid(0, 60, 30), Grid(1, 1_000, 1, log=True)],
    ids=str,
)  # fmt: skip
def test_parts_of_a_grid_are_runs_of_values_of_the_same_part_of_its_range(grid: Grid, most: int, apart) -> None:
    keys = {value_key(one) for one in apart}

    def part(value: float) -> tuple[int, float | None]:
        (unit,) = grid.features(value)
        return min(most - 1, int(unit * most)), value if value_key(value) in keys else None

    runs = [list(members) for _, members in itertools.groupby(grid.values(), part)]

    assert [list(one.values()) for one in grid.parts(most, keys)] == runs


def test_a_decision_among_billions_of_numbers_is_cut_without_looking_at_them() -> None:
    decisions = [
        {"name": "seed", "type": "integer", "low": 0, "high": 10**15},
        {"name": "rate", "type": "real", "low": 0.0, "high": 1.0, "step": 1e-9},
    ]
    space = DeclaredSpace("mine", {"version": 1, "decisions": decisions})

    assert [len(step.options) for step in space.stepwise().steps] == [12, 12]
