"""Expected hypervolume improvement by Monte Carlo, for batches and any number of objectives (Daulton, Balandat & Bakshy,
"Differentiable Expected Hypervolume Improvement for Parallel Multi-Objective Bayesian Optimization", NeurIPS 2020).

What lies above a front is cut into boxes once; how much a point adds is then a sum of products over boxes. A batch is chosen
greedily: overlaps with those that are chosen already are taken off by inclusion and exclusion (their equation 5), draw by draw.

All objectives are goodness: larger is better. Notation: P points of a front, M objectives, B boxes, S draws, Q candidates.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from predictor.errors import SearchError

Array = NDArray[np.float64]
_MAX_JOINT = 4  # of a batch that overlaps are taken off for: terms double with each
_CHUNK = 2**22  # numbers that are held at once


def non_dominated(points: Array) -> Array:  # (P, M) -> (P', M)
    """Those that no other beats; equal ones once."""
    unique = np.unique(points, axis=0)
    beaten = [bool(((unique >= one).all(1) & (unique > one).any(1)).any()) for one in unique]
    return unique[~np.array(beaten, dtype=np.bool_)]


def reference_point(front: Array) -> Array:  # (P, M) -> (M,)
    """A tenth of the front's range below its worst (Ishibuchi et al., Evolutionary Computation 2018)."""
    worst, reach = front.min(axis=0), np.ptp(front, axis=0)
    return np.asarray(worst - 0.1 * np.where(reach > 0.0, reach, np.maximum(np.abs(worst), 1.0)))


def boxes_above(front: Array, reference: Array) -> tuple[Array, Array]:  # (P, M), (M,) -> (B, M) lower, (B, M) upper
    """Disjoint boxes that fill what is above the reference point and not dominated by the front.

    The grid of all objectives but the last; above each of its cells everything beyond the best last objective of the points
    that dominate the cell.
    """
    inside = front[(front > reference).all(axis=1)]
    edges = [
        np.concatenate([[low], np.unique(column), [np.inf]]) for low, column in zip(reference, inside.T, strict=True)
    ]
    lower, upper = [], []
    for cell in itertools.product(*(range(len(edge) - 1) for edge in edges[:-1])):
        low = np.array([edge[place] for edge, place in zip(edges, cell, strict=False)])
        high = np.array([edge[place + 1] for edge, place in zip(edges, cell, strict=False)])
        above = inside[(inside[:, :-1] >= high).all(axis=1), -1]
        lower.append([*low, max(reference[-1], float(above.max(initial=-np.inf)))])
        upper.append([*high, np.inf])
    return np.array(lower), np.array(upper)


def hypervolume_gain(points: Array, boxes: tuple[Array, Array]) -> Array:  # (…, M) -> (…)
    """How much each point would add to the volume below the front alone."""
    lower, upper = boxes
    flat = points.reshape(-1, points.shape[-1])
    step = max(_CHUNK // lower.size, 1)
    parts = [
        np.prod(np.clip(np.minimum(upper, flat[at : at + step, None]) - lower, 0.0, None), axis=-1).sum(axis=-1)
        for at in range(0, len(flat), step)
    ]
    gains: Array = np.concatenate(parts or [np.zeros(0)]).reshape(points.shape[:-1])
    return gains


def select_by_hypervolume(
    mean: Array,  # (Q, M)
    std: Array,  # (Q, M)
    front: Array,  # (P, M)
    count: int,
    rng: np.random.Generator,
    num_draws: int = 64,
    reference: Array | None = None,  # (M,)
    probability: Array | None = None,  # (Q,) of being feasible
) -> list[int]:
    """Candidates that together are expected to add most to the hypervolume, the first alone, each next beside those before.

    Raises:
        SearchError: if the front is empty and there is no reference point.
    """
    if reference is None and not len(front):
        raise SearchError("expected a reference point where nothing was measured yet, got none")
    reference = reference_point(front) if reference is None else reference
    draws = mean + std * rng.standard_normal((num_draws, *mean.shape))  # (S, Q, M)
    counts = np.ones(len(mean)) if probability is None else probability
    chosen: list[int] = []
    while len(chosen) < min(count, len(mean)):
        settled, joint = chosen[:-_MAX_JOINT], chosen[-_MAX_JOINT:]
        known = non_dominated(np.concatenate([front.reshape(-1, mean.shape[1]), mean[settled]]))
        gain = _joint_gain(draws, joint, boxes_above(known, reference)).mean(axis=0) * counts
        gain[chosen] = -np.inf
        tied = gain >= gain.max() - 1e-15
        chosen.append(int(np.flatnonzero(tied)[np.argmax((mean / _scale(std)).sum(axis=1)[tied])]))
    return chosen


def _scale(std: Array) -> Array:  # (Q, M) -> (M,)
    return np.asarray(np.maximum(std.mean(axis=0), 1e-12))


def _joint_gain(draws: Array, joint: list[int], boxes: tuple[Array, Array]) -> Array:  # (S, Q, M) -> (S, Q)
    """What each candidate adds beside those of the batch, draw by draw: overlaps are volumes below minima."""
    total = np.zeros(draws.shape[:2])
    for size in range(len(joint) + 1):
        for others in itertools.combinations(joint, size):
            overlap = draws
            for other in others:
                overlap = np.minimum(overlap, draws[:, other, None])
            total += (-1.0) ** size * hypervolume_gain(overlap, boxes)
    return total
