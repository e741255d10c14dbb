"""Strategies that need a forecaster, on a space whose values are known, with a real process behind `LocalForecaster`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from known_values import convolutions_in

from predictor.architecture import Architecture
from predictor.baselines.gaussian_process import DecisionProcess
from predictor.errors import SearchError
from predictor.search.base import Outcome, Proposal, SearchProblem
from predictor.search.driving import Budget, TableLookUp, run_search
from predictor.search.forecasting import AdaptationPace, ForecastTask, LocalForecaster
from predictor.search.registry import make_strategy
from predictor.search.selection import log_expected_improvement
from predictor.search_spaces.transnas_micro import TransNASMicro
from predictor.tasks import Metric, Task

ACCURACY, LATENCY = Metric("accuracy", "%", "maximize"), Metric("latency", "ms", "minimize")
SPACE = TransNASMicro()
PROBLEM = SearchProblem(SPACE, (ACCURACY,))
TWO = SearchProblem(SPACE, (ACCURACY, LATENCY))
SMALL = {"max_listed": 0, "num_random": 40, "num_elites": 4, "num_mutations": 8}
SETTINGS = {
    "bayesian": SMALL,
    "guided": {"num_forecasts": 80},
    "gradient": {"num_starts": 2, "num_moves": 3, "num_steps": 2},
}
NAMES = tuple(SETTINGS)


def value(cell: Architecture) -> float:
    """60 and 5 for every convolution, less 4 for two in a row on the way over the middle: not quite additive."""
    decisions = SPACE.choices_of(cell)
    return 60.0 + 5.0 * convolutions_in(cell) - (4.0 if decisions[0] == decisions[2] == 3 else 0.0)


def evaluate(proposal: Proposal) -> Outcome:
    return Outcome(proposal.architecture, (value(proposal.architecture),))


def evaluate_two(proposal: Proposal) -> Outcome:
    return Outcome(proposal.architecture, (value(proposal.architecture), 1.0 + proposal.architecture.num_nodes))


def forecaster(problem: SearchProblem = PROBLEM, constraints: Sequence[object] = ()) -> LocalForecaster:
    tasks = [
        ForecastTask(Task(SPACE.name, "known", metric), DecisionProcess(), min_observations=6)
        for metric in problem.objectives
    ]
    return LocalForecaster(problem, tasks, constraints, AdaptationPace(after=6))  # type: ignore[arg-type]


def best_of(outcomes: Sequence[Outcome]) -> float:
    return max(one.values[0] for one in outcomes if one.values is not None)


@pytest.mark.parametrize("name", NAMES)
def test_with_forecasts_the_best_is_found_much_sooner_than_by_evolution_alone(name: str) -> None:
    budget, searched = Budget(36, at_a_time=6), make_strategy(name, PROBLEM, SETTINGS[name])
    found = run_search(PROBLEM, searched, evaluate, budget, forecaster())
    alone = [
        best_of(run_search(PROBLEM, make_strategy("evolution", PROBLEM, seed=seed), evaluate, Budget(36)).outcomes)
        for seed in range(5)
    ]

    assert best_of(found.outcomes) >= 85.0  # the best is worth 87.5
    assert best_of(found.outcomes) > np.mean(alone)


@pytest.mark.parametrize("name", NAMES)
def test_a_search_goes_on_from_its_state_as_if_nothing_had_happened(name: str) -> None:
    one, other = make_strategy(name, PROBLEM, SETTINGS[name], 5), make_strategy(name, PROBLEM, SETTINGS[name], 5)
    known = forecaster()
    random = [evaluate(each) for each in make_strategy("random", PROBLEM, seed=1).ask(8)]
    known.tell(random)
    one.tell(random)
    one.ask(2, known)  # out while the state is taken
    other.restore(json.loads(json.dumps(one.state())))

    asked = [[each.architecture for each in strategy.ask(4, known)] for strategy in (one, other)]

    assert asked[0] == asked[1]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_proposed_twice_or_was_measured_before(name: str) -> None:
    strategy, known = make_strategy(name, PROBLEM, SETTINGS[name]), forecaster()
    measured = [evaluate(each) for each in make_strategy("random", PROBLEM).ask(10)]
    for hearer in (strategy, known):
        hearer.tell(measured)

    proposals = [*strategy.ask(3, known), *strategy.ask(3, known)]

    hashes = [one.architecture.hash for one in proposals]
    assert len(set(hashes)) == 6
    assert not set(hashes) & {one.architecture.hash for one in measured}


@pytest.mark.parametrize("name", NAMES)
def test_without_a_forecaster_it_says_what_it_needs(name: str) -> None:
    with pytest.raises(SearchError, match="forecaster"):
        make_strategy(name, PROBLEM).ask(1)


@pytest.mark.parametrize("name", ["bayesian", "gradient", "guided"])
def test_several_objectives_end_in_a_front_beyond_that_of_random_search(name: str) -> None:
    settings = {**SETTINGS[name], "num_draws": 8}
    strategy = make_strategy(name, TWO, settings)

    found = run_search(TWO, strategy, evaluate_two, Budget(30, at_a_time=6), forecaster(TWO))
    at_random = run_search(TWO, make_strategy("random", TWO), evaluate_two, Budget(30))

    def gain(outcomes: Sequence[Outcome]) -> float:
        """Area below the front of accuracy over 50 and latency under 10."""
        points = sorted(((one.values[0] - 50.0, 10.0 - one.values[1]) for one in outcomes if one.values), reverse=True)
        total, high = 0.0, 0.0
        for width, height in points:
            total += width * max(height - high, 0.0)
            high = max(high, height)
        return total

    assert gain(found.outcomes) > gain(at_random.outcomes)


@pytest.mark.parametrize("hears", ["forecasts", "both"])
def test_the_strategy_inside_may_hear_forecasts_alone_or_measured_values_too(hears: str) -> None:
    strategy = make_strategy("guided", PROBLEM, {**SETTINGS["guided"], "hears": hears})

    found = run_search(PROBLEM, strategy, evaluate, Budget(30, at_a_time=6), forecaster())

    assert best_of(found.outcomes) >= 82.5  # of random ones one in seventy is


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inner": "bayesian"}, "inner"),
        ({"inner_settings": "[]"}, "JSON object"),
        ({"inner_settings": "{"}, "JSON object"),
        ({"inner_settings": '{"colour": 1}'}, "colour"),
        ({"hears": "nothing"}, "hears"),
    ],
)
def test_what_cannot_be_inside_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        make_strategy("guided", PROBLEM, settings)


def test_one_objective_inside_is_not_enough_for_two() -> None:
    with pytest.raises(SearchError, match="one objective"):
        make_strategy("guided", TWO, {"inner": "evolution"})


def test_settings_of_the_strategy_inside_reach_it() -> None:
    strategy = make_strategy("guided", PROBLEM, {"inner_settings": '{"population": 7}'})

    assert strategy._inner_settings.population == 7  # type: ignore[attr-defined]


def test_what_violates_a_constraint_is_not_proposed_while_something_else_is_left() -> None:
    from predictor.search.constraints import Constraint

    limited = forecaster(TWO, [Constraint.parse("latency<=6")])
    strategy = make_strategy("bayesian", TWO, {**SMALL, "num_draws": 8})
    measured = [evaluate_two(each) for each in make_strategy("random", TWO, seed=2).ask(30)]
    for hearer in (strategy, limited):
        hearer.tell(measured)

    proposals = strategy.ask(6, limited)

    assert all(1.0 + one.architecture.num_nodes <= 6.0 for one in proposals)


@pytest.mark.parametrize("z", [3.0, 0.0, -2.0, -7.9, -8.1, -30.0])
def test_the_logarithm_of_expected_improvement_is_that_of_numerical_integration(z: float) -> None:
    at = np.linspace(-z, -z + 40.0, 400_001)
    logs = np.log(np.maximum(at + z, 1e-300)) - 0.5 * at**2
    largest = logs.max()
    integral = largest + math.log(float(np.exp(logs - largest).sum()) * (at[1] - at[0])) - 0.5 * math.log(2 * math.pi)

    found = float(log_expected_improvement(np.array([z * 2.0]), np.array([2.0]), 0.0)[0])

    assert found == pytest.approx(math.log(2.0) + integral, abs=0.01)


def test_a_table_knows_what_it_holds_and_says_so_of_what_it_lacks() -> None:
    from predictor.tasks import SupportSet

    first, second = (one.architecture for one in make_strategy("random", PROBLEM).ask(2))
    table = TableLookUp.of(SupportSet((first,), (5.0,), (1,)))

    assert table(Proposal(first)).values == (5.0,)
    assert table(Proposal(second)).values is None


def test_a_run_stops_when_the_budget_is_spent_or_an_outcome_is_enough() -> None:
    everything = run_search(PROBLEM, make_strategy("random", PROBLEM), evaluate, Budget(7, at_a_time=3))
    enough = run_search(
        PROBLEM, make_strategy("random", PROBLEM), evaluate, Budget(50), is_enough=lambda one: one.values[0] >= 70.0
    )

    assert len(everything.outcomes) == 7
    assert enough.best() is enough.outcomes[-1]
    assert len(enough.outcomes) < 50


def test_cheap_evaluations_cost_their_share() -> None:
    strategy = make_strategy("successive_halving", PROBLEM, {"eta": 3, "num_first": 9})

    found = run_search(PROBLEM, strategy, lambda one: Outcome(one.architecture, (1.0,), one.fidelity), Budget(3.0))

    assert sum(one.fidelity for one in found.outcomes) == pytest.approx(3.0)


@pytest.mark.parametrize("budget", [(0.0, 1), (1.0, 0)])
def test_a_budget_of_nothing_is_refused(budget: tuple[float, int]) -> None:
    with pytest.raises(SearchError, match="budget"):
        Budget(*budget)
