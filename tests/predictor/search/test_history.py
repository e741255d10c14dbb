"""What a search remembers: repeats, forecasts, failures, and rewards made of it."""

from __future__ import annotations

import numpy as np
import pytest
from search_problems import ACCURACY, LATENCY, started

from predictor.search.base import Outcome, Proposal
from predictor.search.history import History
from predictor.search.merit import RewardScale, merit
from predictor.search_spaces.registry import search_space

SPACE = search_space("nasbench_macro")
ONE, TWO = SPACE.parse("00000000"), SPACE.parse("11111111")


def known_after(*told: Outcome) -> Outcome:
    history = History(SPACE)
    for outcome in told:
        last = history.note(outcome)
    return last


def measured(*values: float, violation: float = 0.0) -> Outcome:
    return Outcome(ONE, values or None, violation=violation)


def forecast(value: float) -> Outcome:
    return Outcome(ONE, (value,), is_forecast=True)


def test_repeated_measurements_are_averaged() -> None:
    known = known_after(measured(1.0, violation=3.0), measured(2.0), measured(6.0))

    assert known.values == (3.0,)
    assert known.violation == pytest.approx(1.0)


def test_a_measured_value_takes_the_place_of_a_forecast_and_keeps_it() -> None:
    assert known_after(forecast(1.0), measured(5.0)).values == (5.0,)
    assert known_after(measured(5.0), forecast(1.0)).values == (5.0,)
    assert known_after(forecast(1.0), forecast(3.0)).values == (3.0,)


def test_a_failure_ends_a_forecast_and_a_value_ends_a_failure() -> None:
    assert known_after(forecast(1.0), measured()).values is None
    assert known_after(measured(), forecast(1.0)).values is None
    assert known_after(measured(), measured(4.0)).values == (4.0,)
    assert known_after(measured(4.0), measured()).values == (4.0,)


def test_what_is_out_ends_with_its_outcome_and_a_failure_ends_all_its_fidelities() -> None:
    history = History(SPACE)
    for fidelity in (0.25, 1.0):
        history.propose(Proposal(ONE, fidelity))
    history.propose(Proposal(TWO))

    history.note(Outcome(TWO, (1.0,), fidelity=0.25))
    assert (TWO.hash, 1.0) in history.out
    history.note(Outcome(TWO, (1.0,)))
    history.note(Outcome(ONE, None, fidelity=0.25))

    assert history.out == []


def test_what_was_only_forecast_is_still_new() -> None:
    history = History(SPACE)
    history.note(forecast(1.0))

    assert history.is_new(ONE)
    history.propose(Proposal(ONE))
    assert not history.is_new(ONE)
    assert history.is_new(ONE, fidelity=0.5)


def test_feasible_is_better_than_violating_is_better_than_failed() -> None:
    problem = started(SPACE)
    ranked = [measured(), measured(99.0, violation=2.0), measured(1.0, violation=1.0), measured(0.0), measured(50.0)]

    assert sorted(ranked, key=lambda one: merit(problem, one)) == ranked


def test_less_is_better_where_the_objective_is_minimised() -> None:
    problem = started(SPACE, (LATENCY,))

    assert merit(problem, measured(1.0)) > merit(problem, measured(2.0))


def test_rewards_run_from_the_worst_to_the_best_and_below_nothing_for_what_cannot_be_used() -> None:
    told = [measured(value) for value in (10.0, 20.0, 30.0)]
    scale = RewardScale(started(SPACE, (ACCURACY,)), told)

    assert [scale.reward(one) for one in told] == [0.0, 0.5, 1.0]
    assert scale.reward(measured(20.0, violation=1.0)) == pytest.approx(-0.5)
    assert scale.reward(measured(20.0, violation=9.0)) == pytest.approx(-0.9)
    assert scale.reward(measured()) == -1.0


def test_a_diverged_training_does_not_flatten_the_rewards_of_the_others() -> None:
    told = [measured(float(value)) for value in (*np.linspace(90.0, 94.0, 9), 10.0)]
    scale = RewardScale(started(SPACE), told)

    assert scale.reward(told[-1]) == 0.0
    assert scale.reward(measured(94.0)) - scale.reward(measured(90.0)) > 0.25
