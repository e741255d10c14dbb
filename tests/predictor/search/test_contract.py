"""What every search strategy promises, whichever it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from search_problems import (
    ACCURACY,
    CONDITIONAL,
    LATENCY,
    NUM_TINY,
    TINY,
    Oracle,
    outcome_of,
    scattered,
    started,
    through_json,
)

from predictor.architecture import Architecture, Operation
from predictor.errors import NotInSpaceError, SearchError
from predictor.search.base import Outcome, Proposal, SearchProblem, SearchStrategy
from predictor.search.registry import make_strategy, strategies, strategy_info, strategy_names
from predictor.search.settings import StrategySettings, list_settings, read_settings
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.registry import built_in_search_spaces, search_space

SPACES = [*map(search_space, ("nasbench201", "nasbench101", "fbnet", "graph")), CONDITIONAL]
OTHERS = [space for space in built_in_search_spaces().values() if space not in SPACES]
ORACLE = Oracle([scattered])
NUM_CALLS, BATCH = 6, 3

QUICK: dict[str, dict[str, object]] = {
    "bayesian": {
        "max_listed": 50,
        "num_random": 6,
        "num_elites": 2,
        "num_mutations": 2,
        "num_climbs": 1,
        "num_draws": 4,
    },
    "gradient": {"num_starts": 1, "num_moves": 2, "num_corners": 6, "num_decoded": 2, "num_draws": 4},
    "guided": {"num_forecasts": 8, "inner_settings": '{"population": 4}', "num_draws": 4},
    "asha": {"num_filtered": 8},
    "hyperband": {"num_filtered": 8},
    "successive_halving": {"num_filtered": 8},
}
"""Settings that look at fewer candidates than the default, which does not change what is promised."""

every_strategy = pytest.mark.parametrize("name", strategy_names())


def pairs() -> Iterator[Any]:
    for name in strategy_names():
        for space in SPACES:
            if strategy_info(name).unsupported(started(space)) is None:
                yield pytest.param(name, space, id=f"{name}-{space.name}")


every_pair = pytest.mark.parametrize(("name", "space"), list(pairs()))


def made(name: str, space: SearchSpace, seed: int = 0) -> SearchStrategy:
    return make_strategy(name, started(space), QUICK.get(name, {}), seed)


def asked(strategy: SearchStrategy, count: int) -> list[Proposal]:
    return strategy.ask(count, ORACLE if strategy.needs_forecaster else None)


def driven(strategy: SearchStrategy, calls: int = NUM_CALLS) -> list[Proposal]:
    """Asks for a batch before it tells of the one before, the last of each batch first; the first of a batch fails."""
    proposals: list[Proposal] = []
    waiting: list[Proposal] = []
    for _ in range(calls):
        batch = asked(strategy, BATCH)
        if waiting:
            told = [outcome_of(one) for one in waiting[:0:-1]]
            strategy.tell([*told, Outcome(waiting[0].architecture, None, waiting[0].fidelity)])
        waiting = batch
        proposals += batch
    return proposals


def keys(proposals: list[Proposal]) -> list[tuple[str, float]]:
    return [(one.architecture.hash, one.fidelity) for one in proposals]


@every_pair
def test_the_same_seed_proposes_the_same_and_nothing_twice(name: str, space: SearchSpace) -> None:
    proposed = keys(driven(made(name, space)))

    assert len(proposed) == len(set(proposed))
    assert len(proposed) >= NUM_CALLS
    assert proposed == keys(driven(made(name, space)))
    assert proposed != keys(driven(made(name, space, seed=1)))


@every_pair
def test_a_restored_search_goes_on_as_if_nothing_had_happened(name: str, space: SearchSpace) -> None:
    strategy, other = made(name, space), made(name, space, seed=7)
    proposed = driven(strategy, calls=5)
    other.restore(through_json(strategy.state()))

    assert through_json(other.state()) == through_json(strategy.state())
    for one in (strategy, other):
        one.tell([outcome_of(proposal) for proposal in proposed[-BATCH:]])
    assert keys(driven(other, calls=3)) == keys(driven(strategy, calls=3))
    assert through_json(other.state()) == through_json(strategy.state())


@every_pair
def test_what_was_measured_elsewhere_is_learned_from_and_not_proposed(name: str, space: SearchSpace) -> None:
    rng = np.random.default_rng(3)
    measured = [space.sample(rng) for _ in range(8)]
    strategy = made(name, space)
    strategy.tell([Outcome(one, (scattered(one),)) for one in measured])

    proposed = driven(strategy, calls=5)

    assert proposed
    assert not {one.hash for one in measured} & {one.architecture.hash for one in proposed if one.fidelity == 1.0}


@every_pair
def test_proposals_are_architectures_of_the_space(name: str, space: SearchSpace) -> None:
    for proposal in driven(made(name, space), calls=3):
        assert space.parse(space.format(proposal.architecture)) == proposal.architecture


@every_strategy
@pytest.mark.parametrize("space", OTHERS, ids=lambda space: space.name)
def test_it_searches_every_other_space_that_comes_with_the_library(name: str, space: SearchSpace) -> None:
    strategy = made(name, space)

    proposed = driven(strategy, calls=2)

    assert len(set(keys(proposed))) == len(proposed) >= 2
    assert all(one.architecture == space.parse(space.format(one.architecture)) for one in proposed)


@every_strategy
def test_a_small_space_is_tried_whole_and_then_there_is_nothing(name: str) -> None:
    strategy = make_strategy(name, started(TINY), QUICK.get(name, {}), 5)
    seen: list[tuple[str, float]] = []
    for _ in range(60):
        proposals = asked(strategy, 2)
        if not proposals:
            break
        seen += keys(proposals)
        strategy.tell([outcome_of(one) for one in proposals])

    assert len(seen) == len(set(seen))
    assert len({architecture for architecture, _ in seen}) == NUM_TINY
    assert asked(strategy, 2) == []


@every_strategy
def test_nothing_is_left_while_the_last_ones_are_out(name: str) -> None:
    strategy = make_strategy(name, started(TINY), QUICK.get(name, {}), 5)

    proposals = [one for _ in range(4) for one in asked(strategy, 4)]

    assert len(keys(proposals)) == len(set(keys(proposals)))
    assert asked(strategy, 1) == []


@every_strategy
def test_failures_alone_stop_nobody(name: str) -> None:
    strategy = made(name, search_space("nasbench201"))
    seen: list[tuple[str, float]] = []
    for _ in range(15):
        proposals = asked(strategy, 2)
        assert proposals  # fewer than two at the end of a rung
        seen += keys(proposals)
        strategy.tell([Outcome(one.architecture, None, one.fidelity) for one in proposals])

    assert len(set(seen)) == len(seen) >= 25


@every_strategy
def test_no_outcome_at_all_stops_nobody_for_a_while(name: str) -> None:
    strategy = made(name, search_space("nasbench201"))

    proposals = asked(strategy, 8)

    assert proposals
    assert len(set(keys(proposals))) == len(proposals)


@every_strategy
def test_violated_constraints_forecasts_and_small_budgets_are_taken_as_they_come(name: str) -> None:
    space = search_space("nasbench201")
    strategy, rng = made(name, space), np.random.default_rng(4)
    drawn = [space.sample(rng) for _ in range(12)]
    told = [
        Outcome(one, (scattered(one),), violation=float(n % 3), is_forecast=n % 2 == 0) for n, one in enumerate(drawn)
    ]
    strategy.tell([*told, *(dataclasses.replace(one, fidelity=0.25, is_forecast=False) for one in told)])

    proposed = keys(driven(strategy, calls=6))

    assert len(proposed) == len(set(proposed))
    assert through_json(strategy.state())


@every_strategy
def test_what_to_begin_with_comes_first(name: str) -> None:
    space = search_space("nasbench201")
    start = tuple(space.sample(np.random.default_rng(seed)) for seed in range(3))
    strategy = make_strategy(name, SearchProblem(space, (ACCURACY,), start), {}, 0)

    first = [one.architecture for one in asked(strategy, 3)]

    assert set(first) == set(start)


@every_strategy
def test_outcomes_that_cannot_be_used_change_nothing(name: str) -> None:
    space = search_space("fbnet")
    strategy = made(name, space)
    (good, bad, *_) = (space.sample(np.random.default_rng(seed)) for seed in range(2))
    stranger = Architecture.build(
        [Operation.of("input"), Operation.of("attention"), Operation.of("output")], [(0, 1), (1, 2)]
    )
    before = through_json(strategy.state())

    with pytest.raises(SearchError, match=r"expected 1 value.*got 2"):
        strategy.tell([Outcome(good, (1.0,)), Outcome(bad, (1.0, 2.0))])
    with pytest.raises(NotInSpaceError):
        strategy.tell([Outcome(good, (1.0,)), Outcome(stranger, (1.0,))])

    assert through_json(strategy.state()) == before


@every_strategy
def test_a_state_of_something_else_is_refused_and_changes_nothing(name: str) -> None:
    strategy = made(name, search_space("nasbench201"))
    driven(strategy, calls=2)
    before = through_json(strategy.state())
    elsewhere = through_json(made(name, search_space("nasbench101")).state())

    for state in (elsewhere, {}, {**before, "strategy": "another"}, {**before, "history": {"architectures": 3}}):
        with pytest.raises(SearchError, match="expected"):
            strategy.restore(state)

    assert through_json(strategy.state()) == before


@every_strategy
def test_an_open_space_needs_something_to_begin_with(name: str) -> None:
    problem = SearchProblem(search_space("graph"), (ACCURACY,))
    reason = strategy_info(name).unsupported(problem)
    if reason is not None:
        assert "expected" in reason
        assert "graph" in reason
        with pytest.raises(SearchError, match="graph"):
            make_strategy(name, problem)
        return

    with pytest.raises(SearchError, match="expected architectures to begin with"):
        asked(make_strategy(name, problem), 1)


@every_strategy
def test_several_objectives_are_taken_or_refused_with_the_reason(name: str) -> None:
    problem = started(search_space("nasbench201"), (ACCURACY, LATENCY))
    oracle = Oracle([scattered, lambda one: -scattered(one)])
    if not strategy_info(name).takes_several_objectives:
        with pytest.raises(SearchError, match=r"expected one objective, got 2 .*nsga2"):
            make_strategy(name, problem)
        return

    strategy = make_strategy(name, problem, {}, 2)
    seen: list[tuple[str, float]] = []
    for _ in range(12):
        proposals = strategy.ask(2, oracle if strategy.needs_forecaster else None)
        seen += keys(proposals)
        strategy.tell([outcome_of(one, scattered, lambda one: float(one.num_nodes)) for one in proposals])

    assert len(seen) == len(set(seen))
    assert len(seen) == 24


@every_strategy
def test_every_strategy_says_what_it_is_and_what_can_be_set(name: str) -> None:
    info = strategy_info(name)
    schema = info.settings_schema()

    assert info.description.endswith(".")
    assert any(year in info.source for year in map(str, range(1950, 2027)))
    assert schema["properties"].keys() == {one.name for one in info.settings}
    assert all(one["description"] for one in schema["properties"].values())
    assert read_settings(info.settings_type, {one.name: one.default for one in info.settings}) == info.settings_type()


@every_strategy
def test_settings_that_do_not_exist_or_fit_are_refused(name: str) -> None:
    problem = started(search_space("nasbench201"))
    with pytest.raises(SearchError, match=r"expected the settings .*got also surprise"):
        make_strategy(name, problem, {"surprise": 1})
    for one in strategy_info(name).settings:
        for wrong in (
            None,
            [1],
            {"a": 1},
            float("nan"),
            float("inf"),
            "nonsense" if one.choices or one.type is not str else 3,
        ):
            with pytest.raises(SearchError, match=f"expected setting {one.name} to be .* got "):
                make_strategy(name, problem, {one.name: wrong})


@every_strategy
def test_a_negative_seed_is_refused(name: str) -> None:
    with pytest.raises(SearchError, match="expected a seed of 0 or more, got -1"):
        make_strategy(name, started(search_space("nasbench201")), {}, -1)


def test_an_unknown_strategy_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SearchError, match=r"expected one of the strategies random, .*got 'magic'"):
        strategy_info("magic")


def test_the_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        strategies()["mine"] = strategy_info("random")  # type: ignore[index]


def test_bounds_of_settings_are_kept_however_they_are_made() -> None:
    for info in strategies().values():
        for one in list_settings(info.settings_type):
            if one.low is not None and one.type is int:
                with pytest.raises(SearchError, match=f"expected setting {one.name} to be a whole number from"):
                    info.settings_type(**{one.name: int(one.low) - 1})  # type: ignore[arg-type]


def test_a_problem_needs_objectives_of_different_names() -> None:
    with pytest.raises(SearchError, match="expected at least one objective, got none"):
        SearchProblem(search_space("fbnet"), ())
    with pytest.raises(SearchError, match="expected every objective once, got accuracy, accuracy"):
        SearchProblem(search_space("fbnet"), (ACCURACY, ACCURACY))


def test_what_has_no_settings_takes_none() -> None:
    assert read_settings(StrategySettings, {}) == StrategySettings()
