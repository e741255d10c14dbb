from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from predictor.baselines.base import Baseline
from predictor.baselines.registry import source_baselines
from predictor.contest.contestants import (
    SOURCE_CLASSES,
    rankings,
    single_task_contestants,
    source_contestants,
    sources_of,
)
from predictor.contest.curves import Curves, curve_contestants
from predictor.contest.episodes import draw_episode
from predictor.contest.ours import own_contestants, with_curve
from predictor.encoding import COMPLEXITIES, ArchitectureEncoder
from predictor.errors import BenchmarkError
from predictor.graph_statistics.complexity import WORK
from predictor.scoring import kendall_tau

from .conftest import TASK


def test_baselines_are_told_apart_by_code_and_name() -> None:
    fingerprints = [one.fingerprint for one in single_task_contestants()]

    assert len(set(fingerprints)) == len(fingerprints)
    assert fingerprints == [one.fingerprint for one in single_task_contestants()]


class Untouched(Mapping[str, Baseline]):
    """Names of baselines that must not be looked up."""

    def __iter__(self) -> Iterator[str]:
        return iter(SOURCE_CLASSES)

    def __len__(self) -> int:
        return len(SOURCE_CLASSES)

    def __getitem__(self, name: str) -> Baseline:
        raise AssertionError(f"{name} was trained")


def test_what_learns_from_other_tasks_is_not_trained_before_it_is_needed() -> None:
    first, second = (source_contestants(Untouched(), learned_from) for learned_from in ("these", "those"))

    assert {one.kind for one in first} == {"source"}
    assert not {one.fingerprint for one in first} & {one.fingerprint for one in second}


def test_everything_in_the_registry_is_known_before_it_learned() -> None:
    assert set(source_baselines([])) == set(SOURCE_CLASSES)


def test_sources_hold_every_measurement(measured) -> None:
    (source,) = sources_of([measured])

    assert source.measured.values == tuple(measured.values)
    assert source.measured.architectures == measured.architectures


def test_published_numbers_rank_and_proxies_of_other_data_sets_do_not(measured) -> None:
    found = rankings(measured, [measured])

    names = ["parameters", "computed FLOPs", "computed parameters", measured.task.metric.name]
    assert [one.name for one in found] == names
    assert {one.kind for one in found} == {"ranking"}
    draw = draw_episode(measured, (0,), 0, 50).draw(0)
    forecast = found[-1].predictor.adapt(measured.task, measured.space, draw.support).predict(draw.asked)
    assert np.corrcoef(forecast.mean, draw.truth)[0, 1] > 0.5  # not 1: notations of one network share a value


def test_what_graphs_tell_of_work_and_parameters_ranks_without_a_table(measured) -> None:
    (of_table,) = rankings(replace(measured, params=None))[:1]
    draw = draw_episode(measured, (0,), 0, 50).draw(0)
    forecast = of_table.predictor.adapt(measured.task, measured.space, draw.support).predict(draw.asked)

    told = ArchitectureEncoder().batch(draw.asked).globals[:, COMPLEXITIES][:, WORK].numpy()

    assert of_table.name == "computed FLOPs"
    assert spearmanr(forecast.mean, told).statistic > 0.999
    assert len(set(told.tolist())) > 5


def test_a_curve_ranks_by_its_last_value_before_anything_was_measured(measured, tiny_meta) -> None:
    names = tuple(measured.fidelities)
    last, process = curve_contestants(measured, names)
    ours = with_curve(tiny_meta, measured, names)
    draw = draw_episode(measured, (0, 20), 0, 50).draw(0)
    early = measured.fidelities["accuracy_3_epochs"][draw.query_rows]

    forecast = last.predictor.adapt(measured.task, measured.space, draw.support).predict(draw.asked)

    assert np.argsort(forecast.mean).tolist() == np.argsort(early).tolist()
    assert last.min_observations == 0
    assert len({last.fingerprint, process.fingerprint, ours.fingerprint}) == 3


def test_curves_and_decisions_together_are_better_than_the_last_value(measured, tiny_meta) -> None:
    draw = draw_episode(measured, (100,), 0, 200).draw(100)
    errors = []
    names = ("accuracy_1_epochs",)
    for one in [*curve_contestants(measured, names), with_curve(tiny_meta, measured, names)]:
        forecast = one.predictor.adapt(measured.task, measured.space, draw.support).predict(draw.asked)
        errors.append(float(np.abs(forecast.mean - draw.truth).mean()))

    assert errors[1] < errors[0]
    assert errors[2] < errors[0]


def test_a_curve_of_ours_changes_with_us(measured, tiny_meta) -> None:
    others = [replace(measured, task=replace(TASK, dataset="other"))]
    fingerprints = [
        with_curve(tiny_meta, measured, ("accuracy_1_epochs",), known).fingerprint for known in ([], others)
    ]

    assert fingerprints[0] != fingerprints[1]


def test_what_smaller_budgets_said_lifts_forecasts_before_anything_final_is_known(measured, tiny_meta) -> None:
    draw = draw_episode(measured, (0,), 0, 200).draw(0)
    plain, knowing = own_contestants(tiny_meta, measured)[0], with_curve(tiny_meta, measured, ("accuracy_3_epochs",))

    forecasts = [
        one.predictor.adapt(measured.task, measured.space, draw.support).predict(draw.asked) for one in (plain, knowing)
    ]

    plain_tau, knowing_tau = (kendall_tau(one.mean, draw.truth) for one in forecasts)
    assert knowing_tau > plain_tau + 0.1


@pytest.mark.parametrize("fidelities", [(), ("accuracy_7_epochs",)])
def test_fidelities_that_the_table_lacks_are_named(measured, fidelities) -> None:
    with pytest.raises(BenchmarkError, match="accuracy_1_epochs"):
        Curves(measured, fidelities)
