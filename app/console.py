"""What all commands share: where the service is, how errors end them, tables for people and JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from app.client import ClientError
from app.errors import AppError

UrlOption = Annotated[str, typer.Option(envvar="ARCHCAST_URL", help="Where the service is.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def print_json(document: Any) -> None:
    """As JSON, indented."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def notation(text: str) -> Any:
    """An architecture as somebody typed it: decoded where it is JSON."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """In columns as wide as what is in them; None is a dash, numbers are short."""
    cells = [list(titles), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def named_value(text: str) -> tuple[str, Any]:
    """Reads name=value, the value as JSON where it is some; raises typer.BadParameter."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter(f"expected name=value, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())


@contextmanager
def reported_errors() -> Iterator[None]:
    """Ends with exit code 1 and one line on stderr where something was refused."""
    try:
        yield
    except OperationalError as error:
        typer.echo(f"archcast: expected to reach the database, got: {error.orig}", err=True)
        raise typer.Exit(1) from error
    except (ClientError, AppError, ValidationError, OSError) as error:
        typer.echo(f"archcast: {error}", err=True)
        items = error.problem.get("errors") if isinstance(error, ClientError) else None
        for item in (items or [])[:10]:
            typer.echo(f"  {'.'.join(map(str, item['location']))}: {item['message']}", err=True)
        raise typer.Exit(1) from error
