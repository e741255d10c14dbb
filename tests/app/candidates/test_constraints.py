"""Constraints on other metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.candidates.constraints import parse_constraint, task_source
from app.candidates.repository import Measured
from app.errors import InvalidContentError
from app.inference import sampled, search_space
from app.inference.proposing import Constraint, ForecastColumns


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("latency_ms<=12", Constraint("latency_ms", "<=", 12.0)),
        (" latency_ms > -1.5e-3 ", Constraint("latency_ms", ">", -0.0015)),
        ("peak memory < 3", Constraint("peak memory", "<", 3.0)),
    ],
)
def test_a_constraint_is_a_metric_a_comparison_and_a_number(text: str, constraint: Constraint) -> None:
    assert parse_constraint(text) == constraint


@pytest.mark.parametrize("text", ["", "latency", "latency<=", "<=12", "latency=12", "latency<=1..2", "latency<=1e999"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidContentError, match="such as 'latency_ms<=12'"):
        parse_constraint(text)


def test_the_probability_of_a_forecast_is_the_normal_distributions() -> None:
    mean, std = np.array([12.0, 10.0, 14.0]), np.array([1.0, 1.0, 2.0])

    probability = Constraint("latency_ms", "<=", 12.0).probability(mean, std)

    # Φ(0), Φ(2), Φ(-1): the error function is exact to double precision
    np.testing.assert_allclose(probability, [0.5, 0.9772498680518208, 0.15865525393145707], atol=1e-12)


@pytest.mark.parametrize(
    ("operator", "probabilities"), [("<=", [1, 1, 0]), ("<", [1, 0, 0]), (">=", [0, 1, 1]), (">", [0, 0, 1])]
)
def test_what_was_measured_satisfies_it_or_does_not(operator: str, probabilities: list[float]) -> None:
    probability = Constraint("latency_ms", operator, 2.0).probability(np.array([1.0, 2.0, 3.0]), np.zeros(3))

    assert probability.tolist() == probabilities


def test_nothing_known_satisfies_nothing() -> None:
    assert Constraint("params", "<=", 2.0).probability(np.array([math.nan]), np.zeros(1)).tolist() == [0.0]


def test_measured_values_take_the_place_of_forecasts() -> None:
    first, second = sampled(search_space("nasbench201"), 2, seed=1)
    columns = ForecastColumns(*(np.full(2, 5.0) for _ in range(7)))

    mean, std, measured = task_source(Measured(frozenset(), {second.id: 7.0}), lambda _: columns)([first, second])

    assert (mean.tolist(), std.tolist(), measured.tolist()) == ([5.0, 7.0], [5.0, 0.0], [False, True])
