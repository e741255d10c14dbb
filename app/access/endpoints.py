"""/v1/api-keys, /v1/projects, /v1/audit and /v1/caller."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, Path, Query, Request, status
from pydantic import AwareDatetime

from app.access import audit, keys, projects
from app.access.callers import CallerDep
from app.access.guard import AccessGuard
from app.access.repository import AuditFilter
from app.access.schemas import (
    AUDIT_EXAMPLE,
    CALLER_EXAMPLE,
    KEY_EXAMPLE,
    KEY_REQUEST_EXAMPLE,
    NEW_KEY_EXAMPLE,
    PROJECT_CHANGE_EXAMPLE,
    PROJECT_EXAMPLE,
    PROJECT_REQUEST_EXAMPLE,
    AuditOut,
    CallerOut,
    KeyIn,
    KeyOut,
    NewKeyOut,
    ProjectChange,
    ProjectIn,
    ProjectOut,
)
from app.answering_once import shown_once
from app.dependencies import DatabaseDep, SettingsDep
from app.guarded_routes import Role, at_least
from app.json_requests import json_router
from app.lists import Asked
from app.pagination import Page
from app.preconditions import IfMatchDep
from app.schemas import example, problems

router = json_router("access")

_KEY_LINKS = {name: {"key_id": "$response.body#/id"} for name in ("show_api_key", "revoke_api_key")}
_PROJECT_LINKS = {name: {"project": "$response.body#/name"} for name in ("show_project", "change_project")}

KeyId = Annotated[int, Path(ge=1, lt=2**63, description="Id of a key.")]
_TEXT = r"^[^\x00]*$"


@router.get(
    "/caller",
    summary="Show who calls",
    description="What the key or token of this request allows, and whose tasks it sees.",
    responses={200: example(CALLER_EXAMPLE), **problems()},
)
@at_least(Role.READER)
def show_caller(database: DatabaseDep, caller: CallerDep) -> CallerOut:
    with database.read() as session:
        return keys.shown_caller(session, caller)


@router.post(
    "/api-keys",
    status_code=status.HTTP_201_CREATED,
    summary="Make a key",
    description="The answer holds the key itself, this once: only a hash is stored. It is known to all replicas at once.",
    responses={201: example(NEW_KEY_EXAMPLE, "The new key.", links=_KEY_LINKS), **problems(400)},
)
@shown_once
@at_least(Role.ADMIN, changes=True)
def create_api_key(
    database: DatabaseDep,
    settings: SettingsDep,
    caller: CallerDep,
    body: Annotated[KeyIn, Body(openapi_examples={"worker": {"value": KEY_REQUEST_EXAMPLE}})],
) -> NewKeyOut:
    with database.write() as session:
        return keys.create(session, settings, caller, body)


@router.get(
    "/api-keys",
    summary="List keys",
    description="All keys, revoked and expired ones included, the oldest first.",
    response_model=Page[KeyOut],
    responses={200: example({"items": [KEY_EXAMPLE], "next_cursor": None}), **problems()},
)
@at_least(Role.ADMIN)
def list_api_keys(database: DatabaseDep, asked: Annotated[Asked, keys.LISTING.query]) -> Any:
    with database.read() as session:
        return keys.LISTING.answer(keys.page(session, asked), asked)


@router.get(
    "/api-keys/{key_id}",
    summary="Show a key",
    description="One key, without the key itself.",
    responses={200: example(KEY_EXAMPLE), **problems(404)},
)
@at_least(Role.ADMIN)
def show_api_key(database: DatabaseDep, key_id: KeyId) -> KeyOut:
    with database.read() as session:
        return keys.show(session, key_id)


@router.post(
    "/api-keys/{key_id}:revoke",
    summary="Revoke a key",
    description="Ends it for good. This replica refuses it at once, the others within a second. Again is harmless.",
    responses={200: example({**KEY_EXAMPLE, "revoked_at": "2026-11-22T12:00:00Z"}), **problems(404)},
)
@at_least(Role.ADMIN, changes=True)
def revoke_api_key(request: Request, database: DatabaseDep, key_id: KeyId) -> KeyOut:
    with database.write() as session:
        revoked = keys.revoke(session, key_id)
    guard: AccessGuard = request.app.state.guard
    guard.keys.refresh()
    return revoked


@router.post(
    "/projects",
    status_code=status.HTTP_201_CREATED,
    summary="Create a project",
    description="Tasks belong to projects, and keys of readers and contributors see those of one. A name that is taken is "
    "refused with 409.",
    responses={201: example(PROJECT_EXAMPLE, "The new project.", links=_PROJECT_LINKS), **problems(400, 409)},
)
@at_least(Role.ADMIN, changes=True)
def create_project(
    database: DatabaseDep,
    body: Annotated[ProjectIn, Body(openapi_examples={"one": {"value": PROJECT_REQUEST_EXAMPLE}})],
) -> ProjectOut:
    with database.write() as session:
        return projects.create(session, body)


@router.get(
    "/projects",
    summary="List projects",
    description="Those that the caller may see, the oldest first.",
    response_model=Page[ProjectOut],
    responses={200: example({"items": [PROJECT_EXAMPLE], "next_cursor": None}), **problems()},
)
@at_least(Role.READER)
def list_projects(database: DatabaseDep, caller: CallerDep, asked: Annotated[Asked, projects.LISTING.query]) -> Any:
    with database.read() as session:
        return projects.LISTING.answer(projects.page(session, caller, asked), asked)


@router.get(
    "/projects/{project}",
    summary="Show a project",
    description="One project by its name.",
    responses={200: example(PROJECT_EXAMPLE), **problems(404)},
)
@at_least(Role.READER)
def show_project(database: DatabaseDep, caller: CallerDep, project: str) -> ProjectOut:
    with database.read() as session:
        return projects.show(session, caller, project)


@router.patch(
    "/projects/{project}",
    summary="Change a project",
    description="Gives it another name, or says whether fine-tuning learns from its observations. Keys and tasks stay its "
    "own.",
    responses={200: example({**PROJECT_EXAMPLE, **PROJECT_CHANGE_EXAMPLE}), **problems(400, 404, 409, 412)},
)
@at_least(Role.ADMIN, changes=True)
def change_project(
    database: DatabaseDep,
    caller: CallerDep,
    project: str,
    if_match: IfMatchDep,
    body: Annotated[ProjectChange, Body(openapi_examples={"rename": {"value": PROJECT_CHANGE_EXAMPLE}})],
) -> ProjectOut:
    with database.write() as session:
        return projects.change(session, caller, project, body, if_match)


@router.get(
    "/audit",
    summary="List changes",
    description="The audit log: every change that was made through the service, the newest first. Nothing in it is ever "
    "changed or deleted.",
    response_model=Page[AuditOut],
    responses={200: example({"items": [AUDIT_EXAMPLE], "next_cursor": None}), **problems()},
)
@at_least(Role.ADMIN)
def list_changes(
    database: DatabaseDep,
    asked: Annotated[Asked, audit.LISTING.query],
    caller: Annotated[
        str | None, Query(max_length=128, pattern=_TEXT, description="Only changes by this caller, such as `key:7`.")
    ] = None,
    operation: Annotated[
        str | None, Query(max_length=64, pattern=_TEXT, description="Only this operation, such as `create_task`.")
    ] = None,
    request_id: Annotated[
        str | None, Query(max_length=64, pattern=_TEXT, description="Only changes of this request.")
    ] = None,
    since: Annotated[AwareDatetime | None, Query(description="Only changes at or after this moment.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Only changes before this moment.")] = None,
) -> Any:
    wanted = AuditFilter(caller, operation, request_id, since, until)
    with database.read() as session:
        return audit.LISTING.answer(audit.page(session, wanted, asked), asked)
