"""What can be done with projects."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.access import audit, repository
from app.access.callers import Caller
from app.access.schemas import ProjectChange, ProjectIn, ProjectOut
from app.errors import ConflictError, NotFoundError
from app.guarded_routes import Role
from app.lists import Asked, Listing
from app.pagination import Page
from app.preconditions import IfMatch
from app.tables import DEFAULT_PROJECT_ID, ProjectRecord

LISTING = Listing("projects", ProjectOut, ProjectRecord.id, {"id": ProjectRecord.id}, default="id")


def create(session: Session, body: ProjectIn) -> ProjectOut:
    """A new project.

    Raises:
        ConflictError: if the name is taken.
    """
    project_id = repository.add_project(session, body.model_dump())
    if project_id is None:
        raise ConflictError(f"expected a new name, got {body.name!r}, which another project has")
    audit.note(after={"id": project_id, **body.model_dump()})
    return _shown(repository.project_by_id(session, project_id))


def find(session: Session, caller: Caller, name: str, *, for_update: bool = False) -> ProjectRecord:
    """The project of that name.

    Raises:
        NotFoundError: if there is none that the caller may see.
    """
    record = repository.project_by_name(session, name) if "\0" not in name else None
    if record is None or caller.project_id not in (None, record.id):
        raise NotFoundError(f"expected the name of a project, got {name[:200]!r}")
    if for_update:
        repository.project_by_id(session, record.id, for_update=True)
    return record


def page(session: Session, caller: Caller, asked: Asked) -> Page[ProjectOut]:
    """One page of those that the caller may see."""
    filters = {"project": caller.project_id}
    rows, next_cursor = LISTING.page(session, repository.listed_projects(caller.project_id), asked, filters)
    return Page(items=[_shown(row[0]) for row in rows], next_cursor=next_cursor)


def show(session: Session, caller: Caller, name: str) -> ProjectOut:
    """One project; raises NotFoundError."""
    return _shown(find(session, caller, name))


def change(session: Session, caller: Caller, name: str, body: ProjectChange, seen: IfMatch) -> ProjectOut:
    """The project with another name, or another answer to whether it is learned from.

    Raises:
        NotFoundError: if there is no such project.
        ConflictError: if the new name is taken.
        PreconditionFailedError: if it is not as the caller has seen it.
    """
    record = find(session, caller, name, for_update=True)
    seen.check(lambda: _shown(record))
    wanted = {key: value for key, value in body.model_dump().items() if value is not None}
    other = repository.project_by_name(session, body.name) if body.name is not None else None
    if other is not None and other.id != record.id:
        raise ConflictError(f"expected a new name, got {body.name!r}, which another project has")
    audit.note(before={key: getattr(record, key) for key in wanted}, after=wanted)
    for key, value in wanted.items():
        setattr(record, key, value)
    session.flush()
    return _shown(record)


def id_for_new_task(session: Session, caller: Caller, wanted: str | None) -> int:
    """The project that a new task of the caller belongs to.

    Raises:
        NotFoundError: if the caller wants one that there is not, or that it may not see.
    """
    if wanted is not None:
        return find(session, caller, wanted).id
    return caller.project_id or DEFAULT_PROJECT_ID


def name_of(session: Session, project_id: int | None) -> str | None:
    """What a project is called; None for no project."""
    record = None if project_id is None else repository.project_by_id(session, project_id)
    return None if record is None else record.name


def is_whole_service(role: Role) -> bool:
    """Whether a role cannot be held in one project alone: what operators do concerns all."""
    return role >= Role.OPERATOR


def _shown(record: ProjectRecord | None) -> ProjectOut:
    return ProjectOut.model_validate(record)
