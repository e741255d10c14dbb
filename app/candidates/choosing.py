"""The choice between unmeasured architectures: acquisition, constraints, diversity.

Notation: S architectures, C constraints.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.candidates.constraints import BoundConstraint
from app.candidates.repository import Measured
from app.candidates.schemas import Acquisition, CandidateReply, ConstraintForecast
from app.inference import ParsedArchitecture, ServedTask
from app.inference.proposing import FeatureMemory, Features, ForecastColumns, acquisition_values, apart, diverse

Column = NDArray[np.float64]

FEASIBLE_PROBABILITY = 0.5
_MIN_SHORTLIST, _MAX_SHORTLIST = 64, 1_024


@dataclass(frozen=True)
class CandidateQuery:
    """What was asked for."""

    k: int = 10
    acquisition: Acquisition = "ucb"
    kappa: float = 1.0
    diversity: float = 0.3
    constraints: tuple[str, ...] = ()
    num_samples: int = 1_000  # random architectures where the space is searched
    seed: int | None = None
    project_id: int | None = None  # whose tasks constraints may speak of where the task itself belongs to nobody


@dataclass(frozen=True)
class ConstraintColumns:
    """What is known about one constraint for S architectures."""

    bound: BoundConstraint
    mean: Column  # (S,)
    std: Column  # (S,)
    measured: NDArray[np.bool_]  # (S,)
    probability: Column  # (S,)


@dataclass(frozen=True)
class Scored:
    """S architectures with everything that decides between them."""

    architectures: Sequence[ParsedArchitecture]
    columns: ForecastColumns
    acquisition: Column  # (S,)
    probability: Column  # (S,) that all constraints hold, taken as independent
    constraints: Sequence[ConstraintColumns]  # C of them

    @property
    def feasible(self) -> NDArray[np.bool_]:  # (S,)
        """Whether each is likely enough to satisfy all constraints."""
        return self.probability >= FEASIBLE_PROBABILITY

    def order(self) -> list[int]:
        """Places: the feasible ones by acquisition, then the others by how probable it is that they are feasible."""
        feasible = self.feasible
        keys = np.where(feasible, self.acquisition, self.probability)
        return np.lexsort((-keys, ~feasible)).tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Shortlist:
    """The S architectures most worth measuring, the feasible first; what is out meanwhile may still change."""

    served: ServedTask
    members: Sequence[ParsedArchitecture]  # (S,)
    columns: ForecastColumns
    scores: Column  # (S,)
    probability: Column  # (S,)
    num_feasible: int
    features: Features  # (S, F)
    diversity: float
    is_whole: bool  # nothing was left out for being worth less

    def chosen(self, k: int, out: Collection[str], taken: Features) -> list[int]:
        """At most k places, none of them out, near-identical to what is taken (T, F) or to each other: diverse ones among the
        feasible, then, if there are too few, the most probably feasible."""
        free = [place for place, one in enumerate(self.members) if one.id not in out]
        feasible = [place for place in free if place < self.num_feasible]
        rest = [place for place in free if place >= self.num_feasible]
        chosen = self._apart(feasible, self.scores, k, self.diversity, taken)
        if len(chosen) < k and rest:
            kept = [one for one in (taken, self.features[chosen]) if len(one)]
            chosen += self._apart(rest, self.probability, k - len(chosen), 0.0, np.concatenate(kept) if kept else taken)
        return chosen

    def _apart(self, places: list[int], keys: Column, k: int, strength: float, taken: Features) -> list[int]:
        return [places[row] for row in apart(keys[places], self.features[places], k, strength, taken)]


@dataclass(frozen=True)
class Choice:
    """One question for candidates with all that it depends on."""

    served: ServedTask
    query: CandidateQuery
    measured: Measured
    constraints: Sequence[BoundConstraint]
    rng: np.random.Generator
    seed: int  # of `rng`

    @property
    def best_value(self) -> float | None:
        """The best measured value; None if nothing was measured."""
        values = self.measured.values.values()
        return (max if self.served.is_maximized else min)(values, default=None)

    def scored(self, architectures: Sequence[ParsedArchitecture], columns: ForecastColumns) -> Scored:
        """Acquisition and constraints. Expected improvement is weighted by feasibility (Gardner et al., ICML 2014)."""
        query = self.query
        acquisition = acquisition_values(
            query.acquisition, columns, self.served, self.best_value, self.rng, query.kappa
        )
        constraints = [_constraint_columns(bound, architectures) for bound in self.constraints]
        probability = np.ones(len(architectures))
        for one in constraints:
            probability = probability * one.probability
        if query.acquisition == "ei":
            acquisition = acquisition * probability
        return Scored(architectures, columns, acquisition, probability, constraints)

    def chosen(self, scored: Scored, features: FeatureMemory) -> list[int]:
        """At most k places: diverse ones among the feasible, then, if there are too few, the most probably feasible."""
        order = scored.order()
        num_feasible = int(scored.feasible.sum())
        feasible, rest = order[:num_feasible], order[num_feasible:]
        k = self.query.k
        shortlist = feasible[: min(_MAX_SHORTLIST, max(_MIN_SHORTLIST, 10 * k))]
        if self.query.diversity > 0.0 and len(shortlist) > 1:
            rows = features.of(self.served, [scored.architectures[place] for place in shortlist])
            picked = diverse(scored.acquisition[shortlist], rows, k, self.query.diversity)
            shortlist = [shortlist[place] for place in picked]
        return [*shortlist[:k], *rest][:k]

    def shortlist(self, scored: Scored, features: FeatureMemory, size: int) -> Shortlist:
        """The best so many with what their likeness is judged by."""
        order = scored.order()
        places = np.asarray(order[:size], dtype=np.intp)
        members = [scored.architectures[place] for place in places.tolist()]
        return Shortlist(
            served=self.served,
            members=members,
            columns=scored.columns.at(places),
            scores=scored.acquisition[places],
            probability=scored.probability[places],
            num_feasible=min(int(scored.feasible.sum()), len(members)),
            features=features.of(self.served, members),
            diversity=self.query.diversity,
            is_whole=len(order) <= size,
        )

    def shown(self, rank: int, place: int, scored: Scored) -> CandidateReply:
        """The architecture at `place` as users see it."""
        architecture, columns = scored.architectures[place], scored.columns
        return CandidateReply(
            rank=rank,
            architecture_id=architecture.id,
            genotype=architecture.genotype,
            mean=float(columns.mean[place]),
            std=float(columns.std[place]),
            lower=float(columns.lower[place]),
            upper=float(columns.upper[place]),
            ood_score=float(columns.ood_score[place]),
            acquisition_value=float(scored.acquisition[place]),
            constraints=[_constraint_shown(one, place) for one in scored.constraints],
        )


def _constraint_columns(bound: BoundConstraint, architectures: Sequence[ParsedArchitecture]) -> ConstraintColumns:
    mean, std, measured = bound.source(architectures)
    return ConstraintColumns(bound, mean, std, measured, bound.constraint.probability(mean, std))


def _constraint_shown(columns: ConstraintColumns, place: int) -> ConstraintForecast:
    constraint, mean = columns.bound.constraint, float(columns.mean[place])
    is_known = not math.isnan(mean)
    return ConstraintForecast(
        metric=constraint.metric,
        task=columns.bound.task_name,
        operator=constraint.operator,
        bound=constraint.bound,
        mean=mean if is_known else None,
        std=float(columns.std[place]) if is_known else None,
        is_measured=bool(columns.measured[place]),
        probability=float(columns.probability[place]),
    )
