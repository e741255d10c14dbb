from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from predictor.contest.episodes import DIVERSE, OWN, RANDOM, remembered
from predictor.contest.results import ResultStore
from predictor.contest.running import Plan, run_case, sizes_of

PLAN = Plan("P1", seeds=2, sizes=(0, 5, 10), num_query=50)


@pytest.fixture
def store(tmp_path) -> ResultStore:
    return ResultStore(tmp_path)


def test_every_contestant_is_scored_on_every_seed_and_size(case, measured, contestant, store) -> None:
    entrants = [contestant(name)[0] for name in ("one", "two")]
    heard: list[str] = []

    failures = run_case(case, measured, entrants, PLAN, store, heard.append)

    found = {(one.contestant, one.seed, one.num_observations) for one in store.load()}
    assert failures == []
    assert found == {(name, seed, size) for name in ("one", "two") for seed in (0, 1) for size in (0, 5, 10)}
    assert len(heard) == 4


def test_all_contestants_see_the_same_support_sets(case, measured, contestant, store, monkeypatch) -> None:
    seen: dict[str, list[str]] = {"one": [], "two": []}
    entrants = []
    for name in seen:
        entrant, counted = contestant(name)
        adapt = counted.adapt
        monkeypatch.setattr(
            counted,
            "adapt",
            lambda task, space, support, adapt=adapt, name=name: (
                seen[name].append(support.hash) or adapt(task, space, support)
            ),
        )
        entrants.append(entrant)

    run_case(case, measured, entrants, PLAN, store)

    assert len(seen["one"]) == 6
    assert seen["one"] == seen["two"]


def test_a_second_run_computes_nothing(case, measured, contestant, store) -> None:
    run_case(case, measured, [contestant()[0]], PLAN, store)
    again, counted = contestant()

    run_case(case, measured, [again], PLAN, store)

    assert counted.sizes == []


def test_more_seeds_or_sizes_compute_only_what_is_new(case, measured, contestant, store) -> None:
    run_case(case, measured, [contestant()[0]], Plan("P1", 1, (0, 5), 50), store)
    more, counted = contestant()

    run_case(case, measured, [more], PLAN, store)

    assert counted.sizes == [10, 0, 5, 10]


def test_a_contestant_that_changed_is_computed_anew_and_the_others_are_not(case, measured, contestant, store) -> None:
    run_case(case, measured, [contestant("same")[0], contestant("changed")[0]], PLAN, store)
    (same, of_same), (changed, of_changed) = contestant("same"), contestant("changed", fingerprint="2")

    run_case(case, measured, [same, changed], PLAN, store)

    assert of_same.sizes == []
    assert len(of_changed.sizes) == 6


def test_another_number_of_asked_architectures_is_another_question(case, measured, contestant, store) -> None:
    run_case(case, measured, [contestant()[0]], PLAN, store)
    again, counted = contestant()

    run_case(case, measured, [again], Plan("P1", 2, (0, 5, 10), 60), store)

    assert len(counted.sizes) == 6
    assert {one.num_query for one in store.load()} == {60}


def test_a_run_that_is_killed_goes_on_where_it_stopped(case, measured, contestant, store) -> None:
    first, _ = contestant("first")
    killed, of_killed = contestant("killed")
    of_killed.adapt = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        run_case(case, measured, [first, killed], PLAN, store)
    assert {(one.contestant, one.seed) for one in store.load()} == {("first", 0)}

    (first, of_first), (killed, of_killed) = contestant("first"), contestant("killed")
    run_case(case, measured, [first, killed], PLAN, store)

    assert of_first.sizes == [0, 5, 10]  # the second seed alone
    assert of_killed.sizes == [0, 5, 10, 0, 5, 10]
    assert len(store.load()) == 12


def test_a_contestant_is_not_asked_with_fewer_observations_than_it_needs(case, measured, contestant, store) -> None:
    entrant, counted = contestant(least=2)

    run_case(case, measured, [entrant], PLAN, store)
    run_case(case, measured, [entrant], PLAN, store)

    assert counted.sizes == [5, 10, 5, 10]


def test_a_contestant_that_fails_is_reported_and_the_others_go_on(case, measured, contestant, store) -> None:
    failing, counted = contestant("failing")
    counted.adapt = lambda *_: (_ for _ in ()).throw(ValueError("no"))  # type: ignore[method-assign]

    failures = run_case(case, measured, [failing, contestant("other")[0]], PLAN, store)

    assert {(one.contestant, one.reason) for one in failures} == {("failing", "ValueError: no")}
    assert {one.contestant for one in store.load()} == {"other"}


def test_diverse_support_sets_are_chosen_once_for_all_contestants(case, measured, contestant, store) -> None:
    asked: list[int] = []

    def features(architectures):
        asked.append(len(architectures))
        return np.array([[one.num_nodes, len(one.edges)] for one in architectures], np.float32)

    plan = Plan("P1", 1, (5, 10), 50, DIVERSE, remembered(features))

    run_case(case, measured, [contestant(name)[0] for name in ("one", "two")], plan, store)

    assert len(asked) == 1  # the same architectures for both sizes
    assert len(store.load()) == 4


def test_asked_apart_from_the_own_support_set_is_kept_beside_asked_the_same(case, measured, contestant, store) -> None:
    for selection in (RANDOM, OWN):
        run_case(case, measured, [contestant()[0]], replace(PLAN, seeds=1, selection=selection), store)

    kept = {selection: [one for one in store.load() if one.selection == selection] for selection in (RANDOM, OWN)}
    errors = {selection: {one.num_observations: one.nll for one in found} for selection, found in kept.items()}
    assert errors[RANDOM].keys() == errors[OWN].keys()
    assert errors[RANDOM][max(case.sizes)] == errors[OWN][max(case.sizes)]
    assert errors[RANDOM] != errors[OWN]


def test_only_the_cases_own_sizes_are_run(case) -> None:
    assert sizes_of(case, None) == (0, 5, 10)
    assert sizes_of(case, [10, 7, 0]) == (0, 10)
