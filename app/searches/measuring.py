"""A search whose proposals become trials. It holds no worker while they are out: whoever ends one wakes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from app.candidates.service import CandidateService
from app.database import Database
from app.errors import InternalError, InvalidContentError
from app.inference import ParsedArchitecture, notations, parse_architecture, stored_architectures
from app.inference.searching import Known, Proposed, Searcher, SearchForecaster
from app.observations import service as observations
from app.searches import evaluating, repository
from app.searches.evaluating import Constraints, MeasuredValue, Outcome
from app.searches.held import HeldSearch
from app.searches.recording import Entry
from app.tables import SearchEvaluationRecord, SearchRecord, TaskRecord, TrialRecord
from app.trials import repository as trial_repository
from app.trials import service as trials
from app.trials.states import NEXT, state_of

NOTHING_LEFT = "nothing is left to try"
_LOOK_SECONDS = 300.0  # after which a waiting search looks by itself: observations may come without their trials
_SOON_SECONDS = 0.1
_MAX_KNOWN = 1_000  # architectures that a strategy hears of before it begins

ByTask = Mapping[int, TrialRecord]


class Measuring:
    """One search in the hands of a worker. Belongs to one thread."""

    def __init__(
        self,
        database: Database,
        search: SearchRecord,
        tasks: Sequence[TaskRecord],
        held: HeldSearch,
        searcher: Searcher,
        constraints: Constraints,
        forecaster: Callable[[], SearchForecaster | None],
    ) -> None:
        self._database, self._search, self._tasks, self._held = database, search, tasks, held
        self._searcher, self._constraints, self._forecaster = searcher, constraints, forecaster

    def run(self, candidates: CandidateService) -> str:
        """Tells, asks and waits until the search ends; why it does.

        Raises:
            JobSuspendedError: if it has to wait.
            JobStoppedError: if it is to stop.
        """
        if self._search.strategy_state is None:
            self._searcher.tell(self._known_before(candidates))
        while True:
            self._held.check()
            ended, again, num_open = self._heard()
            ending = self._held.budget.ending(self._held.num_evaluated + len(ended), self._held.seconds)
            proposed = [] if ending else self._proposed(num_open)
            if ended or again or proposed or self._search.strategy_state is None:
                num_new = sum(one.outcome is None for one in proposed)
                self._commit([*ended, *proposed], again, num_open + num_new)
            if ending:
                return ending
            self._held.suspend_while_paused()
            if not num_open and not proposed:
                return NOTHING_LEFT
            if not (ended or again or proposed):
                self._wait(num_open)

    def _known_before(self, candidates: CandidateService) -> list[Known]:
        """What the tasks have observed already, the best by the first objective first: it costs nothing to know."""
        measured = [candidates.measured(task.id) for task in self._tasks]
        is_maximized = self._tasks[0].direction == "maximize"
        ids = measured[0].best_ids(is_maximized, len(measured[0].values))
        shared = [one for one in ids if all(one in each.values for each in measured)][:_MAX_KNOWN]
        failed = [one for one in measured[0].tried if one not in measured[0].values][: _MAX_KNOWN - len(shared)]
        with self._database.read() as session:
            parsed = read_architectures(session, self._searcher.space, [*shared, *failed])
        values = [tuple(each.values[one] for each in measured) for one in shared]
        violations = self._constraints.violations([parsed[one] for one in shared], values)
        known = [Known(parsed[o], v, violation=by) for o, v, by in zip(shared, values, violations, strict=True)]
        return known + [Known(parsed[one], None) for one in failed]

    def _heard(self) -> tuple[list[Entry], list[Entry], int]:
        """The evaluations whose outcome is known now, which the strategy is told; those that have to be asked for again, since
        their trial was at somebody else's lower fidelity; and how many are still open."""
        with self._database.read() as session:
            records = repository.open_evaluations(session, self._search.id)
            found = repository.trials(session, [one.id for one in records])
            outcomes = {one.id: self._outcome(session, one, found.get(one.id, {})) for one in records}
            parsed = read_architectures(session, self._searcher.space, [one.architecture_id for one in records])
        entries = [
            Entry(
                one.number,
                Proposed(parsed[one.architecture_id], one.asked_fidelity, one.origin),
                outcomes[one.id],
                one.id,
            )
            for one in records
        ]
        ended = [one for one in entries if one.outcome is not None]
        again = [one for one in entries if one.outcome is None and self._is_due_again(one, found.get(one.id or 0, {}))]
        self._judge_and_tell(ended)
        return ended, again, len(entries) - len(ended)

    def _is_due_again(self, entry: Entry, trials_of: ByTask) -> bool:
        found = [(task, trials_of[task.id]) for task in self._tasks if task.id in trials_of]
        return any(_has_ended(one) and self._is_of_another(task, one, entry.proposed.fidelity) for task, one in found)

    def _is_of_another(self, task: TaskRecord, trial: TrialRecord, share: float) -> bool:
        """Whether the trial was asked for at a lower fidelity than this search wants."""
        wanted = evaluating.fidelity_of(task, share)
        return trial.fidelity is not None and (wanted is None or trial.fidelity < wanted)

    def _judge_and_tell(self, entries: Sequence[Entry]) -> None:
        parsed = [one.proposed.architecture for one in entries]
        values = [None if one.outcome is None else one.outcome.values for one in entries]
        for entry, violation in zip(entries, self._constraints.violations(parsed, values), strict=True):
            if entry.outcome is not None:
                entry.outcome = replace(entry.outcome, violation=violation)
        self._searcher.tell([told for one in entries if one.outcome for told in one.outcome.told(one.proposed)])

    def _outcome(self, session: Session, record: SearchEvaluationRecord, trials_of: ByTask) -> Outcome | None:
        """What came of an evaluation; None if that is not known yet."""
        found: list[MeasuredValue | None] = []
        for task in self._tasks:
            trial = trials_of.get(task.id)
            value = evaluating.measured_value(session, task, record.architecture_id, record.asked_fidelity)
            is_enough = value is not None and value.share >= record.asked_fidelity
            if trial is not None and not is_enough:
                is_of_another = trial.state == "completed" and self._is_of_another(task, trial, record.asked_fidelity)
                if is_of_another or not _has_ended(trial):
                    return None
            if value is None:
                return Outcome(None, record.asked_fidelity, "trial", _reason(trial))
            found.append(value)
        return evaluating.joined(found, record.asked_fidelity, "trial")

    def _proposed(self, num_open: int) -> list[Entry]:
        """New proposals, as many as there is room for; those whose values are known already are told at once."""
        count = min(self._search.parallel - num_open, self._held.budget.left(self._held.num_proposed))
        if count <= 0:
            return []
        proposals = self._searcher.ask(count, self._forecaster())
        with self._database.read() as session:
            outcomes = [self._known_already(session, one) for one in proposals]
        first = self._held.num_proposed + 1
        entries = [
            Entry(number, one, outcome)
            for number, (one, outcome) in enumerate(zip(proposals, outcomes, strict=True), start=first)
        ]
        self._judge_and_tell([one for one in entries if one.outcome is not None])
        return entries

    def _known_already(self, session: Session, proposed: Proposed) -> Outcome | None:
        found = [
            evaluating.measured_value(session, task, proposed.architecture.id, proposed.fidelity)
            for task in self._tasks
        ]
        is_known = all(one is not None and one.share >= proposed.fidelity for one in found)
        return evaluating.joined(found, proposed.fidelity, "known") if is_known else None

    def _commit(self, entries: Sequence[Entry], again: Sequence[Entry], num_open: int) -> None:
        asked = [*again, *(one for one in entries if one.id is None and one.outcome is None)]
        links: list[tuple[Entry, int, int, bool]] = []

        def prepare(session: Session) -> None:
            # Tasks, architectures, then the job: the order in which whoever ends a trial locks them.
            for task_id in sorted(task.id for task in self._tasks):
                trial_repository.lock_task(session, task_id)
            kept = [one.proposed.architecture for one in entries if one.id is None]
            observations.keep_architectures(session, self._search.search_space, kept)
            links.extend(self._requested(session, asked))

        def link(session: Session) -> None:
            repository.forget_trials(session, [one.id for one in again if one.id is not None])
            repository.add_trials(
                session,
                [
                    {
                        "evaluation_id": entry.id,
                        "task_id": task_id,
                        "trial_id": trial_id,
                        "search_id": self._search.id,
                        "is_own": is_own,
                    }
                    for entry, task_id, trial_id, is_own in links
                ],
            )

        state = self._searcher.state()
        self._held.commit(entries, state, _stage(num_open), prepare, link, tells_proposals=True)
        self._search.strategy_state = state

    def _requested(self, session: Session, asked: Sequence[Entry]) -> list[tuple[Entry, int, int, bool]]:
        """Trials for all that is to be measured: entry, task, trial, and whether nobody had asked for it before."""
        links = []
        for task in sorted(self._tasks, key=lambda one: one.id):
            wanted: dict[float | None, list[Entry]] = defaultdict(list)
            for entry in asked:
                share, id_ = entry.proposed.fidelity, entry.proposed.architecture.id
                value = evaluating.measured_value(session, task, id_, share)
                if value is None or value.share < share:
                    wanted[_fidelity(task, share)].append(entry)
            for fidelity, entries in wanted.items():
                parsed = [one.proposed.architecture for one in entries]
                made = trials.request(session, str(task.id), parsed, fidelity).trials
                links += [(one, task.id, it.trial_id, it.is_new) for one, it in zip(entries, made, strict=True)]
        return links

    def _wait(self, num_open: int) -> None:
        """Puts the search aside until a trial ends, unless one has just ended; to the end of its time at most."""
        seconds = _LOOK_SECONDS
        if self._held.budget.seconds is not None:
            seconds = min(seconds, max(_SOON_SECONDS, self._held.budget.seconds - self._held.seconds))

        def is_idle(session: Session, _search: SearchRecord) -> bool:
            records = repository.open_evaluations(session, self._search.id)
            found = repository.trials(session, [one.id for one in records])
            return not any(self._outcome(session, one, found.get(one.id, {})) is not None for one in records)

        self._held.suspend_if(is_idle, seconds, _stage(num_open))


def read_architectures(
    session: Session, space: notations.SearchSpace, ids: Sequence[str]
) -> dict[str, ParsedArchitecture]:
    """Stored architectures by their ids.

    Raises:
        InternalError: if one is not stored.
    """
    stored = stored_architectures(session, space, ids)
    missing = sorted(set(ids) - set(stored))
    if missing:
        raise InternalError(f"expected every architecture of a search to be stored, got none of {missing[0]}")
    return {one: parse_architecture(space, {"id": one}, stored) for one in stored}


def _has_ended(trial: TrialRecord) -> bool:
    return not NEXT[state_of(trial.state)]


def _fidelity(task: TaskRecord, share: float) -> float | None:
    fidelity = evaluating.fidelity_of(task, share)
    if fidelity is None and share < 1.0:
        raise InvalidContentError(
            f"expected tasks with a max_fidelity, since the strategy asks for {share:.3g} of the final one, "
            f"got {task.name!r} without"
        )
    return fidelity


def _reason(trial: TrialRecord | None) -> str:
    return "it has no value any more" if trial is None else f"trial {trial.id} is {trial.state}: {trial.reason}"


def _stage(num_open: int) -> str:
    return f"waiting, for {num_open} trial{'' if num_open == 1 else 's'}" if num_open else "evaluating"
