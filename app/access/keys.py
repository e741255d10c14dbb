"""What can be done with keys."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app import clock
from app.access import audit, key_format, keyring, projects, repository
from app.access.callers import SYSTEM, Caller
from app.access.schemas import ALL_PROJECTS, CallerOut, KeyIn, KeyOut, NewKeyOut
from app.database import Database, Turn, take_turns
from app.errors import InvalidContentError, NotFoundError
from app.guarded_routes import Role
from app.lists import Asked, Listing
from app.pagination import Page
from app.settings import Settings
from app.tables import DEFAULT_PROJECT_ID, ApiKeyRecord
from app.validation import invalid_content

LISTING = Listing("keys", KeyOut, ApiKeyRecord.id, {"id": ApiKeyRecord.id}, default="id")
_FIRST_NAME = "first admin"


def create(session: Session, settings: Settings, caller: Caller, body: KeyIn) -> NewKeyOut:
    """A new key, which nobody can be shown again.

    Raises:
        InvalidContentError: if it ends in the past, or the project is unknown or does not go with the role.
    """
    now = clock.now(session)
    if body.expires_at is not None and (body.expires_at.tzinfo is None or body.expires_at <= now):
        raise _invalid("expires_at", f"expected a moment after {now.isoformat()}, with its offset", body.expires_at)
    key, hasher = key_format.new_key(), keyring.made_hasher(session, settings)
    record = repository.add_key(
        session,
        {
            **body.model_dump(exclude={"project"}),
            "project_id": _project_id(session, caller, body),
            "hint": key_format.hint_of(key),
            "key_hash": hasher.hashed(key),
            "secret_id": hasher.secret_id,
            "created_by": caller.id,
            "created_at": now,
        },
    )
    shown = _shown(record, repository.project_names(session))
    audit.note(after=shown.model_dump(mode="json", include={"id", "name", "role", "project", "expires_at"}))
    return NewKeyOut(**shown.model_dump(), key=key)


def _project_id(session: Session, caller: Caller, body: KeyIn) -> int | None:
    if projects.is_whole_service(Role.of(body.role)):
        if body.project not in (None, ALL_PROJECTS):
            raise _invalid(
                "project", f"expected none, or '*': what a key of role {body.role} does, concerns all", body.project
            )
        return None
    if body.project == ALL_PROJECTS:
        return None
    if body.project is None:
        return DEFAULT_PROJECT_ID
    try:
        return projects.find(session, caller, body.project).id
    except NotFoundError:
        raise _invalid("project", "expected the name of a project, or '*' for all", body.project) from None


def create_first(database: Database, settings: Settings) -> str | None:
    """The first admin's key if there is no key yet; of all replicas that start together one gets it."""
    with database.read() as session:
        if repository.has_keys(session):
            return None
    with database.write() as session:
        take_turns(session, Turn.FIRST_KEY)
        if repository.has_keys(session):
            return None
        audit.begin(audit.Draft(SYSTEM, "create_first_key", "start of the service"))
        try:
            key = create(session, settings, SYSTEM, KeyIn(name=_FIRST_NAME, role="admin")).key
            audit.write_draft(session)
        finally:
            audit.begin(None)
        return key


def find(session: Session, key_id: int, *, for_update: bool = False) -> ApiKeyRecord:
    """The key of that id; raises NotFoundError."""
    record = repository.find_key(session, key_id, for_update=for_update)
    if record is None:
        raise NotFoundError(f"expected the id of a key, got {key_id}")
    return record


def show(session: Session, key_id: int) -> KeyOut:
    """One key; raises NotFoundError."""
    return _shown(find(session, key_id), repository.project_names(session))


def page(session: Session, asked: Asked) -> Page[KeyOut]:
    """One page of all keys, revoked ones included, the oldest first unless asked otherwise."""
    rows, next_cursor = LISTING.page(session, repository.listed_keys(), asked, {})
    names = repository.project_names(session)
    return Page(items=[_shown(row[0], names) for row in rows], next_cursor=next_cursor)


def revoke(session: Session, key_id: int) -> KeyOut:
    """Ends a key for good; harmless when that was done before. Raises NotFoundError."""
    record = find(session, key_id, for_update=True)
    if record.revoked_at is None:
        record.revoked_at = clock.now(session)
        audit.note(after={"id": record.id, "name": record.name, "revoked_at": record.revoked_at.isoformat()})
    session.flush()
    return _shown(record, repository.project_names(session))


def shown_caller(session: Session, caller: Caller) -> CallerOut:
    """Who calls, as they see themselves."""
    project = projects.name_of(session, caller.project_id)
    return CallerOut(id=caller.id, name=caller.name, role=caller.role.label, project=project)  # type: ignore[arg-type]


def _shown(record: ApiKeyRecord, names: dict[int, str]) -> KeyOut:
    members = {name: getattr(record, name) for name in KeyOut.model_fields if name != "project"}
    return KeyOut(**members, project=None if record.project_id is None else names[record.project_id])


def _invalid(field: str, expected: str, got: object) -> InvalidContentError:
    return invalid_content([{"location": ["body", field], "message": f"{expected}; got {got!s:.80}"}])
