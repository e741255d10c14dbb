"""Answers which architectures to measure next."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.candidates import repository
from app.candidates.choosing import CandidateQuery, Choice, Scored, Shortlist
from app.candidates.constraints import (
    BoundConstraint,
    find_task,
    parse_constraint,
    stated_source,
    task_source,
)
from app.candidates.repository import Measured
from app.candidates.schemas import CandidatesReply
from app.database import Database
from app.inference import (
    Inference,
    ParsedArchitecture,
    ServedTask,
    parse_architecture,
    sampled,
    stored_architectures,
)
from app.inference.caches import BoundedCache
from app.inference.proposing import (
    Constraint,
    FeatureMemory,
    Features,
    ForecastColumns,
    Pool,
    Pools,
    global_attribute,
    searched,
)
from app.settings import Settings

_NUM_BEST = 10
_MAX_MEASURED = 64
_MAX_STANDING = 32
_MOST_SECONDS_BEHIND = 60.0
STATED_METRICS = ("params", "flops")
Found = tuple[Sequence[ParsedArchitecture], ForecastColumns]
"""Unmeasured architectures with their forecasts."""


class CandidateService:
    """One for an application. May be called from any thread."""

    def __init__(self, settings: Settings, database: Database, inference: Inference) -> None:
        self._database = database
        self._inference = inference
        self._pools = Pools(inference.forecaster, settings.max_enumerated_candidates)
        self._measured: BoundedCache[int, tuple[int, Measured]] = BoundedCache(_MAX_MEASURED)
        self._scored_last: BoundedCache[int, ServedTask] = BoundedCache(_MAX_MEASURED)
        self._new_since: BoundedCache[int, float] = BoundedCache(_MAX_MEASURED)
        self._masks: BoundedCache[int, tuple[Measured, Pool, NDArray[np.bool_]]] = BoundedCache(_MAX_MEASURED)
        self._standing: BoundedCache[tuple[Hashable, ...], Found] = BoundedCache(_MAX_STANDING)
        self._features = FeatureMemory()
        inference.add_listener(self.warm)

    def warm(self, served: ServedTask) -> None:
        """Scores the task's space ahead of the first question."""
        if self._pools.is_enumerable(served.space):
            self._pools.scored(served)
            self._scored_last.put(served.task_id, served)

    def candidates(self, task: str, query: CandidateQuery) -> CandidatesReply:
        """The best unmeasured architectures of the task.

        Raises:
            NotFoundError: if there is no such task.
            InvalidContentError: if a constraint cannot be read or speaks of an unknown metric.
            NotReadyError: if there is no champion yet.
        """
        choice, scored = self._prepared(task, query)
        served = choice.served
        metric = served.task.metric
        places = choice.chosen(scored, self._features)
        return CandidatesReply(
            task=served.name,
            metric=metric.name,
            unit=metric.unit,
            direction=metric.direction,
            model_version=served.model_version,
            num_observations=served.num_observations,
            is_fresh=served.is_fresh,
            acquisition=query.acquisition,
            kappa=query.kappa,
            seed=choice.seed,
            best_measured=choice.best_value,
            method="enumerated" if self._pools.is_enumerable(served.space) else "searched",
            num_considered=len(scored.architectures),
            num_feasible=int(scored.feasible.sum()),
            candidates=[choice.shown(rank, place, scored) for rank, place in enumerate(places, start=1)],
        )

    def shortlist(
        self, task: str, query: CandidateQuery, out: frozenset[str], size: int, *, may_repeat: bool
    ) -> Shortlist:
        """The best unmeasured architectures that are not out, to be chosen from; raises as `candidates` does.

        What was found in a space too large to list may be chosen from again until the task is adapted anew, where `may_repeat`.
        """
        choice, scored = self._prepared(task, query, out, may_repeat)
        return choice.shortlist(scored, self._features, size)

    def learn_features(self, served: ServedTask, ids: Iterable[str]) -> None:
        """Remembers what likeness to these stored architectures is judged by."""
        missing = self._features.missing(served, ids)
        if missing:
            with self._database.read() as session:
                stored = stored_architectures(session, served.space, missing)
            self._features.of(served, [parse_architecture(served.space, {"id": one}, stored) for one in stored])

    def unknown_features(self, served: ServedTask, ids: Iterable[str]) -> set[str]:
        """Those that `learn_features` should be told of."""
        return self._features.missing(served, ids)

    def features(self, served: ServedTask, ids: Iterable[str]) -> Features:  # (T, F)
        """What likeness to those of the architectures is judged by that `learn_features` knows of."""
        return self._features.remembered(served, ids)

    def _prepared(
        self, task: str, query: CandidateQuery, out: frozenset[str] = frozenset(), may_repeat: bool = False
    ) -> tuple[Choice, Scored]:
        served = self._answering(task)
        seed = secrets.randbelow(2**31) if query.seed is None else query.seed
        constraints = self.bound(served, query.constraints, served.project_id or query.project_id)
        measured = self.measured(served.task_id)
        choice = Choice(served, query, measured, constraints, np.random.default_rng(seed), seed)
        if self._pools.is_enumerable(served.space):
            return choice, choice.scored(*self._unmeasured(choice, out))
        choice = replace(choice, measured=replace(measured, tried=measured.tried | out))
        return choice, choice.scored(*(self._found_before(choice) if may_repeat else self._searched(choice)))

    def measured(self, task_id: int) -> Measured:
        """What was tried of the task, and what came out."""
        with self._database.read() as session:
            revision = repository.revision(session, task_id)
            at, before = self._measured.get(task_id) or (None, None)
            if before is not None and at == revision:
                return before
            measured = repository.measured(session, task_id, before)
        self._measured.put(task_id, (revision, measured))
        return measured

    def _answering(self, task: str) -> ServedTask:
        """The task as it answers now. While its space is scored for a new adaptation, which takes seconds and begins by itself,
        the one before goes on answering; not for ever, should that have failed."""
        served = self._inference.load(task)
        before = self._scored_last.get(served.task_id)
        if before is None or self._pools.has_scored(served) or before.model_version != served.model_version:
            return served
        now = time.monotonic()
        since = self._new_since.get(served.serial)
        if since is None:
            self._new_since.put(served.serial, since := now)
        if now - since > _MOST_SECONDS_BEHIND or not self._pools.has_scored(before):
            return served
        return replace(before, revision=served.revision, champion=served.champion)

    def _unmeasured(self, choice: Choice, out: frozenset[str]) -> Found:
        pool, columns = self._pools.scored(choice.served)
        places = np.flatnonzero(pool.mask_without(out, self._untried(choice.served.task_id, choice.measured, pool)))
        return pool.at(places), columns.at(places)

    def _untried(self, task_id: int, measured: Measured, pool: Pool) -> NDArray[np.bool_]:  # (S,)
        """Kept until something is measured: to look up thousands of architectures takes longer than all the rest."""
        kept = self._masks.get(task_id)
        if kept is None or kept[0] is not measured or kept[1] is not pool:
            kept = (measured, pool, pool.mask_without(measured.tried))
            self._masks.put(task_id, kept)
        return kept[2]

    def _found_before(self, choice: Choice) -> Found:
        """What an earlier search for the same found, less what was tried or is out; a new search where too little is left."""
        key = (choice.served.serial, replace(choice.query, k=0, seed=None, diversity=0.0))
        found, columns = self._standing.get(key) or ([], None)
        places = np.flatnonzero([one.id not in choice.measured.tried for one in found])
        if columns is not None and 2 * len(places) >= len(found):
            return [found[place] for place in places.tolist()], columns.at(places)
        searched_now = self._searched(choice)
        self._standing.put(key, searched_now)
        return searched_now

    def _searched(self, choice: Choice) -> Found:
        served, measured = choice.served, choice.measured
        best_ids = measured.best_ids(served.is_maximized, _NUM_BEST)
        with self._database.read() as session:
            stored = stored_architectures(session, served.space, best_ids)
        return searched(
            served,
            self._inference.forecaster,
            lambda pool, columns: choice.scored(pool, columns).order(),
            [parse_architecture(served.space, {"id": one}, stored) for one in best_ids],
            measured.tried,
            choice.query.num_samples,
            choice.rng,
        )

    def bound(
        self,
        served: ServedTask,
        texts: Sequence[str],
        project_id: int | None,
        load: Callable[[str], ServedTask] | None = None,
    ) -> list[BoundConstraint]:
        """The constraints with where their values come from: tasks that the project knows, as `load` answers them.

        Raises:
            InvalidContentError: if one cannot be read or speaks of an unknown metric.
            NotReadyError: if there is no champion yet.
        """
        constraints = [parse_constraint(text) for text in texts]
        if not constraints:
            return []
        with self._database.read() as session:
            tasks = repository.tasks_of_space(session, served.space.name, project_id)
        stated = _stated_metrics(served)
        found = [find_task(constraint, tasks, served, stated) for constraint in constraints]
        return [
            BoundConstraint(constraint, None, stated_source(constraint.metric))
            if task is None
            else self._bound_to_task(constraint, (load or self._answering)(str(task.id)))
            for constraint, task in zip(constraints, found, strict=True)
        ]

    def _bound_to_task(self, constraint: Constraint, served: ServedTask) -> BoundConstraint:
        def forecast(architectures: Sequence[ParsedArchitecture]) -> ForecastColumns:
            if not self._pools.is_enumerable(served.space):
                return ForecastColumns.of(self._inference.forecaster.forecast(served, architectures))
            pool, columns = self._pools.scored(served)
            return columns.at(np.asarray([pool.places[one.id] for one in architectures], dtype=np.intp))

        source = task_source(self.measured(served.task_id), forecast)
        return BoundConstraint(constraint, served.name, source, served.task_id)


def _stated_metrics(served: ServedTask) -> tuple[str, ...]:
    """Which numbers the space's architectures state themselves, seen on one of them."""
    (example,) = sampled(served.space, 1, seed=0)
    return tuple(name for name in STATED_METRICS if global_attribute(example, name) is not None)
