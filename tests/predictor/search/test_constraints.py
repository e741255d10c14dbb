from __future__ import annotations

import math

import numpy as np
import pytest

from predictor.architecture import Architecture, Operation
from predictor.errors import SearchError
from predictor.search.constraints import Constraint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency_ms<=12", Constraint("latency_ms", "<=", 12.0)),
        (" top 1 acc > -1.5e2 ", Constraint("top 1 acc", ">", -150.0)),
        ("a<=b>=3", Constraint("a<=b", ">=", 3.0)),
    ],
)
def test_a_constraint_is_read_as_people_write_it(text: str, expected: Constraint) -> None:
    assert Constraint.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "latency", "latency=3", "latency<=", "<=3", "latency<=1.2.3", "latency<=1e999", "x" * 200 + "<=1"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SearchError, match="latency_ms<=12"):
        Constraint.parse(text)


def test_a_forecast_holds_as_probably_as_its_normal_distribution_says() -> None:
    probability = Constraint.parse("x<=2").probability(np.array([2.0, 1.0, 3.0]), np.array([1.0, 1.0, 0.5]))

    assert probability == pytest.approx(
        [0.5, 0.5 * (1 + math.erf(1 / math.sqrt(2))), 0.5 * (1 + math.erf(-2 / math.sqrt(2)))]
    )


def test_a_measured_value_holds_or_does_not() -> None:
    values, sure = np.array([1.0, 2.0, 3.0, np.nan]), np.zeros(4)

    assert Constraint.parse("x<=2").probability(values, sure).tolist() == [1.0, 1.0, 0.0, 0.0]
    assert Constraint.parse("x<2").probability(values, sure).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert Constraint.parse("x>=2").probability(values, sure).tolist() == [0.0, 1.0, 1.0, 0.0]


def test_a_violation_is_a_share_of_the_bound() -> None:
    assert Constraint.parse("x<=4").violation(5.0) == pytest.approx(0.25)
    assert Constraint.parse("x<=4").violation(4.0) == 0.0
    assert Constraint.parse("x<4").violation(4.0) > 0.0
    assert Constraint.parse("x>=-4").violation(-5.0) == pytest.approx(0.25)
    assert Constraint.parse("x<=0").violation(3.0) == 3.0


def test_what_an_architecture_states_is_read_and_what_it_does_not_is_unknown() -> None:
    stated = Architecture.build([Operation.of("input")], [], {"params": 7, "name": "small"})
    silent = Architecture.build([Operation.of("input")], [])

    found = Constraint.parse("params<=9").stated([stated, silent])

    assert found[0] == 7.0
    assert np.isnan(found[1])
    assert np.isnan(Constraint.parse("name<=9").stated([stated])[0])
