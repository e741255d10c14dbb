"""What every space promises that decides its architectures step by step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.declared_steps import MAX_PARTS
from predictor.search_spaces.registry import built_in_search_spaces, declared_search_space, search_space
from predictor.search_spaces.stepwise import Path, Step, Stepwise

LAYERED = declared_search_space(
    "layered",
    {
        "version": 1,
        "decisions": [
            {"name": "depth", "type": "integer", "low": 1, "high": 3},
            {"name": "op", "type": "categorical", "values": ["conv3x3", "mbconv_k3_e6"], "repeat": "depth"},
            {"name": "width", "type": "ordinal", "values": [16, 32], "repeat": "depth", "when": {"op": "conv3x3"}},
        ],
    },
)
NUMBERS = declared_search_space(
    "numbers",
    {
        "version": 1,
        "decisions": [
            {"name": "units", "type": "integer", "low": 1, "high": 1000, "log": True},
            {"name": "rate", "type": "real", "low": 1e-5, "high": 0.1, "log": True},
            {"name": "dropout", "type": "real", "low": 0.0, "high": 0.5},
            {"name": "share", "type": "real", "low": 0.0, "high": 1.0, "step": 0.01},
            {"name": "extra", "type": "categorical", "values": ["a", "b"], "when": {"units": [7, 500]}},
        ],
    },
)
DECIDED = [*(space for space in built_in_search_spaces().values() if not space.is_open), LAYERED, NUMBERS]
LISTED = [LAYERED, search_space("nasbench_macro"), search_space("transnas_micro")]
every_space = pytest.mark.parametrize("space", DECIDED, ids=lambda space: space.name)


def steps_of(space: SearchSpace) -> Stepwise:
    steps = space.stepwise()
    assert steps is not None
    return steps


def walked(steps: Stepwise, rng: np.random.Generator) -> Path:
    path: Path = ()
    for step in steps.steps:
        options = steps.open_options(path)
        assert list(options) == sorted(set(options))
        assert all(0 <= option < len(step.options) for option in options)
        path = (*path, int(rng.choice(options)))
    return path


def every_path(steps: Stepwise, path: Path = ()) -> Iterator[Path]:
    if len(path) == len(steps.steps):
        yield path
        return
    for option in steps.open_options(path):
        yield from every_path(steps, (*path, option))


@every_space
def test_open_options_always_lead_to_an_architecture_of_the_space(space: SearchSpace) -> None:
    steps, rng = steps_of(space), np.random.default_rng(0)
    for _ in range(30):
        built = steps.build(walked(steps, rng), rng)

        assert space.parse(space.format(built)) == built


@every_space
def test_every_architecture_has_a_path_of_open_options(space: SearchSpace) -> None:
    steps, rng = steps_of(space), np.random.default_rng(1)
    for _ in range(30):
        path = steps.path_of(space.sample(rng))

        assert len(path) == len(steps.steps)
        assert all(path[place] in steps.open_options(path[:place]) for place in range(len(path)))


@pytest.mark.parametrize("space", [space for space in DECIDED if space is not NUMBERS], ids=lambda space: space.name)
def test_the_path_of_an_architecture_builds_it_again(space: SearchSpace) -> None:
    steps, rng = steps_of(space), np.random.default_rng(2)
    for _ in range(30):
        architecture = space.sample(rng)

        assert steps.build(steps.path_of(architecture), rng) == architecture


@pytest.mark.parametrize("space", LISTED, ids=lambda space: space.name)
def test_all_paths_together_are_all_architectures(space: SearchSpace) -> None:
    steps, rng = steps_of(space), np.random.default_rng(3)

    built = {steps.build(path, rng).hash for path in every_path(steps)}

    assert built == {architecture.hash for architecture in space.enumerate()}


def test_an_option_may_be_a_range_of_numbers_out_of_which_one_is_drawn() -> None:
    steps, rng = steps_of(NUMBERS), np.random.default_rng(4)
    path = steps.path_of(NUMBERS.parse({"units": 900, "rate": 0.05, "dropout": 0.11, "share": 0.33}))

    built = [steps.build(path, rng) for _ in range(20)]

    assert len({one.hash for one in built}) == 20
    assert {steps.path_of(one) for one in built} == {path}
    rate = steps.steps[[step.name for step in steps.steps].index("rate")]
    assert len(rate.options) == MAX_PARTS


def test_numbers_that_a_condition_names_are_options_of_their_own() -> None:
    steps = steps_of(NUMBERS)
    units = next(step for step in steps.steps if step.name == "units")

    assert {"7", "500"} <= set(units.options)
    assert sum(len(numbers_of(option)) for option in units.options) == 1000


def numbers_of(option: str) -> range:
    low, _, high = option.partition(" to ")
    return range(int(low), int(high or low) + 1)


def test_what_does_not_apply_has_one_option() -> None:
    steps = steps_of(LAYERED)
    names = [step.name for step in steps.steps]
    shallow = steps.path_of(LAYERED.parse({"depth": 1, "op": ["mbconv_k3_e6"], "width": [None]}))

    assert names[0] == "depth"
    assert list(steps.open_options(shallow[: names.index("width[0]")])) == [0]
    assert list(steps.open_options(shallow[: names.index("op[1]")])) == [0]
    assert list(steps.open_options(shallow[: names.index("op[0]")])) == [0, 1]


def test_steps_about_the_whole_come_first() -> None:
    for space in DECIDED:
        modules = [step.module for step in steps_of(space).steps]

        assert modules == sorted(modules, key=lambda module: module != ""), space.name


def test_steps_of_one_sort_have_one_kind() -> None:
    kinds = {space.name: {step.kind for step in steps_of(space).steps} for space in DECIDED}

    assert kinds["fbnet"] == {"layer_"}
    assert kinds["ofa_mobilenetv3"] == {"ks_", "e_", "d_", "r"}
    assert kinds["darts"] == {"_node__inputs", "_node__first", "_node__second"}
    assert kinds["layered"] == {"depth", "op[]", "width[]"}
    assert Step("normal_node_2", (), "normal").kind == Step("reduction_node_3", (), "reduction").kind


def test_wirings_of_nasbench101_keep_to_nine_edges_and_reach_the_output() -> None:
    steps, rng = steps_of(search_space("nasbench101")), np.random.default_rng(5)
    taken = [sum(walked(steps, rng)[:21]) for _ in range(200)]

    assert max(taken) == 9
    assert min(taken) >= 1


def test_the_open_space_has_no_steps() -> None:
    assert search_space("graph").stepwise() is None


def test_paths_are_asked_for_in_any_order() -> None:
    steps, rng = steps_of(LAYERED), np.random.default_rng(6)
    paths = [walked(steps, rng) for _ in range(10)]
    places = [(path, place) for path, place in itertools.product(paths, range(len(steps.steps)))]

    forwards = {(path, place): tuple(steps.open_options(path[:place])) for path, place in places}
    backwards = {(path, place): tuple(steps.open_options(path[:place])) for path, place in reversed(places)}

    assert forwards == backwards
