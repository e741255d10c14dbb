from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from predictor.calibration import NORMAL_90, Widths, WidthTable, factor_for_coverage, own_factor


def test_the_central_90_percent_of_a_normal_distribution() -> None:
    assert math.erf(NORMAL_90 / math.sqrt(2)) == pytest.approx(0.9, abs=1e-12)


def test_widths_are_met_at_the_table_and_interpolated_in_the_logarithm_between() -> None:
    table = WidthTable((0, 3, 15), (2.0, 1.0, 0.5))

    assert [table.factor(number) for number in (0, 3, 15)] == pytest.approx([2.0, 1.0, 0.5])
    assert table.factor(7) == pytest.approx(0.75)  # log(8) lies half way between log(4) and log(16)
    assert table.factor(10_000) == pytest.approx(0.5)


def test_a_width_table_survives_json() -> None:
    table = WidthTable((0, 10), (1.5, 1.0))

    assert WidthTable.from_json(json.loads(json.dumps(table.to_json()))) == table


def test_intervals_widened_by_the_factor_cover_what_was_asked_for() -> None:
    errors = 1.7 * np.random.default_rng(0).standard_normal(20_000)

    factor = factor_for_coverage(errors.tolist())

    assert factor == pytest.approx(1.7, rel=0.02)
    assert np.mean(np.abs(errors) <= factor * NORMAL_90) == pytest.approx(0.9, abs=0.001)


def test_uniform_errors_need_narrower_intervals_than_their_spread_says() -> None:
    errors = np.linspace(-1, 1, 2001)

    assert factor_for_coverage(errors.tolist()) == pytest.approx(0.9 / NORMAL_90, rel=1e-3)


def test_a_tasks_own_errors_say_nothing_while_they_are_few() -> None:
    assert own_factor(torch.full((4,), 9.0)) == 1.0


def test_a_tasks_own_factor_is_shrunk_towards_1_and_comes_through_with_many_errors() -> None:
    errors = 2.0 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))

    few, many = own_factor(errors[:20]), own_factor(errors)

    typical = float(torch.quantile(errors[:20].abs(), 0.9)) / NORMAL_90
    assert few == pytest.approx(math.exp(0.5 * math.log(typical)))  # 20 observations weigh as much as the prior
    assert many == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize(("size", "bound"), [(1e6, 3.0), (0.0, 0.5)])
def test_no_errors_move_the_width_beyond_reason(size, bound) -> None:
    factor = own_factor(torch.full((10_000,), size))

    assert factor == pytest.approx(bound, rel=0.01)


@pytest.mark.parametrize(
    ("numbers", "factors", "said"),
    [
        ((), (), "a factor for each number"),
        ((1, 5), (1.0,), "a factor for each number, got 1 for 2"),
        ((1, 5), (1.0, 0.0), "finite factors larger than 0"),
        ((1, 5), (1.0, float("nan")), "finite factors larger than 0"),
        ((5, 5), (1.0, 1.0), "increasing numbers of observations"),
        ((-1, 5), (1.0, 1.0), "increasing numbers of observations"),
    ],
)
def test_a_table_that_is_none_is_refused(numbers, factors, said) -> None:
    with pytest.raises(ValueError, match=said):
        WidthTable(numbers, factors)


def test_widths_are_those_for_such_a_task_or_the_nearest_that_there_are() -> None:
    alone, quality, costs = (WidthTable((1,), (factor,)) for factor in (1.0, 2.0, 3.0))
    full = Widths(alone, quality, costs)

    assert full.table(has_related=True, is_cost=True) == costs
    assert full.table(has_related=True, is_cost=False) == quality
    assert full.table(has_related=False, is_cost=True) == full.table(has_related=False, is_cost=False) == alone
    assert Widths(alone, quality).table(has_related=True, is_cost=True) == quality
    assert Widths(alone, None, costs).table(has_related=True, is_cost=False) == alone


def test_a_manifest_keeps_the_widths_that_there_are() -> None:
    for kept in (Widths(), Widths(WidthTable((1, 5), (2.0, 1.5)), None, WidthTable((1,), (3.0,)))):
        assert Widths.from_manifest(json.loads(json.dumps(kept.to_manifest()))) == kept
