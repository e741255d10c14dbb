"""The work of a search's job, as far as it goes without waiting. Whoever takes it over goes on from the last commit: the
strategy's state is that of what was proposed and told by then, so that nothing is lost, and nothing evaluated twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sqlalchemy.orm import Session

from app.candidates.service import CandidateService
from app.database import Database
from app.inference import Inference, ParsedArchitecture, Relations, ServedTask
from app.inference.searching import Proposed, SearchedTasks, Searcher, SearchForecaster
from app.jobs.progress import Conclusion, Progress
from app.observations import service as observations
from app.searches import evaluating, repository, service
from app.searches.evaluating import Constraints, Outcome
from app.searches.held import HeldSearch
from app.searches.measuring import NOTHING_LEFT, Measuring, read_architectures
from app.searches.recording import Entry
from app.settings import Settings
from app.tables import SearchRecord, TaskRecord

_COMMIT_SECONDS = 1.0
_COMMIT_SHARE = 10.0  # a commit that takes long comes the more seldom: its state grows with the search
_SLICE_SECONDS = 5.0  # after which others have their turn


class SearchDriver:
    """One for a worker process, whose adaptations and models it keeps warm. Belongs to one thread."""

    def __init__(self, settings: Settings, database: Database, relations: Relations) -> None:
        self._settings = settings
        self._database = database
        self._relations = relations

    @cached_property
    def _tasks(self) -> SearchedTasks:
        return SearchedTasks(Inference(self._settings, self._database), self._database, self._relations)

    @cached_property
    def _candidates(self) -> CandidateService:
        return CandidateService(self._settings, self._database, self._tasks.inference)

    def run(self, payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        """Searches until the budget is spent or nothing is left to try.

        Raises:
            JobSuspendedError: if it has to wait.
            JobStoppedError: if it is to stop.
            InvalidContentError: if the strategy cannot go on.
            NotReadyError: if forecasts are needed and there is no champion yet.
        """
        step = self._step(progress)
        step.held.suspend_while_paused()
        ending = step.measure() if step.search.evaluator == "trials" else step.evaluate()
        return lambda session: conclude(session, step.held.id, ending)

    def _step(self, progress: Progress) -> _Step:
        with self._database.read() as session:
            search = repository.with_state(session, progress.job_id)
            plan, tasks = service.plan_of(session, search)
            seconds = service.seconds_of(session, search)
        is_maximized = plan.objectives[0].direction == "maximize"
        held = HeldSearch(self._database, progress, search, seconds, is_maximized)
        return _Step(
            database=self._database,
            candidates=self._candidates,
            searched=self._tasks,
            search=search,
            tasks=tasks,
            directions=[one.direction for one in plan.objectives],
            held=held,
            searcher=Searcher(plan, search.strategy_state),
        )


@dataclass
class _Step:
    """One search in the hands of this worker."""

    database: Database
    candidates: CandidateService
    searched: SearchedTasks
    search: SearchRecord
    tasks: Sequence[TaskRecord]
    directions: Sequence[str]
    held: HeldSearch
    searcher: Searcher
    looked_up: list[tuple[ParsedArchitecture, Outcome]] = field(default_factory=list)  # what forecasts may know of
    simulated: tuple[int, list[ServedTask]] | None = None  # with how many they know

    @cached_property
    def constraints(self) -> Constraints:
        """With tasks that are no objectives as they are forecast when the step begins."""
        ids = [task.id for task in self.tasks]
        if not self.search.constraints:
            return Constraints([], ids)
        served = self.searched.fresh(str(ids[0]))
        bound = self.candidates.bound(served, self.search.constraints, self.search.project_id, self.searched.fresh)
        return Constraints(bound, ids)

    def forecaster(self) -> SearchForecaster | None:
        """What the strategy may ask: the tasks as they are forecast now, or as if only this search had measured them."""
        if self.search.mode == "measured":
            return None
        served = self._simulated() if self.search.evaluator == "table" else self._served()
        by_id = {one.task_id: one for one in served}
        memory = self.searched.inference.forecaster
        return self.searched.forecaster(
            served, self.directions, lambda asked: self.constraints.feasibility(memory, by_id, asked)
        )

    def measure(self) -> str:
        """Searches with trials; why it ends."""
        return Measuring(
            self.database, self.search, self.tasks, self.held, self.searcher, self.constraints, self.forecaster
        ).run(self.candidates)

    def evaluate(self) -> str:
        """Searches with values that are there at once; why it ends."""
        if self.search.evaluator == "table":
            self.looked_up = self._looked_up_before()
        waiting: list[Entry] = []
        pace = _Pace()
        while (ending := self._ending(len(waiting))) is None:
            self.held.check()
            new = self._evaluated(len(waiting))
            if not new:
                ending = NOTHING_LEFT
                break
            waiting += new
            if pace.is_due:
                with pace.measured():
                    self._commit(waiting)
                waiting = []
                self.held.suspend_while_paused()
                if pace.is_over:
                    self.held.let_others()
        self._commit(waiting)
        return ending

    def _ending(self, num_waiting: int) -> str | None:
        return self.held.budget.ending(self.held.num_evaluated + num_waiting, self.held.seconds)

    def _evaluated(self, num_waiting: int) -> list[Entry]:
        """What the strategy proposes now, with its values, which it has heard of."""
        number = self.held.num_proposed + num_waiting
        count = min(self.search.parallel, self.held.budget.left(number))
        proposals = self.searcher.ask(count, self.forecaster())
        outcomes = self._judged(proposals, self._outcomes(proposals))
        parsed = [one.architecture for one in proposals]
        for proposed, outcome in zip(proposals, outcomes, strict=True):
            self.searcher.tell(outcome.told(proposed))
        if self.search.evaluator == "table":
            self.looked_up += zip(parsed, outcomes, strict=True)
        return [
            Entry(number + place, proposed, outcome)
            for place, (proposed, outcome) in enumerate(zip(proposals, outcomes, strict=True), start=1)
        ]

    def _outcomes(self, proposals: Sequence[Proposed]) -> list[Outcome]:
        if self.search.evaluator == "forecast":
            return evaluating.forecast_outcomes(self.searched.inference.forecaster, self._served(), proposals)
        with self.database.read() as session:
            return evaluating.looked_up(session, self.tasks, proposals)

    def _judged(self, proposals: Sequence[Proposed], outcomes: Sequence[Outcome]) -> list[Outcome]:
        parsed, values = [one.architecture for one in proposals], [one.values for one in outcomes]
        violations = self.constraints.violations(parsed, values)
        return [replace(one, violation=by) for one, by in zip(outcomes, violations, strict=True)]

    def _commit(self, entries: Sequence[Entry]) -> None:
        stage = f"evaluating, {self.held.num_evaluated + len(entries)} done"
        kept = [one.proposed.architecture for one in entries]
        space = self.search.search_space
        self.held.commit(
            entries, self.searcher.state(), stage, lambda session: observations.keep_architectures(session, space, kept)
        )

    def _served(self) -> list[ServedTask]:
        """The tasks with adaptations that know every observation."""
        return [self.searched.fresh(str(task.id)) for task in self.tasks]

    def _simulated(self) -> list[ServedTask]:
        known = [(one, it.values) for one, it in self.looked_up if it.values is not None and it.fidelity == 1.0]
        if self.simulated is None or self.simulated[0] != len(known):
            is_alone = len(self.tasks) == 1  # else the tables of the other objectives would tell too much
            served = [
                self.searched.simulated(
                    str(task.id), [(one, values[place]) for one, values in known], hears_others=is_alone
                )
                for place, task in enumerate(self.tasks)
            ]
            self.simulated = (len(known), served)
        return self.simulated[1]

    def _looked_up_before(self) -> list[tuple[ParsedArchitecture, Outcome]]:
        with self.database.read() as session:
            records = repository.evaluated(session, self.search.id)
            parsed = read_architectures(session, self.searcher.space, [one.architecture_id for one in records])
        return [
            (parsed[one.architecture_id], Outcome(tuple(one.values or ()), one.fidelity or 1.0, "table"))
            for one in records
        ]


class _Pace:
    """When to commit, and when to let others have their turn. A commit that takes long comes the more seldom: the state that
    it writes grows with the search."""

    def __init__(self) -> None:
        self._began = self._committed = time.monotonic()
        self._pause = 0.0  # the first at once, so that users see that it has begun

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._committed >= self._pause

    @property
    def is_over(self) -> bool:
        return time.monotonic() - self._began > _SLICE_SECONDS

    @contextmanager
    def measured(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._committed = time.monotonic()
        self._pause = max(_COMMIT_SECONDS, _COMMIT_SHARE * (self._committed - began))


def conclude(session: Session, search_id: int, ending: str) -> dict[str, Any]:
    """Notes why the search is done; what came out, for the job."""
    search = repository.refreshed(session, search_id)
    service.count_time(session, search)
    search.counted_since, search.ending, search.is_paused = None, ending, False
    service.withdraw_trials(session, search_id, "its search has ended")
    result = {
        "search_id": search_id,
        "ending": ending,
        "num_evaluated": search.num_evaluated,
        "num_failed": search.num_failed,
    }
    if search.best_id is None:
        return {**result, "best_architecture_id": None, "best_genotype": None, "best_value": None}
    best = repository.evaluation(session, search.best_id)
    return {
        **result,
        "best_architecture_id": best[0].architecture_id,
        "best_genotype": best.genotype,
        "best_value": best[0].value,
    }
