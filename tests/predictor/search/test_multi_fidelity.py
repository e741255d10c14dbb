from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from known_values import convolutions_in

from predictor.architecture import Architecture
from predictor.prediction import Predictions
from predictor.search.base import Outcome, Proposal, SearchProblem, SearchStrategy
from predictor.search.registry import make_strategy
from predictor.search.rungs import bracket, hyperband, ladder, promotable
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.tasks import Metric

ACCURACY = Metric("accuracy", "%", "maximize")
PROBLEM = SearchProblem(NASBench201(), (ACCURACY,))
NAMES = ("asha", "successive_halving", "hyperband")


def measured(proposal: Proposal, value: float) -> Outcome:
    return Outcome(proposal.architecture, (value,), proposal.fidelity)


def by_convolutions(proposal: Proposal) -> Outcome:
    return measured(proposal, convolutions_in(proposal.architecture))


class Knowing:
    """Forecasts the number of convolutions, and is sure of it."""

    def predict(self, architectures: Sequence[Architecture]) -> tuple[Predictions, ...]:
        mean = np.array([convolutions_in(one) for one in architectures], dtype=np.float64)
        return (Predictions(mean, np.full(len(mean), 1e-3), mean, mean, np.zeros(len(mean))),)

    def features(self, architectures: Sequence[Architecture]) -> np.ndarray:
        return PROBLEM.space.features_of_all(architectures)

    def feasibility(self, architectures: Sequence[Architecture]) -> np.ndarray:
        return np.ones(len(architectures))


def driven(strategy: SearchStrategy, count: int, at_a_time: int, value: Callable[[Proposal], Outcome]) -> list[Outcome]:
    found: list[Outcome] = []
    while len(found) < count:
        proposals = strategy.ask(at_a_time)
        assert proposals
        outcomes = [value(one) for one in proposals]
        strategy.tell(outcomes)
        found += outcomes
    return found


def test_a_ladder_ends_at_the_full_budget_and_begins_no_lower_than_allowed() -> None:
    assert ladder(3, 1 / 9) == pytest.approx((1 / 9, 1 / 3, 1.0))
    assert ladder(3, 0.2) == pytest.approx((1 / 3, 1.0))
    assert ladder(2, 1.0) == (1.0,)


def test_the_best_third_of_a_rung_may_climb_once() -> None:
    merits = {name: (0.0, value) for name, value in zip("abcdef", (5.0, 1.0, 9.0, 2.0, 7.0, 3.0), strict=True)}

    assert promotable(merits, {"c"}, 3) == ["e"]
    assert promotable({"a": (0.0, 1.0), "b": (0.0, 2.0)}, (), 3) == []


def test_a_bracket_keeps_one_in_eta_on_every_rung() -> None:
    assert bracket(3, (1 / 9, 1 / 3, 1.0), 27).sizes == (27, 9, 3)


def test_the_brackets_of_hyperband_are_those_of_the_paper() -> None:
    """Table 1 of Li et al.: R = 81, eta = 3."""
    found = hyperband(3, 1 / 81)

    assert [one.sizes[0] for one in found] == [81, 34, 15, 8, 5]
    assert [round(81 * one.fidelities[0]) for one in found] == [1, 3, 9, 27, 81]


def test_asha_promotes_by_what_came_so_far_in_whatever_order() -> None:
    strategy = make_strategy("asha", PROBLEM, {"eta": 2, "min_fidelity": 0.25})
    first, second, third, fourth = strategy.ask(4)
    assert {one.fidelity for one in (first, second, third, fourth)} == {0.25}

    strategy.tell([measured(third, 3.0)])  # one of one: no half of it
    assert strategy.ask(1)[0].fidelity == 0.25
    strategy.tell([measured(first, 1.0)])  # the better of two climbs
    climbed = strategy.ask(1)[0]
    assert (climbed.architecture, climbed.fidelity) == (third.architecture, 0.5)
    strategy.tell(
        [measured(fourth, 4.0), measured(second, 2.0)]
    )  # now the half are fourth and third: fourth has not climbed
    climbed = strategy.ask(1)[0]
    assert (climbed.architecture, climbed.fidelity) == (fourth.architecture, 0.5)
    strategy.tell([measured(Proposal(third.architecture, 0.5), 3.0), measured(Proposal(fourth.architecture, 0.5), 1.0)])
    climbed = strategy.ask(1)[0]
    assert (climbed.architecture, climbed.fidelity) == (third.architecture, 1.0)


def test_asha_promotes_nobody_who_failed() -> None:
    strategy = make_strategy("asha", PROBLEM, {"eta": 2, "min_fidelity": 0.5})
    first, second = strategy.ask(2)
    strategy.tell([Outcome(first.architecture, None, 0.5), measured(second, 1.0)])

    assert strategy.ask(1)[0].fidelity == 0.5


def test_successive_halving_waits_for_a_rung_and_then_promotes_its_best() -> None:
    strategy = make_strategy("successive_halving", PROBLEM, {"eta": 2, "min_fidelity": 0.5, "num_first": 4})
    first = strategy.ask(10)
    assert [one.fidelity for one in first] == [0.5] * 4
    strategy.tell([measured(one, float(place)) for place, one in enumerate(first[:3])])
    assert strategy.ask(1) == []
    strategy.tell([measured(first[3], 3.0)])

    second = strategy.ask(10)

    assert [(one.architecture, one.fidelity) for one in second] == [
        (first[3].architecture, 1.0),
        (first[2].architecture, 1.0),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_proposed_twice_at_one_fidelity(name: str) -> None:
    outcomes = driven(make_strategy(name, PROBLEM), 120, 7, by_convolutions)

    keys = [(one.architecture.hash, one.fidelity) for one in outcomes]
    assert len(set(keys)) == len(keys)
    assert {one.fidelity for one in outcomes} == set(ladder(3, 1 / 9))


@pytest.mark.parametrize("name", NAMES)
def test_a_search_goes_on_from_its_state_as_if_nothing_had_happened(name: str) -> None:
    one, other = make_strategy(name, PROBLEM, seed=3), make_strategy(name, PROBLEM, seed=3)
    driven(one, 40, 5, by_convolutions)
    waiting = one.ask(3)  # out while the state is taken
    other.restore(json.loads(json.dumps(one.state())))

    for strategy in (one, other):
        strategy.tell([by_convolutions(each) for each in waiting])
    assert [(each.architecture, each.fidelity) for each in one.ask(8)] == [
        (each.architecture, each.fidelity) for each in other.ask(8)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_with_a_forecast_newcomers_are_the_best_of_many(name: str) -> None:
    plain, filtered = make_strategy(name, PROBLEM, seed=1), make_strategy(name, PROBLEM, seed=1)

    at_random = [convolutions_in(one.architecture) for one in plain.ask(6)]
    chosen = [convolutions_in(one.architecture) for one in filtered.ask(6, Knowing())]

    assert min(chosen) > np.mean(at_random)


def test_who_is_promoted_may_be_a_matter_of_the_final_forecast() -> None:
    settings = {"eta": 2, "min_fidelity": 0.5, "promotes_by": "forecast"}
    strategy = make_strategy("asha", PROBLEM, settings)
    first = sorted(strategy.ask(4), key=lambda one: convolutions_in(one.architecture))
    strategy.tell([measured(one, -float(place)) for place, one in enumerate(first)])  # cheap values say the opposite

    promoted = strategy.ask(1, Knowing())[0]

    assert convolutions_in(promoted.architecture) == max(convolutions_in(one.architecture) for one in first)
