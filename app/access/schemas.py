"""The documents of keys, projects and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from app.schemas import Reply, RequestBody

RoleName = Literal["reader", "contributor", "operator", "admin"]
ALL_PROJECTS = "*"

ProjectName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Letters, digits, dot, underscore, hyphen.")
]
PROJECT_REQUEST_EXAMPLE = {"name": "vision"}
PROJECT_CHANGE_EXAMPLE = {"name": "vision-team", "is_learned_from": False}
PROJECT_EXAMPLE = {"id": 2, "name": "vision", "is_learned_from": True, "created_at": "2026-11-22T09:30:00Z"}
KEY_REQUEST_EXAMPLE = {
    "name": "training cluster", "role": "contributor", "project": "vision", "expires_at": "2099-01-01T00:00:00Z"
}  # fmt: skip
KEY_EXAMPLE = {
    "id": 7,
    "name": "training cluster",
    "role": "contributor",
    "project": "vision",
    "hint": "archcast_6fQ2bZ…",
    "requests_per_minute": None,
    "created_by": "key:1",
    "created_at": "2026-11-22T09:30:00Z",
    "last_used_at": "2026-11-22T11:02:00Z",
    "expires_at": "2099-01-01T00:00:00Z",
    "revoked_at": None,
}
NEW_KEY_EXAMPLE = {**KEY_EXAMPLE, "last_used_at": None, "key": "archcast_" + "0" * 38}
CALLER_EXAMPLE = {"id": "key:7", "name": "training cluster", "role": "contributor", "project": "vision"}
AUDIT_EXAMPLE = {
    "id": 112,
    "created_at": "2026-11-22T09:30:00Z",
    "caller": "key:1",
    "caller_name": "first admin",
    "role": "admin",
    "operation": "change_project",
    "target": "PATCH /v1/projects/vision",
    "details": {"before": {"name": "vision"}, "after": {"name": "vision-team"}},
    "address": "10.0.4.17",
    "request_id": "6f1c0f7f7be54e0c9a4f0b8c2f9f3c0d",
}


class ProjectIn(RequestBody):
    """A new project."""

    name: ProjectName
    is_learned_from: bool = Field(
        default=True, description="Whether fine-tuning, which makes one champion for all, learns from its observations."
    )


class ProjectChange(RequestBody):
    """What is to be another about a project."""

    name: ProjectName | None = Field(default=None, description="Leave out to keep it.")
    is_learned_from: bool | None = Field(default=None, description="Leave out to keep it.")


class ProjectOut(Reply):
    """Who owns tasks."""

    id: int
    name: str
    is_learned_from: bool
    created_at: datetime


class KeyIn(RequestBody):
    """A new key."""

    name: Annotated[str, Field(min_length=1, max_length=128, description="For people: who or what it is for.")]
    role: RoleName = Field(description="What it allows; each role includes those before it.")
    project: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        default=None,
        description="Whose tasks it is for: the name of a project, or `*` for all. Left out: the default project; for "
        "operators and admins all, and nothing else.",
    )
    expires_at: Annotated[datetime, Field(strict=False)] | None = Field(
        default=None, description="When it ends; null: never."
    )
    requests_per_minute: Annotated[int, Field(ge=0, le=100_000_000)] | None = Field(
        default=None, description="Most requests over all replicas; 0: no limit; null: what the settings say."
    )


class KeyOut(Reply):
    """An API key, without the key itself."""

    id: int
    name: str
    role: RoleName
    project: str | None = Field(description="Whose tasks it is for; null: those of all projects.")
    hint: str = Field(description="How it begins.")
    requests_per_minute: int | None
    created_by: str
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyOut(KeyOut):
    """A new API key. It is shown this once: only a hash is stored."""

    key: str = Field(description="To be sent as `Authorization: Bearer …`.")


class CallerOut(Reply):
    """Who calls."""

    id: str
    name: str
    role: RoleName
    project: str | None = Field(description="Whose tasks are seen; null: those of all projects.")


class AuditOut(Reply):
    """A change that somebody made."""

    id: int
    created_at: datetime
    caller: str = Field(description="`key:` and its id, `oidc:` and a hash of the subject, `embedded` or `system`.")
    caller_name: str
    role: str
    operation: str = Field(description="The operation's id in the OpenAPI document.")
    target: str = Field(description="Method and address.")
    details: dict[str, Any] | None = Field(description="What was before and after, where it is small.")
    address: str | None = Field(description="Where the request came from.")
    request_id: str | None
