"""The SQL of observations and of the architectures that they bring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, func, insert, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.elements import ColumnElement

from app.access.repository import visible_tasks
from app.database import insert_new, walked
from app.lists import Asked, Sort, within
from app.tables import ArchitectureRecord, NotationRecord, ObservationRecord, TaskRecord, TrialRecord

_MAX_PARAMETERS = 5_000


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(set(values))
    for start in range(0, len(ordered), _MAX_PARAMETERS):
        yield ordered[start : start + _MAX_PARAMETERS]


def by_client_keys(session: Session, task_id: int, keys: Iterable[str]) -> dict[str, ObservationRecord]:
    """The task's observations that have one of the keys."""
    own = ObservationRecord
    found: dict[str, ObservationRecord] = {}
    for chunk in _chunks(keys):
        query = select(own).where(own.task_id == task_id, own.client_key.in_(chunk))
        found.update({str(record.client_key): record for record in session.scalars(query)})
    return found


def known_architectures(session: Session, ids: Iterable[str]) -> set[str]:
    """Those of the ids that are stored already."""
    known: set[str] = set()
    for chunk in _chunks(ids):
        known.update(session.scalars(select(ArchitectureRecord.id).where(ArchitectureRecord.id.in_(chunk))))
    return known


def add_new_architectures(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Adds those that are new."""
    insert_new(session, ArchitectureRecord, rows)


def add_new_notations(session: Session, search_space: str, genotypes: dict[str, str]) -> None:
    """Notes how the search space writes the architectures, where nothing was noted before."""
    known: set[str] = set()
    for chunk in _chunks(genotypes):
        query = select(NotationRecord.architecture_id).where(
            NotationRecord.search_space == search_space, NotationRecord.architecture_id.in_(chunk)
        )
        known.update(session.scalars(query))
    rows = [
        {"architecture_id": id_, "search_space": search_space, "genotype": genotype}
        for id_, genotype in genotypes.items()
        if id_ not in known
    ]
    insert_new(session, NotationRecord, rows)


def add(session: Session, rows: Sequence[dict[str, Any]]) -> Sequence[int]:
    """Appends observations; their ids in the same order."""
    if not rows:
        return []
    statement = insert(ObservationRecord).returning(ObservationRecord.id, sort_by_parameter_order=True)
    return session.scalars(statement, list(rows)).all()


def find(session: Session, task_id: int, observation_id: int) -> ObservationRecord | None:
    """The task's observation of that id."""
    query = select(ObservationRecord).where(
        ObservationRecord.id == observation_id, ObservationRecord.task_id == task_id
    )
    return session.scalar(query)


def mark_superseded(session: Session, observation_id: int, by_id: int) -> None:
    """Notes which observation took the place of another."""
    session.execute(
        update(ObservationRecord)
        .where(ObservationRecord.id == observation_id)
        .values(superseded_by_id=by_id)
        .execution_options(synchronize_session=False)
    )


def shown() -> Select[*tuple[Any, ...]]:
    """Observations with the names of their tasks and their genotypes in the tasks' search spaces."""
    return with_names(ObservationRecord)


def with_names(record: type[ObservationRecord] | type[TrialRecord]) -> Select[*tuple[Any, ...]]:
    """What was done about architectures in tasks, with the names of the tasks and the genotypes in their search spaces."""
    return (
        select(record, TaskRecord.name.label("task"), NotationRecord.genotype)
        .join(TaskRecord, TaskRecord.id == record.task_id)
        .outerjoin(
            NotationRecord,
            and_(
                NotationRecord.architecture_id == record.architecture_id,
                NotationRecord.search_space == TaskRecord.search_space,
            ),
        )
    )


def shown_by_id(session: Session, observation_id: int) -> Row[Any]:
    """One observation as users see it."""
    return session.execute(shown().where(ObservationRecord.id == observation_id)).one()


def current() -> ColumnElement[bool]:
    """Neither superseded nor retracted."""
    return and_(ObservationRecord.superseded_by_id.is_(None), ObservationRecord.status != "retracted")


@dataclass(frozen=True)
class Filter:
    """Which observations a list shows; None: no matter which."""

    architecture: str | None = None
    status: str | None = None
    include_superseded: bool = False
    min_value: float | None = None
    max_value: float | None = None
    since: datetime | None = None
    before: datetime | None = None
    after_id: int | None = None

    @property
    def has_range(self) -> bool:
        """Whether it bounds the value."""
        return self.min_value is not None or self.max_value is not None

    @property
    def are_empty(self) -> bool | None:
        """Whether what it leaves has no value (True), or has one (False): only the status ok does."""
        if self.status is not None:
            return self.status != "ok"
        return False if self.has_range else None


def listed(
    task: TaskRecord, columns: Sequence[str], with_genotype: bool, wanted: Filter, sort: Sort, asked: Asked
) -> Select[*tuple[Any, ...]]:
    """Those columns of the task's observations that are wanted, for a list that runs along one column.

    A filter on another column is checked row by row along it. An architecture has few observations: they are looked up.
    """
    own = ObservationRecord
    query = select(*(getattr(own, name) for name in columns)).select_from(own)
    if with_genotype:
        is_written = and_(
            NotationRecord.architecture_id == own.architecture_id, NotationRecord.search_space == task.search_space
        )
        query = query.add_columns(NotationRecord.genotype).outerjoin(NotationRecord, is_written)
    query = query.where((own.task_id if wanted.architecture is None else walked(own.task_id)) == task.id)
    if wanted.architecture is not None:
        query = query.where(own.architecture_id == wanted.architecture)
    if wanted.status is not None:
        query = query.where(own.status == wanted.status)
    if wanted.are_empty and sort.name == "id":
        query = query.where(own.value.is_(None)).order_by(sort.ordered(own.value))  # as the status says; has an index
    query = query.where(_bounded(own.value, sort, asked, wanted.min_value, wanted.max_value))
    query = query.where(_bounded(own.created_at, sort, asked, wanted.since, wanted.before, includes_high=False))
    if wanted.after_id is not None and not (sort.name == "id" and sort.has_passed_low(asked)):
        query = query.where((own.id if sort.name == "id" else walked(own.id)) > wanted.after_id)
    return query if wanted.include_superseded else query.where(current())


def _bounded(
    column: InstrumentedAttribute[Any], sort: Sort, asked: Asked, low: Any, high: Any, *, includes_high: bool = True
) -> ColumnElement[bool]:
    """That the column lies in the range. Of the sorted column without the end that the cursor has left behind, or the walk
    might begin there again."""
    if sort.column is not column:
        return within(walked(column, type_=column.type), low, high, includes_high=includes_high)
    low = None if sort.has_passed_low(asked) else low
    high = None if sort.has_passed_high(asked) else high
    return within(column, low, high, includes_high=includes_high)


def of_architecture(session: Session, architecture_id: str, project_id: int | None, limit: int) -> Sequence[Row[Any]]:
    """The newest current observations of the architecture over all tasks that a caller of the project sees."""
    own = ObservationRecord
    query = shown().where(own.architecture_id == architecture_id, current(), visible_tasks(project_id))
    query = query.order_by(own.id.desc()).limit(limit)
    return session.execute(query).all()


def final_fidelity(session: Session, task: TaskRecord) -> float | None:
    """The fidelity that counts as final: the task's own, or else the largest seen."""
    own = ObservationRecord
    if task.max_fidelity is not None:
        return task.max_fidelity
    return session.scalar(select(func.max(own.fidelity)).where(own.task_id == task.id, own.status == "ok", current()))


def best(session: Session, task: TaskRecord, fidelity: float | None, k: int) -> Sequence[tuple[str, float]]:
    """The k architectures of the best mean at the final fidelity."""
    mean = func.avg(ObservationRecord.value)
    order = mean.desc() if task.direction == "maximize" else mean.asc()
    query = _means(task, fidelity).order_by(order, ObservationRecord.architecture_id).limit(k)
    return [(architecture_id, value) for architecture_id, value in session.execute(query)]


def final_means(session: Session, task: TaskRecord, fidelity: float | None) -> dict[str, float]:
    """For every architecture its mean at the final fidelity."""
    return {row[0]: row[1] for row in session.execute(_means(task, fidelity))}


def _means(task: TaskRecord, fidelity: float | None) -> Select[*tuple[Any, ...]]:
    own = ObservationRecord
    return (
        select(own.architecture_id, func.avg(own.value)).where(_final(task.id, fidelity)).group_by(own.architecture_id)
    )


def final_values(
    session: Session, task: TaskRecord, fidelity: float | None, ids: Iterable[str]
) -> dict[str, list[float]]:
    """For each architecture its values at the final fidelity."""
    own = ObservationRecord
    found: dict[str, list[float]] = {}
    for chunk in _chunks(ids):
        query = select(own.architecture_id, own.value).where(_final(task.id, fidelity), own.architecture_id.in_(chunk))
        for architecture_id, value in session.execute(query.order_by(own.id)):
            if value is not None:
                found.setdefault(architecture_id, []).append(value)
    return found


def genotypes(session: Session, search_space: str, ids: Iterable[str]) -> dict[str, str]:
    """How the search space writes the architectures."""
    own = NotationRecord
    found: dict[str, str] = {}
    for chunk in _chunks(ids):
        query = select(own.architecture_id, own.genotype).where(
            own.search_space == search_space, own.architecture_id.in_(chunk)
        )
        found.update((architecture_id, genotype) for architecture_id, genotype in session.execute(query))
    return found


def _final(task_id: int, fidelity: float | None) -> ColumnElement[bool]:
    own = ObservationRecord
    return and_(
        own.task_id == task_id,
        own.status == "ok",
        own.superseded_by_id.is_(None),
        or_(own.fidelity.is_(None), own.fidelity == fidelity),
    )
