"""Commands on what was measured: best, pareto, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from app import exchange
from app.client import DEFAULT_URL, Client
from app.console import JsonOption, UrlOption, print_json, print_table, reported_errors


def best(
    task: Annotated[str, typer.Argument(help="Name or id of the task.")],
    k: Annotated[int, typer.Option("-k", "--count", min=1, max=1000, help="How many.")] = 10,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Shows the best that were measured."""
    with reported_errors(), Client(url) as client:
        answer = client.best(task, k)
        if as_json:
            print_json(answer)
            return
        rows = [(one["rank"], one["mean"], one["std"], one["count"], one["genotype"]) for one in answer["items"]]
        print_table(("rank", answer["unit"], "std", "count", "architecture"), rows)


def pareto(
    tasks: Annotated[list[str], typer.Argument(help="Names or ids of two or more tasks of one search space.")],
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Shows the measured architectures that no other beats in all of the tasks."""
    with reported_errors(), Client(url) as client:
        answer = client.pareto(tasks)
        if as_json:
            print_json(answer)
            return
        titles = [f"{one['task']} [{one['unit']}, {one['direction']}]" for one in answer["tasks"]]
        rows: list[list[Any]] = [
            [*(value["mean"] for value in one["values"]), one["genotype"] or one["architecture_id"]]
            for one in answer["items"]
        ]
        print_table((*titles, "architecture"), rows)
        typer.echo(f"{len(rows)} of {answer['num_measured']} architectures measured in all of them")


def export(
    task: Annotated[str, typer.Argument(help="Name or id of the task.")],
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The .jsonl, .csv or .parquet file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Writes a task with its search space and all observations into a file, for `archcast import FILE`."""
    with reported_errors(), Client(url) as client:
        if file.exists() and not force:
            raise FileExistsError(f"expected a new file, or --force, got {file}, which exists")
        count = exchange.export_task(client, task, file)
        if as_json:
            print_json({"task": task, "file": str(file), "num_observations": count})
        else:
            typer.echo(f"{count} observations of {task} written to {file}")


def import_export(file: Path, name: str | None, url: str, *, as_json: bool) -> None:
    """Imports a task that was exported."""
    with Client(url) as client:
        imported = exchange.import_task(client, file, name)
    if as_json:
        print_json(vars(imported))
    else:
        typer.echo(
            f"task {imported.task}: {imported.num_created} observations recorded, {imported.num_duplicates} were there before"
        )
