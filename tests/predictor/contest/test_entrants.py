"""Which tasks contestants may learn from, without published tables: the benchmark that ships and toys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.protocols import Case
from predictor.contest import entrants as module
from predictor.contest.entrants import Allowed, Entrants, Tables

from .conftest import TASK


@pytest.fixture
def tables(measured, monkeypatch) -> Tables:
    """The asked task, one of the same space, one of another, and one that is left out; parts are of 30 architectures."""
    names = {"sibling": "nasbench201", "left_out": "nasbench201", "elsewhere": "fbnet"}
    siblings = [
        replace(measured, task=replace(TASK, dataset=dataset, search_space=space)) for dataset, space in names.items()
    ]

    def read_all(_folder, max_architectures_per_task=None, pool=None) -> list[BenchmarkTask]:
        return [part(one, max_architectures_per_task and 30) for one in (measured, *siblings)]

    monkeypatch.setattr(module, "read_all", read_all)
    return Tables(None)


def part(one: BenchmarkTask, count: int | None) -> BenchmarkTask:
    return replace(
        one,
        notations=one.notations[:count],
        rows=one.rows[:count],
        values=one.values[:count],
        fidelities={},
        params=None,
    )


@pytest.fixture
def asked() -> Case:
    return Case("toy", TASK.name, "p1_f0", ("*/left_out/*",), ("toys",), sizes=(0, 5))


def test_what_is_left_out_and_the_asked_task_are_not_learned_from(asked, tables) -> None:
    allowed = Allowed(asked, tables)

    assert allowed.names == ("nasbench201/sibling/accuracy", "fbnet/elsewhere/accuracy")
    assert [one.task.dataset for one in allowed.own] == ["sibling"]


def test_tables_of_the_asked_space_are_known_whole(asked, tables, measured) -> None:
    allowed = Allowed(asked, tables)

    assert [len(one.measured) for one in allowed.own_whole()] == [len(measured), 30]
    assert [len(one.measured) for one in allowed.parts()] == [30, 30]


def test_who_is_alone_learns_from_nothing(asked, tables) -> None:
    alone = replace(asked, training=None, left_out=("*",))

    assert Allowed(alone, tables).names == ()


def entrants(tables: Tables, *patterns: str) -> Entrants:
    return Entrants(tables, tables.folder, patterns, lambda _text: None)  # type: ignore[arg-type]


def test_preparing_a_case_parses_no_architecture(asked, tables, monkeypatch) -> None:
    monkeypatch.setattr(module, "sources_of", lambda _tasks: pytest.fail("architectures were read"))

    found = entrants(tables, "*").of(asked)

    assert {"source_mean", "fsbo", "ridge"} <= {one.name for one in found}


def test_what_learned_for_all_spaces_is_kept_for_the_next_case_and_what_knows_one_space_is_not(asked, tables) -> None:
    prepared = entrants(tables, "source_mean", "maml")
    elsewhere = replace(asked, name="other", task="fbnet/elsewhere/accuracy", left_out=("*/left_out/*", "*/toy/*"))
    again = replace(elsewhere, name="again")

    first, second, third = (
        {one.name: one for one in prepared.of(case)} for case in (replace(asked, name="a"), elsewhere, again)
    )

    assert first["maml"].fingerprint != second["maml"].fingerprint  # they may know different tasks
    assert second["maml"] is third["maml"]
    assert second["source_mean"] is third["source_mean"]
    assert len({first["source_mean"].fingerprint, second["source_mean"].fingerprint}) == 2
