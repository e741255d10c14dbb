"""How well a task can be ranked at all by what the tables hold: by whoever learns from thousands of its own values, and knows besides what
every related task measured of the very networks that are asked about.

No bound in the strict sense, but a measure of what may be expected of a few observations: what remains unexplained after thousands is
noise of trainings, or what nothing at hand tells.

Notation: M architectures of a task, R related tasks, D features of an architecture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from predictor.baselines.features import Features, identity_of
from predictor.benchmarks.base import BenchmarkTask
from predictor.contest.episodes import draw_episode
from predictor.contest.scores import rank_correlation
from predictor.surrogate.standardisation import normal_scores

Array = NDArray[np.float64]
BEST, LINEAR, TREES = "best related task", "linear mix", "boosted trees"
WAYS = (BEST, LINEAR, TREES)
"""The values of that related task which ranks the asked networks best; a ridge on values of all related tasks and decisions; boosted trees on
these and statistics of graphs."""

MOST_KNOWN = 3_000
_LEAST_KNOWN = 100
_RIDGES = tuple(10.0**power for power in range(-3, 5))


def ceilings(
    measured: BenchmarkTask, related: Sequence[BenchmarkTask], seed: int, num_asked: int, features: Features
) -> dict[str, tuple[float, float]]:
    """Kendall's τ and Spearman's ρ on so many asked networks, none of which is among the known ones, for each of `WAYS`; NaN for
    those that need related tasks where there are none.

    Raises:
        BenchmarkError: if the task is too small.
    """
    sizes = [_LEAST_KNOWN]
    while 2 * sizes[-1] < min(MOST_KNOWN, len(measured)):
        sizes.append(2 * sizes[-1])
    drawn = draw_episode(measured, [*sizes, min(MOST_KNOWN, 4 * len(measured) // 5)], seed, num_asked)
    known, asked = drawn.order, drawn.query_rows
    heard = _values_of(related, measured)  # (M, R)
    decisions = features.decisions(measured.space, measured.architectures)
    statistics = features.raw_statistics(measured.architectures)
    goodness = measured.task.metric.sign * measured.values
    targets, truth = normal_scores(goodness[known]), goodness[asked]

    plain = np.concatenate([np.nan_to_num(heard), decisions], axis=1)
    linear = RidgeCV(_RIDGES).fit(plain[known], targets).predict(plain[asked]) if plain.shape[1] else None
    everything = np.concatenate([heard, decisions, statistics], axis=1)
    trees = HistGradientBoostingRegressor(max_iter=300, learning_rate=0.05, random_state=seed)
    answers = {LINEAR: linear, TREES: trees.fit(everything[known], targets).predict(everything[asked])}
    told = [answer for answer in heard[asked].T if bool(np.isfinite(answer).all())]
    answers[BEST] = max(told, key=lambda one: rank_correlation(kendalltau, one, truth)) if told else None
    return {name: _scored(answers[name], truth) for name in WAYS}


def _scored(answer: Array | None, truth: Array) -> tuple[float, float]:
    if answer is None:
        return float("nan"), float("nan")
    return rank_correlation(kendalltau, answer, truth), rank_correlation(spearmanr, answer, truth)


def _values_of(related: Sequence[BenchmarkTask], measured: BenchmarkTask) -> Array:  # (M, R)
    """Normal scores of goodness of each related task, NaN where it did not measure the network."""
    places = [identity_of(one) for one in measured.architectures]
    columns = []
    for other in related:
        scores = normal_scores(other.task.metric.sign * other.values)
        told = dict(zip(map(identity_of, other.architectures), scores.tolist(), strict=True))
        columns.append([told.get(place, float("nan")) for place in places])
    return np.array(columns, dtype=np.float64).reshape(len(related), len(places)).T
