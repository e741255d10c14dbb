"""Who gets which architecture to measure: what a worker has already, then what waits, then new ones.

Scoring takes place outside any transaction. What is out is looked at again in the transaction that adds trials, under the
task's lock: so two workers are never given the same architecture, or near-identical ones, however many ask at once.

Each step is committed at once, since scoring lies between them. A worker that asks again after any of them has what it was
given by then, so that nothing is handed out twice (decision 0019).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from app import clock
from app.candidates.choosing import CandidateQuery, Shortlist
from app.candidates.service import CandidateService
from app.database import Database
from app.errors import NotReadyError, RetryableError
from app.inference import Inference, ServedTask, parse_architecture, stored_architectures
from app.observations import service as observations
from app.settings import Settings
from app.tables import DEFAULT_PROJECT_ID, TrialRecord
from app.tasks import service as tasks
from app.trials import leases, repository, service
from app.trials.schemas import LeasedTrial, Source, SuggestedOut, SuggestIn

_SHORT, _LONG = 64, 1_024  # architectures
_FOR_EACH = 10
_MAX_ROUNDS = 50


@dataclass(frozen=True)
class Granted:
    """A trial that the worker has now."""

    trial_id: int
    architecture_id: str
    token: str
    source: Source


@dataclass
class _Round:
    """What is known while new architectures are looked for."""

    out: frozenset[str]  # architectures of open trials, as last seen
    size: int  # of the shortlist
    may_repeat: bool  # what an earlier search found will do
    shortlist: Shortlist | None = None
    granted: list[Granted] = field(default_factory=list)


class SuggestionService:
    """One for an application. May be called from any thread."""

    def __init__(
        self, settings: Settings, database: Database, inference: Inference, candidates: CandidateService
    ) -> None:
        self._settings = settings
        self._database = database
        self._inference = inference
        self._candidates = candidates

    def suggest(self, task_name: str, body: SuggestIn) -> SuggestedOut:
        """What the worker is to measure now.

        Raises:
            NotFoundError: if there is no such task.
            InvalidContentError: if a constraint cannot be read or speaks of an unknown metric.
            NotReadyError: if nothing waits and there is no champion yet.
            RetryableError: if others kept being faster.
        """
        granted = self._claimed(task_name, body)
        seed = None
        if len(granted) < body.count and not body.only_requested:
            seed = secrets.randbelow(2**31) if body.seed is None else body.seed
            try:
                granted += self._new(task_name, body, body.count - len(granted), seed)
            except NotReadyError:
                if not granted:
                    raise
        self._note_forecasts(task_name, [one for one in granted if one.source == "pool"])
        is_any_new = any(one.source == "new" for one in granted)
        return self._shown(task_name, body, granted, seed if is_any_new else None)

    def _claimed(self, task_name: str, body: SuggestIn) -> list[Granted]:
        """What the worker has, with its leases renewed, and the oldest of the pool; leases that ran out are in it by then."""
        with self._database.write(commits_at_once=True) as session:
            task = tasks.find(session, task_name)
            now = clock.now(session)
            leases.end_run_out(session, task, self._settings, now)
            own = repository.held_by(session, task.id, body.worker_id, body.count)
            session.flush()  # what ran out just now waits too
            pool = repository.waiting(session, task.id, body.count - len(own))
            found: list[tuple[TrialRecord, Source, str]] = [
                *((trial, "yours", "its worker asked again") for trial in own),
                *((trial, "pool", "taken from the pool") for trial in pool),
            ]
            return [self._granted(session, *one, body) for one in found]

    def _granted(self, session: Session, trial: TrialRecord, source: Source, cause: str, body: SuggestIn) -> Granted:
        now = clock.now(session)
        token = leases.hand_out(session, trial, body.worker_id, body.lease_seconds, cause, now)
        return Granted(trial.id, trial.architecture_id, token, source)

    def _new(self, task_name: str, body: SuggestIn, count: int, seed: int) -> list[Granted]:
        """New trials: the best architectures that are neither tried nor out, nor near-identical to what is out."""
        served = self._inference.load(task_name)
        with self._database.read() as session:
            out = repository.open_ids(session, served.task_id)
        looking = _Round(out, min(_LONG, max(_SHORT, _FOR_EACH * (count + len(out)))), may_repeat=body.seed is None)
        for _ in range(_MAX_ROUNDS):
            if looking.shortlist is None:
                query = CandidateQuery(
                    count,
                    body.acquisition,
                    body.kappa,
                    body.diversity,
                    tuple(body.constraints),
                    body.pool,
                    seed,
                    DEFAULT_PROJECT_ID,
                )
                looking.shortlist = self._candidates.shortlist(
                    task_name, query, looking.out, looking.size, may_repeat=looking.may_repeat
                )
            self._candidates.learn_features(looking.shortlist.served, looking.out)
            if self._is_added(looking, looking.shortlist, body, count):
                return looking.granted
        raise RetryableError(f"expected to be the first to suggest something, got outrun {_MAX_ROUNDS} times")

    def _is_added(self, looking: _Round, shortlist: Shortlist, body: SuggestIn, count: int) -> bool:
        """Whether trials were added; if not, something is out that was not known of, or the shortlist was too short."""
        served = shortlist.served
        with self._database.write(commits_at_once=True) as session:
            repository.lock_task(session, served.task_id)
            looking.out = out = repository.open_ids(session, served.task_id)
            if self._candidates.unknown_features(served, out):
                return False
            tried = repository.tried(session, served.task_id, [one.id for one in shortlist.members])
            places = shortlist.chosen(count, out | tried, self._candidates.features(served, out))
            is_more_to_find = looking.may_repeat or (not shortlist.is_whole and looking.size < _LONG)
            if len(places) < count and is_more_to_find:
                looking.size, looking.shortlist, looking.may_repeat = _LONG, None, False
                return False
            looking.granted = self._added(session, shortlist, places, body)
            return True

    def _added(self, session: Session, shortlist: Shortlist, places: Sequence[int], body: SuggestIn) -> list[Granted]:
        served, columns = shortlist.served, shortlist.columns
        task = tasks.find(session, str(served.task_id))
        members = {shortlist.members[place].id: place for place in places}
        observations.keep_architectures(session, task.search_space, [shortlist.members[place] for place in places])
        now = clock.now(session)
        cause = f"suggested by {body.acquisition}"
        rows = [
            {
                **service.new_row(task, one, cause, now),
                **_forecast_row(served, float(columns.mean[place]), float(columns.std[place])),
            }
            for one, place in members.items()
        ]
        added = {trial.architecture_id: trial for trial in repository.add_new(session, rows)}
        for trial in added.values():
            leases.created(session, trial, cause, now)
        return [self._granted(session, added[one], "new", "handed out", body) for one in members if one in added]

    def _note_forecasts(self, task_name: str, granted: Sequence[Granted]) -> None:
        """Keeps what is expected of trials that somebody else asked for; without a champion nothing is."""
        if not granted:
            return
        try:
            served = self._inference.load(task_name)
        except NotReadyError:
            return
        ids = [one.architecture_id for one in granted]
        with self._database.read() as session:
            stored = stored_architectures(session, served.space, ids)
        parsed = [parse_architecture(served.space, {"id": one}, stored) for one in ids]
        forecasts = self._inference.forecaster.forecast(served, parsed)
        rows = [_forecast_row(served, forecast.mean, forecast.std) for forecast in forecasts]
        with self._database.write(commits_at_once=True) as session:
            repository.note_forecasts(session, [one.trial_id for one in granted], rows)

    def _shown(self, task_name: str, body: SuggestIn, granted: Sequence[Granted], seed: int | None) -> SuggestedOut:
        with self._database.read() as session:
            task = tasks.find(session, task_name)
            rows = repository.shown_by_ids(session, [one.trial_id for one in granted])
            shown = [
                LeasedTrial(
                    **service.members(rows[one.trial_id]),
                    lease_token=one.token,
                    lease_seconds=body.lease_seconds,
                    source=one.source,
                )
                for one in granted
            ]
        return SuggestedOut(task=task.name, worker_id=body.worker_id, seed=seed, trials=shown)


def _forecast_row(served: ServedTask, mean: float, std: float) -> dict[str, Any]:
    return {"forecast_mean": mean, "forecast_std": std, "model_version_id": served.model_version}
