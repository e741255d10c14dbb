"""Baselines that learn from other tasks first, and the list of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from predictor.baselines.base import Baseline
from predictor.baselines.features import Features
from predictor.baselines.fsbo import FSBO, FSBOConfig
from predictor.baselines.maml import MAML, META_SGD, MetaLearnedNetwork
from predictor.baselines.registry import single_task_baselines, source_baselines
from predictor.baselines.source_forecasts import SourceForecasts
from predictor.baselines.sources import MAX_ARCHITECTURES, bounded, chosen_sources
from predictor.benchmarks.base import BenchmarkTask
from predictor.errors import InvalidSupportSetError
from predictor.scoring import kendall_tau
from predictor.search_spaces.registry import search_space
from predictor.tasks import MeasuredTask, SupportSet

from .conftest import drawn, measured


def test_every_baseline_stands_under_its_own_name(sources: list[MeasuredTask]) -> None:
    single = single_task_baselines()

    assert [one.name for one in single.values()] == list(single)
    assert list(source_baselines(sources)) == [
        *("source_mean", "source_ridge", "universal_prior", "fsbo"),
        *("maml", "meta_sgd", "anil"),
    ]


def test_nothing_is_learned_before_it_is_looked_up(sources: list[MeasuredTask]) -> None:
    told: list[float] = []

    baselines = source_baselines(sources, seed=0, on_progress=told.append)
    assert told == []
    first = baselines["source_mean"]

    assert told[-1] == 1.0
    assert baselines["source_mean"] is first


def test_sources_too_small_to_learn_from_are_refused(target: BenchmarkTask) -> None:
    few = replace(measured(target), measured=measured(target).measured.select(range(9)))

    with pytest.raises(InvalidSupportSetError, match="at least 10 measured architectures, got none among 1"):
        chosen_sources([few], seed=0)


def test_sources_of_the_asked_space_are_the_last_to_be_dropped(sources: list[MeasuredTask]) -> None:
    named = [replace(sources[0], task=replace(sources[0].task, dataset=str(number))) for number in range(12)]
    elsewhere = [replace(one, task=replace(one.task, search_space="fbnet")) for one in named]
    every = [*elsewhere, *named]

    kept = bounded(every, 0, own_space=named[0].task.search_space, at_most=14)
    too_many = bounded(every, 0, own_space=named[0].task.search_space, at_most=5)

    assert kept[-12:] == named
    assert len(kept) == 14
    assert len(too_many) == 5
    assert all(one in named for one in too_many)
    assert bounded(every, 0, at_most=14) != kept


def test_what_a_source_forecast_is_not_asked_about_is_not_fitted(sources: list[MeasuredTask]) -> None:
    told: list[float] = []
    elsewhere = [replace(one, task=replace(one.task, dataset="other")) for one in sources[:1]]

    forecasts = SourceForecasts.of([*sources, *elsewhere], on_progress=told.append, own_space="fbnet")

    assert told == []
    assert len(forecasts.sources) == len(sources) + 1
    assert forecasts(sources[0].space, "accuracy", sources[0].measured.architectures[:3]).shape == (3, 0)


def test_a_part_of_a_large_source_is_learned_from_and_all_is_remembered(target: BenchmarkTask) -> None:
    source = measured(target)

    (chosen,) = chosen_sources([source], seed=0, max_architectures=50)

    assert len(chosen.architectures) == 50 < MAX_ARCHITECTURES
    assert set(chosen.measured) == {one.hash for one in target.architectures}


def test_a_source_says_what_it_measured(sources: list[MeasuredTask]) -> None:
    source = sources[0]
    architectures = source.measured.architectures[:40]

    said = SourceForecasts.of([source])(source.space, "accuracy", architectures)

    assert kendall_tau(said[:, 0], source.measured.targets[:40]) > 0.95  # one network may be measured in two notations


def test_a_source_forecasts_what_it_did_not_measure(sources: list[MeasuredTask]) -> None:
    source = sources[0]
    half = replace(source, measured=source.measured.select(range(200)))
    others = source.measured.select(range(200, 300))

    said = SourceForecasts.of([half])(source.space, "accuracy", others.architectures)

    assert kendall_tau(said[:, 0], others.targets) > 0.3


def test_sources_of_other_spaces_and_metrics_say_nothing(sources: list[MeasuredTask], target: BenchmarkTask) -> None:
    forecasts = SourceForecasts.of([one for one in sources if one.task.metric.family == "latency"])

    assert forecasts(target.space, "accuracy", target.architectures[:4]).shape == (4, 0)
    assert forecasts(search_space("fbnet"), "latency", []).shape == (0, 0)


def test_without_observations_sources_rank_better_than_chance(
    baselines: Mapping[str, Baseline], target: BenchmarkTask
) -> None:
    _, asked = drawn(target, 0)

    for name in ("source_mean", "source_ridge", "universal_prior"):
        adapted = baselines[name].adapt(target.task, target.space, SupportSet())
        found = adapted.predict([target.architectures[row] for row in asked])
        assert kendall_tau(found.mean, target.values[asked]) > 0.2, name


MAKERS: dict[str, Callable[[list[MeasuredTask], int], Baseline]] = {
    "fsbo": lambda sources, seed: FSBO.meta_trained(sources, seed, config=FSBOConfig(num_steps=5)),
    "maml": lambda sources, seed: MetaLearnedNetwork.meta_trained(
        sources, seed, config=replace(MAML, num_outer_steps=3)
    ),
    "meta_sgd": lambda sources, seed: MetaLearnedNetwork.meta_trained(
        sources, seed, config=replace(META_SGD, num_outer_steps=3)
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_learning_depends_on_the_seed_alone(name: str, sources: list[MeasuredTask], target: BenchmarkTask) -> None:
    support, asked = drawn(target, 10)
    architectures = [target.architectures[row] for row in asked]

    first, same, other = (
        MAKERS[name](sources, seed).adapt(target.task, target.space, support).predict(architectures).mean
        for seed in (0, 0, 1)
    )

    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_notations_of_one_network_have_their_own_decisions() -> None:
    space = search_space("nasbench201")
    dead = space.parse("|none~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_1x1~0|none~1|none~2|")
    plain = space.parse("|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|")
    assert dead.hash == plain.hash
    features = Features()

    decisions = features.decisions(space, [dead, plain, dead])

    np.testing.assert_array_equal(decisions[0], space.features(dead))
    np.testing.assert_array_equal(decisions[1], space.features(plain))
    np.testing.assert_array_equal(decisions[2], decisions[0])
