from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from predictor.benchmarks.base import BenchmarkTask
from predictor.contest.episodes import Draw, draw_episode
from predictor.contest.ours import (
    FROM_SCRATCH,
    OURS,
    WITHOUT_FORESTS,
    WITHOUT_PARTS,
    WITHOUT_PROCESS,
    WITHOUT_RELATED,
    WITHOUT_UNIVERSAL,
    from_scratch,
    own_contestants,
    related_among,
    untrained,
)
from predictor.contest.results import ResultStore
from predictor.contest.running import Plan, run_case
from predictor.meta_predictor import MetaPredictor
from predictor.meta_training import with_manifest
from predictor.tasks import Metric, Task

from .conftest import TASK


@pytest.fixture(scope="module")
def trained_meta(tiny_meta) -> MetaPredictor:
    """A version whose parameters are not the ones that untrained ones start from."""
    surrogate = copy.deepcopy(tiny_meta.surrogate)
    with torch.no_grad():
        for parameter in surrogate.parameters():
            parameter.mul_(1.1)
    return MetaPredictor(surrogate, tiny_meta.log_step_sizes, tiny_meta.default_reference, tiny_meta.manifest)


@pytest.fixture(scope="module")
def sibling(measured) -> BenchmarkTask:
    """The same cells with nearly the same values on another data set."""
    values = measured.values + np.random.default_rng(1).normal(size=len(measured)) / 10
    return replace(measured, task=replace(TASK, dataset="sibling"), values=values)


def forecasts(contestant, draw: Draw) -> np.ndarray:
    adapted = contestant.predictor.adapt(draw.measured.task, draw.measured.space, draw.support)
    return adapted.predict(draw.asked).mean


def test_what_related_tasks_say_counts_and_is_left_out_of_an_ablation(tiny_meta, measured, sibling) -> None:
    draw = draw_episode(measured, (20,), 0, 100).draw(20)
    entrants = own_contestants(tiny_meta, measured, [sibling])
    ours, without_related, without_process = (forecasts(one, draw) for one in entrants[:3])

    assert [one.name for one in entrants] == [OURS, WITHOUT_RELATED, WITHOUT_PROCESS, *WITHOUT_PARTS]
    assert np.corrcoef(ours, draw.truth)[0, 1] > 0.8
    assert np.corrcoef(ours, draw.truth)[0, 1] > np.corrcoef(without_related, draw.truth)[0, 1]
    assert not np.allclose(without_related, without_process)


def test_where_no_task_is_related_there_is_one_of_us_less(tiny_meta, measured, sibling) -> None:
    few = replace(
        sibling, notations=sibling.notations[:5], rows=sibling.rows[:5], values=sibling.values[:5],
        fidelities={}, params=None,
    )  # fmt: skip
    alone, with_few = own_contestants(tiny_meta, measured), own_contestants(tiny_meta, measured, [few])

    names = [OURS, WITHOUT_PROCESS, *WITHOUT_PARTS]
    assert [one.name for one in alone] == [one.name for one in with_few] == names
    assert alone[0].fingerprint == with_few[0].fingerprint


def test_less_one_part_is_another_forecast_that_still_hears_related_tasks(universal_meta, measured, sibling) -> None:
    draw = draw_episode(measured, (20,), 0, 100).draw(20)
    found = {one.name: forecasts(one, draw) for one in own_contestants(universal_meta, measured, [sibling])}

    different = [found[name].tobytes() for name in (OURS, *WITHOUT_PARTS) if name != WITHOUT_UNIVERSAL]

    assert len(set(different)) == len(different)
    assert np.array_equal(found[WITHOUT_UNIVERSAL], found[OURS])  # the sibling is trusted and speaks in its place
    for name in WITHOUT_PARTS:
        assert np.corrcoef(found[name], draw.truth)[0, 1] > np.corrcoef(found[WITHOUT_RELATED], draw.truth)[0, 1]


def test_where_no_task_is_related_the_universal_mean_and_forests_are_parts(universal_meta, measured) -> None:
    draw = draw_episode(measured, (20,), 0, 100).draw(20)
    found = {one.name: forecasts(one, draw) for one in own_contestants(universal_meta, measured)}

    assert not np.allclose(found[WITHOUT_UNIVERSAL], found[OURS])
    assert not np.allclose(found[WITHOUT_FORESTS], found[OURS])


def test_tasks_of_other_spaces_and_costs_have_no_say_in_an_accuracy(measured, sibling) -> None:
    elsewhere = replace(sibling, task=replace(sibling.task, search_space="fbnet"))
    cost = replace(sibling, task=Task("nasbench201", "toy", Metric("latency_ms", "ms", "minimize")))

    assert related_among(measured, [elsewhere, cost, sibling, measured]) == [sibling]


def test_related_tasks_are_heard_once_for_all_seeds_and_sizes(
    tiny_meta, measured, sibling, case, tmp_path, monkeypatch
) -> None:
    heard: list[Task] = []
    related = MetaPredictor.related
    monkeypatch.setattr(
        MetaPredictor, "related", lambda self, task, *rest: heard.append(task) or related(self, task, *rest)
    )
    entrants = own_contestants(tiny_meta, measured, [sibling])
    assert heard == []

    run_case(case, measured, entrants, Plan("P1", 2, case.sizes, 40), ResultStore(tmp_path))
    run_case(case, measured, entrants, Plan("P1", 3, case.sizes, 40), ResultStore(tmp_path))

    assert heard == [TASK]


def test_what_leaves_the_process_out_adapts_nothing_again(tiny_meta, measured, case, tmp_path, monkeypatch) -> None:
    adapted: list[int] = []
    adapt = MetaPredictor.adapt
    monkeypatch.setattr(
        MetaPredictor,
        "adapt",
        lambda self, task, space, support, *rest: (
            adapted.append(len(support)) or adapt(self, task, space, support, *rest)
        ),
    )
    store = ResultStore(tmp_path)
    both = [one for one in own_contestants(tiny_meta, measured) if one.name in (OURS, WITHOUT_PROCESS)]

    run_case(case, measured, both, Plan("P1", 1, case.sizes, 40), store)

    assert adapted == [0, 5, 10]
    seconds = {one.contestant: one.seconds_to_adapt for one in store.load() if one.num_observations == 10}
    assert seconds[OURS] > 0.0
    assert np.isnan(seconds[WITHOUT_PROCESS])


def test_our_fingerprint_tells_weights_calibration_and_related_tasks_apart(trained_meta, measured, sibling) -> None:
    def fingerprint(meta: MetaPredictor, *others: BenchmarkTask) -> str:
        return own_contestants(meta, measured, others)[0].fingerprint

    recalibrated = with_manifest(trained_meta, {"widths": {"numbers": [0], "factors": [2.0]}})
    found = [fingerprint(one) for one in (trained_meta, recalibrated, untrained(trained_meta))]

    assert fingerprint(trained_meta) == found[0]
    assert len({*found, fingerprint(trained_meta, sibling)}) == 4


def test_from_scratch_is_the_same_shape_and_knows_nothing(trained_meta) -> None:
    blank = from_scratch(trained_meta)
    meta = untrained(trained_meta)

    assert blank.name == FROM_SCRATCH
    assert meta.version != trained_meta.version
    assert [p.shape for p in meta.surrogate.parameters()] == [p.shape for p in trained_meta.surrogate.parameters()]
    assert "priors" not in meta.manifest
    assert untrained(trained_meta).version == meta.version
    assert torch.equal(meta.default_reference.mean, trained_meta.default_reference.mean)
