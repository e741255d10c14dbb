"""`archcast jobs` and `archcast model`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from app.client import DEFAULT_URL, Client, ClientError
from app.console import JsonOption, UrlOption, print_json, print_table, reported_errors

jobs_app = typer.Typer(help="List, cancel and retry background work.", no_args_is_help=True)
model_app = typer.Typer(help="Promote, roll back, compare, pin and exchange model versions.", no_args_is_help=True)

JobArgument = Annotated[int, typer.Argument(help="Id of the job.")]
VersionArgument = Annotated[str, typer.Argument(help="Id of the model version, or the first digits of it.")]
ReasonOption = Annotated[str, typer.Option(help="Kept with the decision.")]
TaskArgument = Annotated[str, typer.Argument(help="Name or id of the task.")]


@jobs_app.command("list")
def list_jobs(
    kind: Annotated[str | None, typer.Option(help="adapt, fine_tune, score, import or compare.")] = None,
    state: Annotated[str | None, typer.Option(help="queued, running, done, failed or cancelled.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to list.")] = 20,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Lists jobs, the newest first."""
    with reported_errors(), Client(url) as client:
        found = list(islice(client.jobs(kind, state), limit))
        if as_json:
            print_json(found)
            return
        columns = ("id", "kind", "state", "percent", "attempts", "next_attempt_at", "error")
        print_table(columns, [[_short(job[name]) for name in columns] for job in found])


@jobs_app.command("cancel")
def cancel_job(job: JobArgument, as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Cancels a queued job, and asks the worker of a running one to stop."""
    with reported_errors(), Client(url) as client:
        _say_state(client.cancel_job(job), as_json)


@jobs_app.command("retry")
def retry_job(job: JobArgument, as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Queues a job that failed or was cancelled once more."""
    with reported_errors(), Client(url) as client:
        _say_state(client.retry_job(job), as_json)


@jobs_app.command("log")
def show_log(
    job: JobArgument,
    follow: Annotated[bool, typer.Option(help="Go on until the job has ended.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Shows the last lines of a job's log."""
    with reported_errors(), Client(url) as client:
        if as_json:
            print_json(client.job_log(job))
            return
        shown: list[dict[str, Any]] = []
        for _ in client.followed_job(job) if follow else [None]:
            lines = client.job_log(job)["lines"]
            known = shown[-1] if shown else None
            for line in lines[lines.index(known) + 1 if known in lines else 0 :]:
                typer.echo(f"{line['at'] or '':20}  {line['text']}")
            shown = lines


@model_app.command("list")
def list_versions(as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Lists all model versions, the newest first."""
    with reported_errors(), Client(url) as client:
        found = sorted(client.model_versions(), key=lambda one: str(one["created_at"]), reverse=True)
        if as_json:
            print_json(found)
            return
        rows = []
        for one in found:
            decision = one["promotions"][-1]["reason"] if one["promotions"] else None
            aliases = ", ".join(one["aliases"])
            rows.append([one["id"], aliases, one["origin"], one["parent_id"], one["created_at"][:19], _short(decision)])
        print_table(("id", "aliases", "origin", "parent", "created", "last decision"), rows)


@model_app.command("promote")
def promote(
    version: VersionArgument, reason: ReasonOption, as_json: JsonOption = False, url: UrlOption = DEFAULT_URL
) -> None:
    """Makes a version the champion."""
    with reported_errors(), Client(url) as client:
        _say_decision(client.promote(_whole(client, version), reason), as_json)


@model_app.command("rollback")
def roll_back(reason: ReasonOption, as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Makes the champion's predecessor the champion again."""
    with reported_errors(), Client(url) as client:
        _say_decision(client.roll_back(reason), as_json)


@model_app.command("compare")
def compare(
    first: VersionArgument,
    second: VersionArgument,
    task: Annotated[str, typer.Option(help="Name or id of the task.")],
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Compares two versions on a task, and waits for the result."""
    with reported_errors(), Client(url) as client:
        queued = client.compare_versions(task, _whole(client, first), _whole(client, second))
        result = client.finished_job(queued["id"])["result"]
        if as_json:
            print_json(result)
            return
        columns = ("num_pairs", "first", "second", "difference", "standard_error")
        rows = [[name, *(one[column] for column in columns)] for name, one in result["comparison"].items()]
        print_table(("comparison (larger is better)", "pairs", *columns[1:]), rows)


@model_app.command("pin")
def pin(
    task: TaskArgument,
    reason: ReasonOption,
    version: Annotated[str | None, typer.Argument(help="Id of the model version; none with --off.")] = None,
    off: Annotated[bool, typer.Option(help="Let the champion answer again.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Lets a version answer for a task whatever becomes champion."""
    if off == (version is not None):
        raise typer.BadParameter("expected either a model version or --off")
    with reported_errors(), Client(url) as client:
        pinned = client.unpin(task, reason) if version is None else client.pin(task, _whole(client, version), reason)
        if as_json:
            print_json(pinned)
        else:
            typer.echo(
                f"{task} is pinned to {pinned['model_version']}" if version else f"{task} is not pinned any more"
            )


@model_app.command("download")
def download(
    version: VersionArgument,
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The archive to write.")],
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Writes a version into an archive of weights and manifest."""
    with reported_errors(), Client(url) as client:
        whole = _whole(client, version)
        client.download_version(whole, file)
        if as_json:
            print_json({"model_version": whole, "file": str(file), "num_bytes": file.stat().st_size})
        else:
            typer.echo(f"{file}: {file.stat().st_size} bytes")


@model_app.command("upload")
def upload(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An archive of `model download`.")],
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Stores the version of an archive; it answers nobody until it is promoted or a task is pinned to it."""
    with reported_errors(), Client(url) as client:
        stored = client.upload_version(file)
        if as_json:
            print_json(stored)
        else:
            typer.echo(f"model version {stored['id']} is stored")


def _whole(client: Client, version: str) -> str:
    """The whole id of a version that is named by its first digits or an alias."""
    known = list(client.model_versions())
    found = [one["id"] for one in known if one["id"].startswith(version) or version in one["aliases"]]
    if len(found) != 1:
        raise ClientError(
            f"expected an alias or the first digits of one model version, got {version!r} of {len(found)}"
        )
    return str(found[0])


def _say_state(job: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(job)
    else:
        typer.echo(f"job {job['id']} is {job['state']}")


def _say_decision(decision: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(decision)
    else:
        typer.echo(f"champion is {decision['model_version']}, before it was {decision['previous']}")


def _short(value: object) -> object:
    return f"{value[:79]}…" if isinstance(value, str) and len(value) > 80 else value
