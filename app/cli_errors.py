"""How a command ends where something was refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from app.client_calls import ClientError
from app.errors import AppError


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
