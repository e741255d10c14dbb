"""Tasks of the shipped benchmark, and every baseline, those that learn from sources with little training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from predictor.baselines.base import Baseline
from predictor.baselines.complexity import Complexity
from predictor.baselines.features import Features
from predictor.baselines.fsbo import FSBO, FSBOConfig
from predictor.baselines.maml import ANIL, MAML, META_SGD, MetaLearnedNetwork
from predictor.baselines.registry import single_task_baselines
from predictor.baselines.source_forecasts import SourceForecasts
from predictor.baselines.source_mean import SourceMean
from predictor.baselines.source_ridge import SourceRidge
from predictor.baselines.universal_prior import UniversalPrior
from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.registry import read_all
from predictor.tasks import MeasuredTask, SupportSet

FEW_STEPS = FSBOConfig(num_steps=60)


def measured(task: BenchmarkTask) -> MeasuredTask:
    """The whole task as one support set."""
    support = SupportSet(task.architectures, tuple(map(float, task.values)), (1,) * len(task))
    return MeasuredTask(task.task, task.space, support)


@pytest.fixture(scope="session")
def cells() -> Mapping[str, BenchmarkTask]:
    """300 cells of each task of the shipped benchmark, by task."""
    return {one.task.name: one for one in read_all(None, max_architectures_per_task=300)}


@pytest.fixture(scope="session")
def target(cells: Mapping[str, BenchmarkTask]) -> BenchmarkTask:
    """What baselines are asked about."""
    return cells["nasbench201/digits/accuracy"]


@pytest.fixture(scope="session")
def sources(cells: Mapping[str, BenchmarkTask], target: BenchmarkTask) -> list[MeasuredTask]:
    """The tasks of another data set, whose accuracy ranks cells otherwise, and a task that ranks them alike: the target's
    accuracy after fewer epochs."""
    early = max(target.fidelities, key=lambda name: target.fidelity_levels[name])
    alike = replace(target, task=replace(target.task, dataset=early), values=target.fidelities[early])
    return [measured(alike), *(measured(one) for name, one in cells.items() if "photo_regions" in name)]


@pytest.fixture(scope="session")
def baselines(target: BenchmarkTask, sources: list[MeasuredTask]) -> Mapping[str, Baseline]:
    """All of them, by name."""
    assert target.params is not None
    features = Features()
    params = dict(zip([one.hash for one in target.architectures], map(float, target.params), strict=True))
    forecasts = SourceForecasts.of(sources, features=features)
    from_sources: list[Baseline] = [
        SourceMean(forecasts),
        SourceRidge(forecasts, features),
        UniversalPrior.meta_trained(sources, features=features),
        FSBO.meta_trained(sources, features=features, config=FEW_STEPS),
        *(
            MetaLearnedNetwork.meta_trained(sources, features=features, config=replace(config, num_outer_steps=40))
            for config in (MAML, META_SGD, ANIL)
        ),
    ]
    every = [Complexity(params, "parameters"), *single_task_baselines().values(), *from_sources]
    return {one.name: one for one in every}


def drawn(task: BenchmarkTask, count: int, seed: int = 0) -> tuple[SupportSet, list[int]]:
    """A random support set, and the places of a hundred others."""
    order = np.random.default_rng(seed).permutation(len(task)).tolist()
    return measured(task).measured.select(order[:count]), order[count : count + 100]
