"""What a protocol leaves out is left out; with the published tables at hand, of every task that there is."""

from __future__ import annotations

import contextlib
import re

import numpy as np
import pytest

from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.leave_out import (
    HELP_ASKED,
    HELP_TRAINED,
    NASFLAT_SPLITS,
    hardware,
    leave_outs,
    left_out_of,
    matches,
    trainings,
)
from predictor.benchmarks.nasbench201 import NB201_HARDWARE
from predictor.benchmarks.protocols import Case, protocol, protocols
from predictor.benchmarks.registry import read_all
from predictor.errors import BenchmarkError, NotInSpaceError
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.registry import built_in_search_spaces

CASES = [(one.name, case) for one in protocols().values() for case in one.cases]
NAMES = [f"{name}:{case.name}" for name, case in CASES]
_COST_NAMES = ("/latency_ms/", "/energy_mj/", "/throughput/", "/train_seconds/")
ACCURACY_CASES = [(name, case) for name, case in CASES if not any(part in case.task for part in _COST_NAMES)]
COSTS = ("latency", "energy", "throughput", "training_time")
SAME_DATASET = {"amazonphoto": "photo", "coauthorcs": "cs", "amazoncomputers": "computers"}
SAME_HARDWARE = {"raspberrypi": "raspi4"}


@pytest.fixture(scope="session")
def tasks(published_folder) -> dict[str, BenchmarkTask]:
    return {one.task.name: one for one in read_all(published_folder, max_architectures_per_task=1)}


def left_in(case: Case, tasks: dict[str, BenchmarkTask]) -> list[BenchmarkTask]:
    return [one for name, one in tasks.items() if not case.leaves_out(name)]


def dataset(name: str) -> str:
    """The data set whatever a table calls it: GraphGym adds what is predicted, NAS-Bench-MR the setting."""
    plain = re.sub(r"_(node|graph|link_pred|4x_down|pretrained|\d+img)$", "", name)
    plain = re.sub(r"^(scalefree|smallworld)_.*", r"\1", plain)
    return SAME_DATASET.get(plain, plain)


def machine(device: str | None) -> str:
    return SAME_HARDWARE.get(hardware(device or ""), hardware(device or ""))


def test_names_are_unique_within_a_protocol() -> None:
    for one in protocols().values():
        names = [case.name for case in one.cases]
        assert len(set(names)) == len(names), one.name


def test_an_unknown_protocol_or_training_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="P1"):
        protocol("P9")
    with pytest.raises(BenchmarkError, match="p2_fbnet"):
        left_out_of("p2")


@pytest.mark.parametrize(("name", "case"), CASES, ids=NAMES)
def test_the_asked_task_is_left_out_of_its_own_training(name, case) -> None:
    assert matches(case.task, case.left_out)
    if name == "P0":  # as for a user: everything that was measured on other data sets
        assert case.left_out == (f"*/{case.task.split('/')[1]}/*",)
    else:
        assert case.left_out in (("*",), *leave_outs().values())
    if case.training is not None:
        assert set(case.left_out) <= set(trainings()[case.training]) or name == "P0"


@pytest.mark.parametrize("training", trainings())
def test_our_own_digits_take_part_in_no_training(training) -> None:
    assert matches("nasbench201/digits/accuracy", trainings()[training])
    assert matches("nasbench201/digits/latency_ms/cpu", trainings()[training])


def share_written(source: SearchSpace, other: SearchSpace) -> float:
    """How many architectures of one space another can write."""
    rng, written = np.random.default_rng(0), 0
    for _ in range(40):
        with contextlib.suppress(NotInSpaceError):
            written += bool(other.format(source.sample(rng)))
    return written / 40


STRICT = sorted({str(one.training) for one in (*protocol("P2").cases, *protocol("P2S").cases)} - {"p2_nasbench201", "p2_transnas_micro"})  # fmt: skip


def test_the_strict_reading_asks_what_the_literal_one_asks_of_these_cells() -> None:
    literal, strict = ({case.name: case.training for case in protocol(name).cases} for name in ("P2", "P2S"))

    assert set(strict.values()) == {"p2s_cells"}
    assert {name: literal[name] for name in strict} == {name: f"p2_{name.partition('/')[0]}" for name in strict}
    assert left_out_of("p2_nasbench201") == ("nasbench201/*", "*/digits/*")
    assert left_out_of("p2_transnas_micro") == ("transnas_micro/*", "*/digits/*")


@pytest.mark.parametrize("training", STRICT)
def test_no_space_that_is_left_in_is_a_part_or_a_whole_of_a_new_space(training) -> None:
    spaces = [one for one in built_in_search_spaces().values() if not one.is_open]
    new = [one for one in spaces if matches(f"{one.name}/any/accuracy", trainings()[training])]

    assert new
    for asked in new:
        for known in (one for one in spaces if one not in new):
            assert share_written(asked, known) < 0.5, known.name
            assert share_written(known, asked) < 0.5, known.name


@pytest.mark.parametrize(("name", "case"), CASES, ids=NAMES)
def test_the_tables_hold_what_is_asked_and_its_fidelities(name, case, tasks) -> None:
    assert case.task in tasks
    assert set(case.fidelities) <= set(tasks[case.task].fidelities)


@pytest.mark.parametrize(("name", "case"), ACCURACY_CASES, ids=[f"{name}:{case.name}" for name, case in ACCURACY_CASES])
def test_no_task_that_is_left_in_has_the_asked_space_data_set_and_an_accuracy(name, case, tasks) -> None:
    asked = tasks[case.task].task
    assert asked.metric.family == "accuracy"

    leaks = [
        one.task.name
        for one in left_in(case, tasks)
        if (one.task.search_space, dataset(one.task.dataset)) == (asked.search_space, dataset(asked.dataset))
        and one.task.metric.family in ("accuracy", "loss")
    ]
    assert leaks == []


@pytest.mark.parametrize("case", protocol("P1").cases, ids=lambda case: case.name)
def test_no_table_of_any_space_has_a_new_tasks_data_set_or_device(case, tasks) -> None:
    asked = tasks[case.task].task
    if asked.metric.family in COSTS:
        leaks = [one.task.name for one in left_in(case, tasks) if machine(one.task.device) == machine(asked.device)]
    elif asked.dataset == "cifar10":  # attacked: other spaces were trained on the same images, and never attacked
        leaks = [one.task.name for one in left_in(case, tasks) if "accuracy_under" in one.task.name]
    else:
        leaks = [
            one.task.name
            for one in left_in(case, tasks)
            if dataset(one.task.dataset) == dataset(asked.dataset) and one.task.metric.family == "accuracy"
        ]
    assert leaks == []


@pytest.mark.parametrize("case", [*protocol("P2").cases, *protocol("P2S").cases], ids=lambda case: case.name)
def test_nothing_of_a_new_space_is_left_in(case, tasks) -> None:
    space = tasks[case.task].task.search_space

    assert [one.task.name for one in left_in(case, tasks) if one.task.search_space == space] == []


@pytest.mark.parametrize("case", protocol("P3").cases, ids=lambda case: case.name)
def test_new_devices_are_known_from_no_table_and_of_the_asked_space_only_the_splits_own(case, tasks) -> None:
    asked = tasks[case.task].task
    splits = {f"HELP {space}": HELP_TRAINED[space] for space in HELP_ASKED}
    splits |= {f"NASFLAT {split}": trained for split, (trained, _) in NASFLAT_SPLITS.items()}
    known = left_in(case, tasks)
    trained = {
        one.task.device
        for one in known
        if one.task.search_space == asked.search_space and one.task.metric == asked.metric and one.task.dataset not in ("digits", "photo_regions")
    }  # fmt: skip
    elsewhere = [one.task.name for one in known if one.task.search_space != asked.search_space and machine(one.task.device) == machine(asked.device)]  # fmt: skip

    assert all(trained == set(splits[group]) for group in case.groups)
    assert elsewhere == []
    assert [one.task.name for one in known if one.group == NB201_HARDWARE.name] == []


def test_helps_devices_are_asked_about_in_both_spaces_and_in_nasflats_own_split() -> None:
    groups = [group for case in protocol("P3").cases for group in case.groups]

    assert {group: groups.count(group) for group in dict.fromkeys(groups)} == {
        "HELP nasbench201": 8,
        "HELP fbnet": 8,
        "NASFLAT FD": 3,
        "NASFLAT FA": 4,
        "NASFLAT F1": 5,
        "NASFLAT F2": 5,
        "NASFLAT F3": 5,
        "NASFLAT F4": 3,
    }


@pytest.mark.parametrize("training", trainings())
def test_every_pattern_leaves_something_out(training, tasks) -> None:
    unused = [pattern for pattern in trainings()[training] if not any(matches(name, (pattern,)) for name in tasks)]

    assert unused == []
