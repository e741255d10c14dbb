"""`archcast key`, `archcast project` and `archcast audit`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError

from app import migration
from app.access import audit, keys
from app.access.callers import SYSTEM
from app.access.schemas import KeyIn
from app.client import DEFAULT_URL, Client
from app.console import reported_errors
from app.database import Database
from app.settings import Settings
from app.validation import error_items, invalid_content

key_app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
project_app = typer.Typer(help="Create and list projects.", no_args_is_help=True)

UrlOption = Annotated[str, typer.Option(envvar="ARCHCAST_URL", help="Where the service is.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")]
RoleOption = Annotated[Literal["reader", "contributor", "operator", "admin"], typer.Option(help="What it allows.")]


@key_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Who or what it is for.")],
    role: RoleOption = "contributor",
    project: Annotated[str | None, typer.Option(help="Whose tasks it is for; '*': those of all projects.")] = None,
    expires_days: Annotated[float | None, typer.Option(min=0.0, help="Days until it ends; left out: never.")] = None,
    requests_per_minute: Annotated[int | None, typer.Option(min=0, help="Left out: what the settings say.")] = None,
    direct: Annotated[bool, typer.Option(help="Write into the database of the settings, without a service.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Makes a key and shows it, this once. With --direct it needs no key: for whoever has lost them all."""
    ends = None if expires_days is None else (datetime.now(UTC) + timedelta(days=expires_days)).isoformat()
    body = {"name": name, "role": role, "project": project, "expires_at": ends}
    body["requests_per_minute"] = requests_per_minute  # type: ignore[assignment]
    with reported_errors():
        made = _made_directly(body) if direct else _made(url, body)
        if as_json:
            _print_json(made)
            return
        typer.echo(made["key"])
        of = "all projects" if made["project"] is None else f"project {made['project']}"
        typer.echo(f"key {made['id']} of role {made['role']} for {of}; it is shown this once, so keep it", err=True)


def _made(url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    with Client(url) as client:
        return client.create_key(**body)


def _made_directly(body: Mapping[str, Any]) -> dict[str, Any]:
    settings = Settings()
    try:
        wanted = KeyIn.model_validate(body)
    except ValidationError as error:
        raise invalid_content(error_items(error.errors())) from error
    with closing(Database(settings.database_url)) as database:
        migration.upgrade(database)
        audit.begin(audit.Draft(SYSTEM, "create_api_key", "archcast key create --direct"))
        with database.write() as session:
            made = keys.create(session, settings, SYSTEM, wanted)
            audit.write_draft(session)
        audit.begin(None)
    return made.model_dump(mode="json")


@key_app.command("list")
def list_keys(as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Lists all keys, without the keys themselves."""
    with reported_errors(), Client(url) as client:
        rows = list(client.api_keys())
        for row in rows:
            row["state"] = _state(row)
            row["project"] = row["project"] or "*"
        columns = ("id", "name", "role", "project", "hint", "state", "last_used_at", "expires_at")
        _print(rows, columns, as_json)


@key_app.command("revoke")
def revoke_key(
    key_id: Annotated[int, typer.Argument(help="Id of the key.")],
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Ends a key for good."""
    with reported_errors(), Client(url) as client:
        revoked = client.revoke_key(key_id)
        if as_json:
            _print_json(revoked)
        else:
            typer.echo(f"key {revoked['id']} ({revoked['name']}) is revoked")


@project_app.command("create")
def create_project(
    name: str,
    is_learned_from: Annotated[
        bool, typer.Option("--learn/--no-learn", help="Whether fine-tuning learns from its observations.")
    ] = True,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Creates a project."""
    with reported_errors(), Client(url) as client:
        created = client.create_project(name, is_learned_from)
        if as_json:
            _print_json(created)
        else:
            typer.echo(f"project {created['name']} is there")


@project_app.command("list")
def list_projects(as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Lists the projects that the key may see."""
    with reported_errors(), Client(url) as client:
        _print(list(client.projects()), ("id", "name", "is_learned_from", "created_at"), as_json)


def show_audit(
    caller: Annotated[str | None, typer.Option(help="Only changes by this caller, such as key:7.")] = None,
    operation: Annotated[str | None, typer.Option(help="Only this operation, such as create_task.")] = None,
    since: Annotated[str | None, typer.Option(help="Only changes since, such as 2026-11-22T09:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Only changes before.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")] = 50,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Shows who changed what, the newest first."""
    given = {"caller": caller, "operation": operation, "since": since, "until": until}
    with reported_errors(), Client(url) as client:
        wanted = {name: value for name, value in given.items() if value is not None}
        rows = list(islice(client.changes(**wanted), limit))
        _print(rows, ("id", "created_at", "caller", "caller_name", "operation", "target", "details"), as_json)


def _state(key: Mapping[str, Any]) -> str:
    if key["revoked_at"] is not None:
        return "revoked"
    if key["expires_at"] is not None and datetime.fromisoformat(key["expires_at"]) <= datetime.now(UTC):
        return "expired"
    return "valid"


def _print(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    if as_json:
        _print_json(rows)
        return
    lines = [list(columns), *([_cell(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
