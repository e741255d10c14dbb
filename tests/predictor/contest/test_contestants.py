from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import torch

from predictor.baselines.base import Baseline
from predictor.baselines.registry import source_baselines
from predictor.contest.contestants import (
    FROM_SCRATCH,
    OURS,
    SOURCE_CLASSES,
    WITHOUT_PROCESS,
    from_scratch,
    own_contestants,
    rankings,
    single_task_contestants,
    source_contestants,
    sources_of,
    untrained,
)
from predictor.contest.curves import Curves, curve_contestants
from predictor.contest.episodes import draw_episode
from predictor.errors import BenchmarkError
from predictor.meta_predictor import MetaPredictor
from predictor.meta_training import with_manifest


@pytest.fixture(scope="module")
def trained_meta(tiny_meta) -> MetaPredictor:
    """A version whose parameters are not the ones that untrained ones start from."""
    surrogate = copy.deepcopy(tiny_meta.surrogate)
    with torch.no_grad():
        for parameter in surrogate.parameters():
            parameter.mul_(1.1)
    return MetaPredictor(surrogate, tiny_meta.log_step_sizes, tiny_meta.default_reference, tiny_meta.manifest)


def test_ours_come_with_and_without_their_process(tiny_meta, measured) -> None:
    draw = draw_episode(measured, (20,), 0, 30).draw(20)
    with_process, without = (one.predictor for one in own_contestants(tiny_meta))

    first = with_process.adapt(measured.task, measured.space, draw.support).predict(draw.asked)
    second = without.adapt(measured.task, measured.space, draw.support).predict(draw.asked)

    assert [one.name for one in own_contestants(tiny_meta)] == [OURS, WITHOUT_PROCESS]
    assert not np.allclose(first.mean, second.mean)


def test_our_fingerprint_tells_weights_and_calibration_apart(trained_meta) -> None:
    same = own_contestants(trained_meta)[0].fingerprint
    recalibrated = with_manifest(trained_meta, {"widths": {"numbers": [0], "factors": [2.0]}})
    others = [own_contestants(one)[0].fingerprint for one in (recalibrated, untrained(trained_meta))]

    assert own_contestants(trained_meta)[0].fingerprint == same
    assert len({same, *others}) == 3


def test_from_scratch_is_the_same_shape_and_knows_nothing(trained_meta) -> None:
    blank = from_scratch(trained_meta)
    meta = untrained(trained_meta)

    assert blank.name == FROM_SCRATCH
    assert meta.version != trained_meta.version
    assert [p.shape for p in meta.surrogate.parameters()] == [p.shape for p in trained_meta.surrogate.parameters()]
    assert "priors" not in meta.manifest
    assert untrained(trained_meta).version == meta.version
    assert torch.equal(meta.default_reference.mean, trained_meta.default_reference.mean)


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

    assert [one.name for one in found] == ["parameters", measured.task.metric.name]
    assert {one.kind for one in found} == {"ranking"}
    draw = draw_episode(measured, (0,), 0, 50).draw(0)
    forecast = found[1].predictor.adapt(measured.task, measured.space, draw.support).predict(draw.asked)
    assert np.corrcoef(forecast.mean, draw.truth)[0, 1] > 0.5  # not 1: notations of one network share a value


def test_a_curve_ranks_by_its_last_value_before_anything_was_measured(measured, tiny_meta) -> None:
    names = tuple(measured.fidelities)
    last, process, ours = curve_contestants(measured, names, tiny_meta)
    draw = draw_episode(measured, (0, 20), 0, 50).draw(0)
    early = measured.fidelities["accuracy_3_epochs"][draw.query_rows]

    forecast = last.predictor.adapt(measured.task, measured.space, draw.support).predict(draw.asked)

    assert np.argsort(forecast.mean).tolist() == np.argsort(early).tolist()
    assert last.min_observations == 0
    assert len({last.fingerprint, process.fingerprint, ours.fingerprint}) == 3


def test_curves_and_decisions_together_are_better_than_the_last_value(measured, tiny_meta) -> None:
    draw = draw_episode(measured, (100,), 0, 200).draw(100)
    errors = []
    for one in curve_contestants(measured, ("accuracy_1_epochs",), tiny_meta):
        forecast = one.predictor.adapt(measured.task, measured.space, draw.support).predict(draw.asked)
        errors.append(float(np.abs(forecast.mean - draw.truth).mean()))

    assert errors[1] < errors[0]
    assert errors[2] < errors[0]


def test_without_a_version_there_is_no_curve_of_ours(measured) -> None:
    assert len(curve_contestants(measured, ("accuracy_1_epochs",), None)) == 2


@pytest.mark.parametrize("fidelities", [(), ("accuracy_7_epochs",)])
def test_fidelities_that_the_table_lacks_are_named(measured, fidelities) -> None:
    with pytest.raises(BenchmarkError, match="accuracy_1_epochs"):
        Curves(measured, fidelities)
