"""What can be done with tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app import queue
from app.access import audit
from app.access.repository import project_names
from app.database import Database
from app.errors import ConflictError, InvalidContentError, NotFoundError
from app.inference import pinned_versions
from app.lists import Asked, Listing
from app.pagination import Page
from app.preconditions import IfMatch
from app.tables import TaskRecord
from app.tasks import repository
from app.tasks.repository import AdaptationState
from app.tasks.schemas import AdaptationOut, MetricSchema, TaskEdit, TaskIn, TaskOut

LISTING = Listing(
    "tasks",
    TaskOut,
    TaskRecord.id,
    {"id": TaskRecord.id, "name": TaskRecord.name, "created_at": TaskRecord.created_at},
    default="id",
)
_MAX_ID_DIGITS = 18
_CONTENT = ("search_space", "dataset", "metric", "unit", "direction", "device", "max_fidelity", "details")


def find(session: Session, task: str, *, for_update: bool = False) -> TaskRecord:
    """The task of that id or, if it is no number, what the name means to whoever names no project. Locked until the
    transaction ends where asked. Addresses hold ids by the time they come here: the guard has looked who may see what.

    Raises:
        NotFoundError: if there is none.
    """
    if is_id(task):
        record = repository.by_id(session, int(task), for_update=for_update) if len(task) <= _MAX_ID_DIGITS else None
    else:
        record = repository.by_name(session, task, for_update=for_update) if "\0" not in task else None
    if record is None:
        raise NotFoundError(f"expected the name or the id of a task, got {task[:200]!r}")
    return record


def exists(database: Database, name: str) -> bool:
    """Whether there is a task of that name."""
    with database.read() as session:
        return repository.by_name(session, name) is not None


def is_id(task: str) -> bool:
    """Whether the text is read as a number rather than as a name."""
    return task.isascii() and task.isdecimal()


def shown(session: Session, records: Sequence[TaskRecord]) -> list[TaskOut]:
    """The tasks as users see them."""
    champion, pinned = repository.champion(session), pinned_versions(session)
    versions = {record.id: pinned.get(record.id, champion) for record in records}
    adaptations = repository.adaptations(session, list(versions), versions)
    pending = repository.pending_adaptations(session)
    projects = project_names(session)
    return [
        _shown(
            record,
            adaptations.get(record.id),
            record.id in pending,
            versions[record.id],
            pinned.get(record.id),
            projects,
        )
        for record in records
    ]


def page(
    session: Session,
    project_id: int | None,
    asked: Asked,
    search_space: str | None,
    since: datetime | None,
    before: datetime | None,
) -> Page[TaskOut]:
    """One page of what a caller of the project sees (None: of all)."""
    filters = {"search_space": search_space, "since": since, "before": before}
    query = repository.listed(project_id, **filters)  # type: ignore[arg-type]
    rows, next_cursor = LISTING.page(session, query, asked, filters)
    return Page(items=shown(session, [row[0] for row in rows]), next_cursor=next_cursor)


def create(session: Session, body: TaskIn, project_id: int | None) -> tuple[TaskRecord, bool]:
    """The task of that project (None: it belongs to all), and whether it is new.

    Raises:
        InvalidContentError: if the name is a number or the search space is unknown.
        ConflictError: if the name is taken by a different task.
    """
    if is_id(body.name):
        raise _invalid("name", f"expected a name that is not a number, got {body.name!r}")
    if not repository.has_search_space(session, body.search_space):
        raise _invalid("search_space", f"expected the name of a search space, got {body.search_space!r}")
    row = {**_row(body), "project_id": project_id}
    is_new = repository.taken(session, body.name, project_id) is None and repository.add_new(session, row)
    record = repository.taken(session, body.name, project_id)
    if record is None:
        raise ConflictError(f"expected a name that is free, got {body.name!r}; try again")
    if is_new and repository.has_observed_sibling(session, record):
        queue.enqueue_adaptation(session, record.id)  # they have something to say before anything of it is measured
    if is_new:
        audit.note(after={"id": record.id, "name": record.name})
    changed = [name for name in _CONTENT if getattr(record, name) != row[name]]
    if changed:
        raise ConflictError(f"expected a new name or the same task, got another {', '.join(changed)} of {body.name!r}")
    return record, is_new


def edit(session: Session, task_name: str, body: TaskEdit, seen: IfMatch) -> TaskOut:
    """The task with other metadata.

    Raises:
        NotFoundError: if there is no such task.
        PreconditionFailedError: if it is not as the caller has seen it.
    """
    record = find(session, task_name, for_update=True)
    seen.check(lambda: shown(session, [record])[0])
    audit.note(before={"metadata": record.details}, after={"metadata": body.metadata})
    record.details = body.metadata
    session.flush()
    return shown(session, [record])[0]


def _row(body: TaskIn) -> dict[str, Any]:
    row = body.model_dump(exclude={"metric", "metadata", "project"})
    metric = body.metric
    return {
        **row, "metric": metric.name, "unit": metric.unit, "direction": metric.direction, "details": body.metadata
    }  # fmt: skip


def _invalid(field: str, message: str) -> InvalidContentError:
    return InvalidContentError(message, [{"location": ["body", field], "message": message}])


def _shown(
    record: TaskRecord,
    state: AdaptationState | None,
    is_pending: bool,
    version: str | None,
    pinned: str | None,
    projects: Mapping[int, str],
) -> TaskOut:
    return TaskOut(
        id=record.id,
        name=record.name,
        project=None if record.project_id is None else projects[record.project_id],
        search_space=record.search_space,
        dataset=record.dataset,
        metric=MetricSchema.model_validate({"name": record.metric, "unit": record.unit, "direction": record.direction}),
        device=record.device,
        max_fidelity=record.max_fidelity,
        metadata=record.details,
        num_observations=record.num_observations,
        revision=record.revision,
        created_at=record.created_at,
        pinned_version=pinned,
        adaptation=_adaptation(record, state, is_pending, version),
    )


def _adaptation(
    record: TaskRecord, state: AdaptationState | None, is_pending: bool, version: str | None
) -> AdaptationOut:
    """Without observations there is nothing to adapt to: the version as it is, is fresh."""
    if state is None:
        return AdaptationOut(
            num_observations=0,
            model_version=version,
            adapted_at=None,
            is_fresh=record.revision == 0,
            is_pending=is_pending,
        )
    return AdaptationOut(
        num_observations=state.num_observations,
        model_version=state.model_version,
        adapted_at=state.adapted_at,
        is_fresh=state.model_version == version and state.task_revision == record.revision,
        is_pending=is_pending,
    )
