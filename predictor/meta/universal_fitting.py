"""Fits the universal mean to every training task at once, with scikit-learn.

Every search space counts alike, however many tasks and architectures it has. Targets are normal scores of goodness within a task:
which of its architectures are better, whatever the unit and the scale.

Notation: M architectures of a pool, G global features, A architectures that are learned from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.encoding import COMPLEXITIES, work_of
from predictor.meta.episodes import TaskPool
from predictor.surrogate.standardisation import normal_scores
from predictor.surrogate.trees import Trees
from predictor.surrogate.universal_mean import FamilyMean, UniversalMean

Array = NDArray[np.float64]
_LEAST_SPACES = 2  # what one space alone says of a metric is not universal
_MOST_PER_SPACE = 6_000
_LEAST_PER_TASK = 20
_NUM_PARTS = 3
_TINY = 1e-9
_NUM_BOOSTED, _PACE, _NUM_RANDOMISED = 150, 0.08, 40


def fit_universal_mean(
    pools: Sequence[TaskPool], seed: int = 0, on_progress: Callable[[float], None] = lambda _fraction: None
) -> UniversalMean:
    """One mean for each metric family that at least two search spaces measured."""
    families = list(dict.fromkeys(pool.task.metric.family for pool in pools))
    found = {}
    for done, family in enumerate(families, start=1):
        of_family = [pool for pool in pools if pool.task.metric.family == family and len(pool) > 1]
        if len({pool.task.search_space for pool in of_family}) >= _LEAST_SPACES:
            found[family] = _fitted(of_family, seed)
        on_progress(done / len(families))
    return UniversalMean(found)


def _fitted(pools: Sequence[TaskPool], seed: int) -> FamilyMean:
    from sklearn.ensemble import (
        ExtraTreesRegressor,
        GradientBoostingRegressor,
    )  # serving imports this module, and none of these
    from sklearn.linear_model import Ridge

    scores, goodness, weights = _learned_from(pools, np.random.default_rng(seed))
    work = work_of(torch.from_numpy(scores)).numpy()
    work_weight = float(np.float32((weights * work * goodness).sum() / max((weights * work * work).sum(), _TINY)))
    targets = goodness - work_weight * work
    scores[:, COMPLEXITIES] = 0.0  # no tree undoes the line
    count = len(targets)
    boosted = GradientBoostingRegressor(
        n_estimators=_NUM_BOOSTED, learning_rate=_PACE, max_leaf_nodes=8, min_samples_leaf=min(100, 1 + count // 50),
        max_features=0.3, subsample=0.3, random_state=seed,
    ).fit(scores, targets, sample_weight=weights)  # fmt: skip
    randomised = ExtraTreesRegressor(
        _NUM_RANDOMISED,
        min_samples_leaf=max(10, count // 1500),
        max_features=0.3,
        max_leaf_nodes=256,
        max_depth=12,
        random_state=seed,
    ).fit(scores, targets, sample_weight=weights)
    ridge = Ridge(alpha=count / 30).fit(scores, targets, sample_weight=weights)
    constant = float(np.average(targets, weights=weights))  # what boosting starts from
    linear = np.append(ridge.coef_, ridge.intercept_ + constant) / _NUM_PARTS
    return FamilyMean(
        Trees.grown([one.tree_ for one in boosted.estimators_[:, 0]], _PACE / _NUM_PARTS),
        Trees.grown([one.tree_ for one in randomised.estimators_], 1.0 / (_NUM_RANDOMISED * _NUM_PARTS)),
        torch.from_numpy(linear).float(),
        work_weight,
        len({pool.task.search_space for pool in pools}),
    )


def _learned_from(pools: Sequence[TaskPool], rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Normal scores of statistics (A, G), targets (A,), weights (A,) that add up alike for every space."""
    of_space = Counter(pool.task.search_space for pool in pools)
    scores, targets, spaces = [], [], []
    for pool in pools:
        space = pool.task.search_space
        rows = rng.permutation(len(pool))[: max(_LEAST_PER_TASK, _MOST_PER_SPACE // of_space[space])]
        statistics = pool.graphs.globals[torch.from_numpy(rows)]
        scores.append(pool.reference.normal_scores(statistics).double().numpy())
        targets.append(normal_scores(pool.task.metric.sign * pool.values)[rows])
        spaces += [space] * len(rows)
    counts = Counter(spaces)
    weights = np.array([1.0 / counts[space] for space in spaces])
    return np.concatenate(scores), np.concatenate(targets), weights / weights.mean()
