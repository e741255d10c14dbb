"""Searches beside each other, on a small table that is made here."""

from __future__ import annotations

import math

import numpy as np
import pytest
from known_values import convolutions_in

from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.leave_out import matches
from predictor.benchmarks.protocols import EVERYTHING, Case
from predictor.contest.search_cases import SEARCHED, SPACE, TASK, SearchedTask, search_cases, searched_task
from predictor.contest.search_report import curves, search_report
from predictor.contest.search_results import SearchKey, SearchResult, SearchResults
from predictor.contest.searchers import TPE, Peers, measuring, ours
from predictor.contest.tree_parzen import tree_parzen_search
from predictor.errors import BenchmarkError
from predictor.search_spaces.transnas_micro import TransNASMicro
from predictor.tasks import Metric, Task

WHOLE = TransNASMicro()
SMALL = [one for number, one in enumerate(WHOLE.enumerate()) if number % 16 == 5]


def a_table(dataset: str, direction: str = "maximize") -> BenchmarkTask:
    sign = 1.0 if direction == "maximize" else -1.0
    return BenchmarkTask(
        Task(WHOLE.name, dataset, Metric("accuracy", "%", direction)),  # type: ignore[arg-type]
        "made here",
        WHOLE,
        tuple(WHOLE.format(one) for one in SMALL),
        np.arange(len(SMALL)),
        np.array([sign * (50.0 + convolutions_in(one)) for one in SMALL]),
    )


@pytest.fixture(scope="module")
def asked() -> SearchedTask:
    return SearchedTask(Case("here", "here", None, EVERYTHING, ()), a_table("here"))


def a_result(
    searcher: str = "evolution", kind: str = "measured", seed: int = 0, values=(1.0, 3.0, 2.0)
) -> SearchResult:
    return SearchResult("task", "a/b/c", searcher, kind, seed, "f", 120, 4.0, 1.0, list(values), 0.5)


def test_every_searched_task_that_a_view_names_leaves_itself_out() -> None:
    for view in (TASK, SPACE):
        found = search_cases(view)
        assert {one.task for one in found} <= set(SEARCHED)
        assert all(one.leaves_out(one.task) and one.training for one in found)
    assert {one.task for one in search_cases(SPACE)} == set(SEARCHED)
    with pytest.raises(BenchmarkError, match="task, space"):
        search_cases("device")


def test_where_the_space_is_left_out_nothing_of_it_is_heard() -> None:
    tables = {name: a_table(name) for name in ("x", "y")}
    case = Case("x", "x", "t", ("*/x/*",), ())

    known, unknown = searched_task(TASK, case, tables), searched_task(SPACE, case, tables)

    assert known is not None
    assert [one.task.name for one in known.others] == ["transnas_micro/y/accuracy"]
    assert unknown is not None
    assert unknown.others == ()
    assert unknown.related == []
    assert searched_task(TASK, Case("z", "z", "t", (), ()), tables) is None
    assert matches("a/x/b", case.left_out)


def test_the_optimum_is_the_tables_best_whichever_way_the_metric_points(asked) -> None:
    best = max(convolutions_in(one) for one in SMALL)
    less_is_better = SearchedTask(asked.case, a_table("there", "minimize"))

    assert asked.optimum == 50.0 + best
    assert less_is_better.optimum == -50.0 - best


@pytest.mark.parametrize("name", ["random", "evolution", "local"])
def test_a_search_ends_with_the_best_or_its_budget_and_repeats_itself(asked, name: str) -> None:
    searcher = measuring(name)

    found, again = (searcher.result("task", asked, 40, seed=1) for _ in range(2))

    assert found.values == again.values
    assert len(found.values) == 40 or found.values[-1] == asked.optimum
    assert asked.optimum not in found.values[:-1]


def test_optuna_counts_different_architectures_alone(asked) -> None:
    pytest.importorskip("optuna")
    outcomes = tree_parzen_search(asked.problem, asked.evaluate, 25, 0, lambda _outcome: False)

    hashes = [one.architecture.hash for one in outcomes]
    assert len(hashes) == len(set(hashes)) == 25


def test_peers_and_ours_search_the_same_table(asked, tiny_meta) -> None:
    peers = {one.name: one for one in Peers().all()}
    own = {one.name: one for one in ours(tiny_meta)}

    found = own["Archcast, best forecast"].result("task", asked, 10, 0)
    forest = peers["random forest, bayesian"].result("task", asked, 15, 0)

    assert len(found.values) == 10 or found.values[-1] == asked.optimum
    assert len(forest.values) == 15 or forest.values[-1] == asked.optimum
    assert {"Archcast, bayesian", "Archcast, gradient", "Archcast, guided evolution"} <= set(own)
    assert TPE in peers
    assert len({one.fingerprint for one in [*own.values(), *peers.values()]}) == len(own) + len(peers)


def test_results_are_kept_whole_and_an_ended_search_serves_every_budget(tmp_path) -> None:
    store = SearchResults(tmp_path)
    ended = a_result(values=(1.0, 4.0))
    store.save(a_result(seed=1))
    store.save(ended)

    assert sorted(store.load(), key=lambda one: one.seed) == [ended, a_result(seed=1)]
    assert store.load("space") == []
    assert store.is_done(SearchKey("task", "a/b/c", "evolution", 0), "f", 500)
    assert store.is_done(SearchKey("task", "a/b/c", "evolution", 1), "f", 120)
    assert not store.is_done(SearchKey("task", "a/b/c", "evolution", 1), "f", 121)
    assert not store.is_done(SearchKey("task", "a/b/c", "evolution", 0), "g", 10)


def test_what_is_no_result_is_named(tmp_path) -> None:
    (tmp_path / "broken.parquet").write_text("no")

    with pytest.raises(BenchmarkError, match="no Parquet"):
        SearchResults(tmp_path).load()


def test_regret_is_counted_from_the_best_so_far_in_the_metrics_unit() -> None:
    up = a_result()
    latency = SearchResult("task", "c", "s", "peer", 0, "f", 4, 2.0, -1.0, [7.0, 3.0, 5.0], 0.5)

    assert [up.regret(count) for count in (1, 2, 3)] == [3.0, 1.0, 1.0]
    assert up.regrets(5).tolist() == [3.0, 1.0, 1.0, 1.0, 1.0]
    assert latency.regrets(3).tolist() == [5.0, 1.0, 1.0]


def test_the_table_says_how_much_sooner_evolutions_regret_is_reached() -> None:
    slow = a_result(values=[1.0] * 99 + [3.0])
    quick = a_result("Archcast, bayesian", "ours", values=[1.0] * 9 + [3.0])
    never = a_result("random", values=[1.0])

    found = {one.searcher: one for one in curves([slow, quick, never])}
    text = search_report([slow, quick, never], "Title")

    assert found["evolution"].evaluations_to(1.0) == 100.0
    assert found["random"].evaluations_to(1.0) == math.inf
    assert "| Archcast, bayesian | 1.00 | 1.00 | 1.00 | – | 10 (10.0 ×) | 0 of 1 | 1 |" in text
    assert "| random | 3.00 | 3.00 | 3.00 | – | never | 0 of 1 | 1 |" in text
