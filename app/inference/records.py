"""The SQL of inference: support sets, model versions and adaptations. Called inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session, aliased, undefer
from sqlalchemy.sql.elements import ColumnElement

from app import clock
from app.database import insert_if_new
from app.errors import NotFoundError
from app.inference.notations import restored_architecture, search_space
from app.tables import (
    DEFAULT_PROJECT_ID,
    AdaptationRecord,
    AliasRecord,
    ArchitectureRecord,
    ModelVersionRecord,
    NotationRecord,
    ObservationRecord,
    PinRecord,
    PredictionRecord,
    ProjectRecord,
    SearchSpaceRecord,
    TaskRecord,
    TrialRecord,
)
from predictor import (
    MAX_RELATED,
    MIN_OBSERVATIONS,
    Architecture,
    MeasuredTask,
    Metric,
    Observation,
    SearchSpace,
    SupportSet,
    Task,
    lower_fidelities,
)

CHAMPION = "champion"
MIN_RELATED = MIN_OBSERVATIONS
"""How many architectures a fidelity or a sibling must have measured before an adaptation listens to it."""
_MAX_PARAMETERS = 10_000
_MAX_ID_DIGITS = 18


@dataclass(frozen=True)
class TaskContext:
    """A task as the predictor knows it, with its place in the database."""

    id: int
    name: str
    revision: int
    max_fidelity: float | None
    task: Task
    space: SearchSpace
    project_id: int | None = None  # None: it belongs to all


@dataclass(frozen=True)
class SupportRead:
    """A task's support set, and the newest observation that was there when it was read."""

    support: SupportSet
    last_observation_id: int
    lower_fidelities: Sequence[MeasuredTask] = ()


@dataclass(frozen=True)
class TaskState:
    """What polling sees of a task: how often its observations changed and which adaptation is its newest."""

    task_id: int
    name: str
    revision: int
    version: str | None  # that its adaptations start from
    adaptation: tuple[object, ...] | None  # equal as long as the adaptation is the same


def task_context(session: Session, reference: str) -> TaskContext:
    """The task of that id or, if it is no number, of that name: the default project's, or else one that belongs to nobody.

    Raises:
        NotFoundError: if there is none.
    """
    query = select(TaskRecord, SearchSpaceRecord.definition).join(
        SearchSpaceRecord, SearchSpaceRecord.name == TaskRecord.search_space
    )
    query = query.where(_refers(reference)).order_by(TaskRecord.project_id.is_(None)).limit(1)
    row = session.execute(query).one_or_none() if _is_reference(reference) else None
    if row is None:
        raise NotFoundError(f"expected the name or the id of a task, got {reference[:200]!r}")
    record, definition = row
    space = search_space(record.search_space, definition)
    task = Task(
        record.search_space, record.dataset, Metric(record.metric, record.unit, record.direction), record.device
    )
    return TaskContext(record.id, record.name, record.revision, record.max_fidelity, task, space, record.project_id)


def _is_reference(reference: str) -> bool:
    return len(reference) <= _MAX_ID_DIGITS if is_task_id(reference) else "\0" not in reference


def _refers(reference: str) -> ColumnElement[bool]:
    if is_task_id(reference):
        return TaskRecord.id == int(reference)
    return and_(TaskRecord.name == reference, known_to(DEFAULT_PROJECT_ID))


def known_to(project_id: int | None) -> ColumnElement[bool]:
    """The tasks that forecasts of a project's tasks may rest on: its own, and those that belong to nobody. What belongs to
    nobody (None) rests on nothing else."""
    if project_id is None:
        return TaskRecord.project_id.is_(None)
    return or_(TaskRecord.project_id == project_id, TaskRecord.project_id.is_(None))


def is_task_id(reference: str) -> bool:
    """Whether the text is read as a number rather than as a name."""
    return reference.isascii() and reference.isdecimal()


def stored_architectures(session: Session, space: SearchSpace, ids: Iterable[str]) -> dict[str, Architecture]:
    """The stored architectures among `ids`, as this space builds them."""
    found: dict[str, Architecture] = {}
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), _MAX_PARAMETERS):
        rows = session.execute(_stored(space.name, wanted[start : start + _MAX_PARAMETERS]))
        found.update({row.id: restored_architecture(space, row.graph, row.genotype) for row in rows})
    return found


def referred_architectures(
    session: Session, space: SearchSpace, ids: Iterable[str], project_id: int | None
) -> dict[str, Architecture]:
    """The same for ids that a request names: a caller of a project finds what was observed, or is to be measured, in tasks
    that it sees. None: all."""
    wanted = set(ids)
    if project_id is not None and wanted:
        wanted = _known_to(session, wanted, project_id)
    return stored_architectures(session, space, wanted)


def _known_to(session: Session, ids: Iterable[str], project_id: int) -> set[str]:
    found: set[str] = set()
    wanted = sorted(ids)
    for start in range(0, len(wanted), _MAX_PARAMETERS):
        chunk = wanted[start : start + _MAX_PARAMETERS]
        for table in (ObservationRecord, TrialRecord):
            seen = select(table.architecture_id).join(TaskRecord, TaskRecord.id == table.task_id)
            found.update(session.scalars(seen.where(table.architecture_id.in_(chunk), known_to(project_id)).distinct()))
    return found


def _stored(space: str, ids: Sequence[str]) -> Select[Any]:
    return (
        select(ArchitectureRecord.id, ArchitectureRecord.graph, NotationRecord.genotype)
        .outerjoin(
            NotationRecord,
            and_(NotationRecord.architecture_id == ArchitectureRecord.id, NotationRecord.search_space == space),
        )
        .where(ArchitectureRecord.id.in_(ids))
    )


def read_support(session: Session, context: TaskContext) -> SupportRead:
    """What the task's surrogate adapts on now."""
    history = read_history(session, context)
    newest = select(func.max(ObservationRecord.id)).where(ObservationRecord.task_id == context.id)
    observed = history.current()
    lower = lower_fidelities(context.task, context.space, observed)
    return SupportRead(SupportSet.of(observed), session.scalar(newest) or 0, lower)


@dataclass(frozen=True)
class History:
    """All values that were ever observed of a task, corrected and retracted ones included."""

    context: TaskContext
    rows: Sequence[Any]  # id, architecture_id, value, std_error, seed, fidelity, superseded_by_id
    architectures: dict[str, Architecture]

    def current(self) -> list[Observation]:
        """What counts now, lower fidelities included."""
        return self._observations([row for row in self.rows if row.superseded_by_id is None])

    def support_at(self, last_observation_id: int) -> SupportSet:
        """What was known when the observation of that id was the newest."""
        known = [
            row
            for row in self.rows
            if row.id <= last_observation_id
            and (row.superseded_by_id is None or row.superseded_by_id > last_observation_id)
        ]
        return SupportSet.of(self._observations(known))

    def _observations(self, rows: Sequence[Any]) -> list[Observation]:
        final = self.context.max_fidelity or max((row.fidelity for row in rows if row.fidelity), default=1.0)
        return [
            Observation(
                self.architectures[one.architecture_id],
                one.value,
                one.seed,
                _fraction(one.fidelity, final),
                one.std_error,
            )
            for one in rows
        ]


def read_history(session: Session, context: TaskContext, newest: int | None = None) -> History:
    """All values of the task with their architectures, or only the newest ones."""
    own = ObservationRecord
    query = (
        select(own.id, own.architecture_id, own.value, own.std_error, own.seed, own.fidelity, own.superseded_by_id)
        .where(own.task_id == context.id, own.status == "ok")
        .order_by(own.id.desc())
        .limit(newest)
    )
    rows = list(reversed(session.execute(query).all()))
    return History(context, rows, stored_architectures(session, context.space, (row.architecture_id for row in rows)))


def _fraction(fidelity: float | None, final: float) -> float:
    return 1.0 if fidelity is None else min(1.0, fidelity / final)


@dataclass(frozen=True)
class JudgedPrediction:
    """A logged prediction whose architecture was measured afterwards."""

    task_id: int
    architecture_id: str
    last_observation_id: int
    value: float


def judged_predictions(
    session: Session, limit: int, newest: int, task_ids: Sequence[int] | None = None
) -> list[JudgedPrediction]:
    """The newest predictions that were logged before their final observation came, each pair of a task once; of observations
    up to the one of the id `newest`, and of these tasks, or of all that fine-tuning may learn from."""
    logged, own = PredictionRecord, ObservationRecord
    query = (
        select(
            logged.task_id, logged.architecture_id, logged.last_observation_id, func.avg(own.value), func.max(logged.id)
        )
        .join(own, and_(own.task_id == logged.task_id, own.architecture_id == logged.architecture_id))
        .join(TaskRecord, TaskRecord.id == logged.task_id)
        .outerjoin(ProjectRecord, ProjectRecord.id == TaskRecord.project_id)
        .where(
            _is_learned_from() if task_ids is None else logged.task_id.in_(task_ids),
            own.status == "ok",
            or_(own.superseded_by_id.is_(None), own.superseded_by_id > newest),
            own.id > logged.last_observation_id,
            own.id <= newest,
            own.created_at > logged.created_at,
            or_(own.fidelity.is_(None), own.fidelity >= _final_fidelity()),
        )
        .group_by(logged.task_id, logged.architecture_id, logged.last_observation_id)
        .order_by(func.max(logged.id).desc())
        .limit(limit)
    )
    return [JudgedPrediction(*row[:4]) for row in session.execute(query)]


def _final_fidelity() -> ColumnElement[float]:
    """The fidelity that counts as final in the task of the enclosing query."""
    other = aliased(ObservationRecord)
    largest = select(func.max(other.fidelity)).where(
        other.task_id == TaskRecord.id, other.status == "ok", other.superseded_by_id.is_(None)
    )
    return func.coalesce(TaskRecord.max_fidelity, largest.correlate(TaskRecord).scalar_subquery())


def observed_task_ids(session: Session) -> list[int]:
    """The tasks that have observations, those that were observed last first."""
    newest = select(func.max(ObservationRecord.id)).where(ObservationRecord.task_id == TaskRecord.id)
    query = select(TaskRecord.id).where(TaskRecord.num_observations > 0)
    return list(session.scalars(query.order_by(newest.correlate(TaskRecord).scalar_subquery().desc())))


def learned_task_ids(session: Session) -> list[int]:
    """Those of them that fine-tuning may learn from: all but the tasks of projects that keep theirs to themselves."""
    wanted = set(session.scalars(select(TaskRecord.id).outerjoin(ProjectRecord).where(_is_learned_from())))
    return [task_id for task_id in observed_task_ids(session) if task_id in wanted]


def _is_learned_from() -> ColumnElement[bool]:
    return or_(TaskRecord.project_id.is_(None), ProjectRecord.is_learned_from)


def task_ids_to_adapt(session: Session) -> list[int]:
    """The tasks that a new champion is adapted to, pinned ones left out: the observed ones as in `observed_task_ids`, then
    those that have an adaptation without observations, from what related tasks say."""
    has_adaptation = select(AdaptationRecord.id).where(AdaptationRecord.task_id == TaskRecord.id).exists()
    query = select(TaskRecord.id).where(TaskRecord.num_observations == 0, has_adaptation).order_by(TaskRecord.id)
    pinned = pinned_versions(session)
    return [one for one in (*observed_task_ids(session), *session.scalars(query)) if one not in pinned]


def observed_siblings(session: Session, context: TaskContext) -> tuple[tuple[int, int], ...]:
    """Ids and revisions of other tasks of the same search space with enough observations, none of them of another project:
    those of the same metric first, then the most observed ones."""
    query = (
        select(TaskRecord.id, TaskRecord.revision)
        .where(
            TaskRecord.search_space == context.task.search_space,
            TaskRecord.id != context.id,
            TaskRecord.num_observations >= MIN_OBSERVATIONS,
            known_to(context.project_id),
        )
        .order_by(
            (TaskRecord.metric == context.task.metric.name).desc(), TaskRecord.num_observations.desc(), TaskRecord.id
        )
        .limit(2 * MAX_RELATED)  # some measure cost, others quality
    )
    return tuple((task_id, revision) for task_id, revision in session.execute(query))


def champion_id(session: Session) -> str | None:
    """The model version that `champion` means now."""
    return session.scalar(select(AliasRecord.model_version_id).where(AliasRecord.name == CHAMPION))


def pinned_version(session: Session, task_id: int) -> str | None:
    """The model version that the task is pinned to."""
    query = select(PinRecord.model_version_id).where(PinRecord.task_id == task_id)
    return session.scalar(query.order_by(PinRecord.id.desc()).limit(1))


def pinned_versions(session: Session) -> dict[int, str]:
    """The tasks that are pinned, and to which version."""
    newest = select(func.max(PinRecord.id)).group_by(PinRecord.task_id)
    query = select(PinRecord.task_id, PinRecord.model_version_id).where(
        PinRecord.id.in_(newest), PinRecord.model_version_id.is_not(None)
    )
    return {task_id: version for task_id, version in session.execute(query) if version is not None}


def effective_version(session: Session, task_id: int) -> str | None:
    """The model version that the task's adaptations start from: the one that it is pinned to, or else the champion."""
    return pinned_version(session, task_id) or champion_id(session)


def model_version(session: Session, version: str) -> ModelVersionRecord:
    """A model version with its weights.

    Raises:
        NotFoundError: if there is none of that id.
    """
    query = select(ModelVersionRecord).where(ModelVersionRecord.id == version)
    record = session.scalar(query.options(undefer(ModelVersionRecord.weights)))
    if record is None:
        raise NotFoundError(f"expected the id of a model version, got {version!r}")
    return record


def manifest(session: Session, version: str) -> dict[str, Any]:
    """The manifest of a model version, without its weights; empty if there is no such version."""
    query = select(ModelVersionRecord.manifest).where(ModelVersionRecord.id == version)
    return session.scalar(query) or {}


def newest_adaptation(session: Session, task_id: int, version: str | None) -> AdaptationRecord | None:
    """The adaptation that answers for the task: that of this version, or else the newest of another."""
    own = AdaptationRecord
    query = select(own).where(own.task_id == task_id).options(undefer(own.payload))
    return session.scalar(
        query.order_by((own.model_version_id == version).desc(), own.created_at.desc(), own.id.desc()).limit(1)
    )


def identity(adaptation: AdaptationRecord) -> tuple[object, ...]:
    """What tells it from others and from what it replaced, as in `TaskState`."""
    return adaptation.id, adaptation.model_version_id, adaptation.created_at


def adaptation_of(session: Session, task_id: int) -> tuple[int, str | None, tuple[str, int] | None]:
    """The task's revision, the version that its adaptations start from, and what the one that answers was made of: its
    version and the revision that it has seen."""
    own, version = AdaptationRecord, effective_version(session, task_id)
    query = select(own.model_version_id, own.task_revision).where(own.task_id == task_id)
    newest = query.order_by((own.model_version_id == version).desc(), own.created_at.desc(), own.id.desc()).limit(1)
    row = session.execute(newest).one_or_none()
    revision = session.execute(select(TaskRecord.revision).where(TaskRecord.id == task_id)).scalar_one()
    return revision, version, None if row is None else (row.model_version_id, row.task_revision)


def digest(session: Session) -> tuple[object, ...]:
    """Changes whenever a task's observations, its pin, an adaptation or the champion changed."""
    row = session.execute(
        select(
            select(AliasRecord.model_version_id).where(AliasRecord.name == CHAMPION).scalar_subquery(),
            select(func.count(AdaptationRecord.id)).scalar_subquery(),
            select(func.max(AdaptationRecord.created_at)).scalar_subquery(),
            select(func.sum(AdaptationRecord.task_revision)).scalar_subquery(),
            # of every run another one: shows what was replaced, whatever was replaced at the same time
            select(func.sum(AdaptationRecord.seconds)).scalar_subquery(),
            select(func.count(TaskRecord.id)).scalar_subquery(),
            select(func.count(PinRecord.id)).scalar_subquery(),
            select(func.sum(TaskRecord.revision)).scalar_subquery(),
        )
    ).one()
    return tuple(row)


def task_states(session: Session, champion: str | None) -> list[TaskState]:
    """Every task's state, the ones with the newest adaptations first."""
    own, pinned = AdaptationRecord, pinned_versions(session)
    query = (
        select(TaskRecord.id, TaskRecord.name, TaskRecord.revision, own.id, own.model_version_id, own.created_at)
        .outerjoin(own, own.task_id == TaskRecord.id)
        .order_by((own.model_version_id == champion).asc(), own.created_at.asc(), own.id.asc())
    )
    last: dict[int, TaskState] = {}
    for task_id, name, revision, *adaptation in session.execute(query):
        version = pinned.get(task_id, champion)
        before = last.get(task_id)
        if before is not None and before.adaptation is not None and before.adaptation[1] == version:
            continue  # what it is pinned to answers, whatever else there is
        last.pop(task_id, None)
        last[task_id] = TaskState(
            task_id, name, revision, version, tuple(adaptation) if adaptation[0] is not None else None
        )
    return list(reversed(last.values()))


def save_adaptation(session: Session, adaptation: AdaptationRecord) -> bool:
    """Keeps the adaptation unless one of a newer support set is there already; says whether it did."""
    query = select(AdaptationRecord).where(
        AdaptationRecord.task_id == adaptation.task_id,
        AdaptationRecord.model_version_id == adaptation.model_version_id,
    )
    existing = session.scalar(query.with_for_update())
    if existing is None:
        row = {name: getattr(adaptation, name) for name in ("task_id", "model_version_id", *_REPLACED)}
        if insert_if_new(session, AdaptationRecord, row) is not None:
            return True
        existing = session.scalars(query.with_for_update()).one()  # another worker was faster
    if existing.task_revision > adaptation.task_revision:
        return False
    for name in _REPLACED:
        setattr(existing, name, getattr(adaptation, name))
    existing.created_at = clock.now(session)
    return True


_REPLACED = (
    "support_hash", "num_observations", "task_revision", "last_observation_id", "payload", "seconds",
)  # fmt: skip
