"""Several objectives: who dominates whom, how crowded a front is, and how much of the space of objectives it covers.

Constraints count first (Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II", IEEE TEVC 2002, section
VI): what violates nothing dominates what does, and of two that violate the one that does so less dominates. Ranks and
hypervolume are computed by moocore (Fonseca, Paquete & López-Ibáñez, "An Improved Dimension-Sweep Algorithm for the
Hypervolume Indicator", CEC 2006).

Notation: N architectures, M objectives.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from predictor.errors import SearchError
from predictor.search.base import Outcome, SearchProblem

_MARGIN = 0.1

Array = NDArray[np.float64]


def goodness_of(problem: SearchProblem, outcomes: Sequence[Outcome]) -> Array:  # (N, M)
    """Values turned so that larger is better; of outcomes that have values."""
    rows = [problem.goodness(outcome.values) for outcome in outcomes if outcome.values is not None]
    return np.array(rows, np.float64).reshape(len(rows), len(problem.objectives))


def front_numbers(goodness: Array, violations: Array) -> NDArray[np.int64]:  # (N, M), (N,) -> (N,)
    """0 for those that nobody dominates, 1 for those that only they dominate, and so on."""
    fronts = np.zeros(len(goodness), np.int64)
    feasible = violations == 0.0
    if feasible.any():
        fronts[feasible] = moocore.pareto_rank(goodness[feasible], maximise=True)
    if not feasible.all():
        _, place = np.unique(violations[~feasible], return_inverse=True)
        fronts[~feasible] = place + (fronts[feasible].max() + 1 if feasible.any() else 0)
    return fronts


def crowding_distances(goodness: Array) -> Array:  # (N, M) -> (N,)
    """How far the neighbours of each on its front are apart, summed over objectives; infinite for the outermost."""
    distances = np.zeros(len(goodness))
    for column in goodness.T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        distances[order[[0, -1]]] = np.inf
        if spread > 0.0:
            distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distances


def non_dominated(problem: SearchProblem, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The Pareto front: what violates nothing and what nothing else of these dominates, in the given order.

    Failures and lower fidelities take no part. Of several with the same values all are kept.
    """
    candidates = _comparable(outcomes)
    if not candidates:
        return []
    fronts = front_numbers(goodness_of(problem, candidates), np.zeros(len(candidates)))
    return [outcome for outcome, front in zip(candidates, fronts, strict=True) if front == 0]


def hypervolume(problem: SearchProblem, outcomes: Sequence[Outcome], reference: Sequence[float] | None = None) -> float:
    """How much of the space of objectives is dominated by these and dominates `reference` (in the metrics' units).

    Without a reference it is that of `reference_point`. Compare only volumes of the same reference.

    Raises:
        SearchError: if the reference has not one finite number an objective.
    """
    front = non_dominated(problem, outcomes)
    if reference is not None:
        _check_reference(problem, reference)
    elif front:
        reference = reference_point(problem, front)
    if not front or reference is None:
        return 0.0
    turned = np.array(problem.goodness(reference))
    return float(moocore.hypervolume(goodness_of(problem, front), ref=turned, maximise=True))


def reference_point(problem: SearchProblem, outcomes: Sequence[Outcome]) -> tuple[float, ...]:
    """A point that the Pareto front of these dominates, in the metrics' units: in every objective its worst value, less a
    tenth of its range (Ishibuchi et al., "How to Specify a Reference Point in Hypervolume Calculation", Evol. Comp. 2018).

    Raises:
        SearchError: if none of them is feasible.
    """
    front = non_dominated(problem, outcomes)
    if not front:
        raise SearchError(f"expected an architecture that violates nothing, got none among {len(outcomes)} outcomes")
    goodness = goodness_of(problem, front)
    worst, best = goodness.min(axis=0), goodness.max(axis=0)
    margin = _MARGIN * np.where(best > worst, best - worst, np.maximum(1.0, np.abs(worst)))
    return problem.goodness((worst - margin).tolist())


def _comparable(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if one.values is not None and one.violation == 0.0 and one.fidelity == 1.0]


def _check_reference(problem: SearchProblem, reference: Sequence[float]) -> None:
    if len(reference) != len(problem.objectives) or not np.isfinite(np.array(reference, np.float64)).all():
        raise SearchError(
            f"expected a reference of {len(problem.objectives)} finite numbers, one an objective, got {tuple(reference)}"
        )
