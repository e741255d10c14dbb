from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from predictor.baselines.features import Features
from predictor.benchmarks.base import BenchmarkTask
from predictor.contest.ceilings import BEST, LINEAR, TREES, ceilings
from predictor.errors import BenchmarkError


def sibling(measured: BenchmarkTask, values: np.ndarray, dataset: str) -> BenchmarkTask:
    return replace(measured, task=replace(measured.task, dataset=dataset), values=values)


def first_of(measured: BenchmarkTask, count: int) -> BenchmarkTask:
    return BenchmarkTask(
        measured.task, "few", measured.space, measured.notations[:count], np.arange(count), measured.values[:count]
    )


def test_whoever_knows_a_task_of_the_same_values_ranks_nearly_as_it_does(measured) -> None:
    noise = np.random.default_rng(1).normal(size=len(measured))
    siblings = [sibling(measured, measured.values + 20.0 * noise, "far"), sibling(measured, measured.values, "near")]

    found = ceilings(measured, siblings, 0, 100, Features())

    assert found[BEST] == pytest.approx((1.0, 1.0))
    assert min(found[LINEAR][0], found[TREES][0]) > 0.9


def test_without_related_tasks_own_values_tell_what_can_be_told(measured) -> None:
    found = ceilings(measured, [], 0, 100, Features())

    assert np.isnan(found[BEST]).all()
    assert 0.5 < found[LINEAR][0] < 0.9  # every 3 × 3 convolution is worth two points, and the noise is one
    assert 0.5 < found[TREES][0] < 0.9


def test_what_a_related_task_did_not_measure_is_unknown_and_no_error(measured) -> None:
    half = first_of(sibling(measured, measured.values, "half"), len(measured) // 2)

    found = ceilings(measured, [half], 0, 100, Features())

    assert np.isnan(found[BEST]).all()
    assert found[TREES][0] > 0.5


def test_the_same_seed_gives_the_same_figures(measured) -> None:
    first, again, other = (ceilings(measured, [], seed, 100, Features())[LINEAR] for seed in (0, 0, 1))

    assert first == again != other


def test_a_task_that_is_too_small_is_refused(measured) -> None:
    with pytest.raises(BenchmarkError, match="expected at least"):
        ceilings(first_of(measured, 20), [], 0, 100, Features())
