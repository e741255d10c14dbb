"""Commands that take care of a service: doctor, backup, restore. They speak to the database of the settings themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app import backups, doctor
from app.console import JsonOption, print_json, print_table, reported_errors
from app.settings import Settings

_MARKS = {"ok": "ok", "warning": "WARNING", "error": "ERROR"}


def examine(
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Looks for what is wrong with a service, its database and its settings. Exit code 1 where something is broken."""
    with reported_errors():
        findings = doctor.examined(Settings())
    if as_json:
        print_json(
            {"is_healthy": not doctor.is_ill(findings, strict=False), "findings": [vars(one) for one in findings]}
        )
    else:
        print_table(("", "check", "what was found"), [(_MARKS[one.level], one.check, one.message) for one in findings])
        for one in findings:
            if one.advice:
                typer.echo(f"\n{one.check}: {one.advice}")
    if doctor.is_ill(findings, strict=strict):
        raise typer.Exit(1)


def back_up(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The .zip file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Backs up the database of the settings into one file, while services and workers go on."""
    with reported_errors():
        manifest = backups.back_up(Settings(), file, force=force)
    _print(f"backed up to {file}", manifest, as_json)


def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file that `archcast backup` wrote.")],
    force: Annotated[bool, typer.Option("--force", help="Replace what the database holds.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Puts a backup in the place of the database of the settings. Stop all services and workers first."""
    with reported_errors():
        manifest = backups.restore(Settings(), file, force=force)
    _print(f"restored from {file}", manifest, as_json)


def _print(done: str, manifest: backups.Manifest, as_json: bool) -> None:
    if as_json:
        print_json(backups.document(manifest))
        return
    typer.echo(f"{done}: {manifest.engine} of {manifest.created_at}, schema {manifest.schema_revision}, "
               f"{manifest.size_bytes / 2**20:.1f} MiB")  # fmt: skip
