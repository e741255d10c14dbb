"""`archcast task` and `archcast fine-tune`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer
from tqdm import tqdm

from app.client import DEFAULT_URL, Client, ClientError
from app.console import JsonOption, UrlOption, print_json, print_table, reported_errors

task_app = typer.Typer(help="Create and show tasks.", no_args_is_help=True)
fine_tune_app = typer.Typer(help="Start and follow fine-tunes.", no_args_is_help=True)


@task_app.command("create")
def create_task(
    name: str,
    space: Annotated[str, typer.Option(help="Name of the search space.")],
    dataset: Annotated[str, typer.Option(help="Data set.")],
    metric: Annotated[str, typer.Option(help="What is measured, such as accuracy.")],
    unit: Annotated[str, typer.Option(help="Unit of the metric, such as fraction or ms.")],
    direction: Annotated[Literal["maximize", "minimize"], typer.Option(help="Which way is better.")],
    device: Annotated[str | None, typer.Option(help="What it is measured on.")] = None,
    max_fidelity: Annotated[float | None, typer.Option(help="The fidelity that counts as final.")] = None,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Creates a task."""
    optional = {"device": device, "max_fidelity": max_fidelity}
    with reported_errors(), Client(url) as client:
        measured = {"name": metric, "unit": unit, "direction": direction}
        given = {key: value for key, value in optional.items() if value is not None}
        _show(client.create_task(name, space, dataset, measured, **given), as_json)


@task_app.command("list")
def list_tasks(as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Lists all tasks."""
    with reported_errors(), Client(url) as client:
        found = list(client.tasks())
        if as_json:
            print_json(found)
            return
        titles = ("task", "search space", "data set", "metric", "device", "observations", "adaptation")
        print_table(titles, [list(_row(task).values()) for task in found])


@task_app.command("show")
def show_task(task: str, as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Shows one task."""
    with reported_errors(), Client(url) as client:
        _show(client.task(task), as_json)


def _show(task: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(task)
        return
    rest = {name: task[name] for name in ("id", "project", "max_fidelity", "revision", "created_at")}
    metadata = json.dumps(task["metadata"], ensure_ascii=False) if task["metadata"] else None
    print_table(("what", "value"), list({**_row(task), **rest, "metadata": metadata}.items()))


def _row(task: Mapping[str, Any]) -> dict[str, object]:
    metric, adaptation = task["metric"], task["adaptation"]
    return {
        "task": task["name"],
        "search space": task["search_space"],
        "data set": task["dataset"],
        "metric": f"{metric['name']} in {metric['unit']}, {metric['direction']}",
        "device": task["device"],
        "observations": task["num_observations"],
        "adaptation": "fresh" if adaptation["is_fresh"] else "stale",
    }


@fine_tune_app.command("start")
def start_fine_tune(
    reason: Annotated[str, typer.Option(help="Kept with the job.")] = "asked for",
    setting: Annotated[list[str] | None, typer.Option(help="Such as num_steps=100; may be repeated.")] = None,
    follow: Annotated[bool, typer.Option(help="Wait for the end and show how far it is.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Starts a fine-tune."""
    with reported_errors(), Client(url) as client:
        started = client.start_fine_tune(reason, dict(_setting(text) for text in setting or []))
        if not as_json:
            typer.echo(f"fine-tune {started['id']} is {started['state']}")
        elif not follow:
            print_json(started)
        if follow:
            _follow(client, started["id"], as_json)


@fine_tune_app.command("follow")
def follow_fine_tune(fine_tune_id: int, as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Waits for the end of a fine-tune and shows how far it is."""
    with reported_errors(), Client(url) as client:
        _follow(client, fine_tune_id, as_json)


@fine_tune_app.command("list")
def list_fine_tunes(as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Lists all fine-tunes, the newest first."""
    with reported_errors(), Client(url) as client:
        found = list(client.fine_tunes())
        if as_json:
            print_json(found)
            return
        rows = [[one["id"], one["state"], one["percent"], one["decision"] or one["reason"]] for one in found]
        print_table(("id", "state", "percent", "decision or reason"), rows)


def _follow(client: Client, fine_tune_id: int, as_json: bool) -> None:
    with tqdm(total=100.0, unit="%", bar_format="{l_bar}{bar}| {desc}", disable=None) as bar:
        for document in client.followed_fine_tune(fine_tune_id):
            bar.n = document["percent"]
            bar.set_description_str(document["stage"] or document["state"])
    if document["state"] != "done":
        raise ClientError(
            f"fine-tune {fine_tune_id} {document['state']}: {document['error'] or 'it was asked to stop'}"
        )
    if as_json:
        print_json(document)
        return
    verdict = "promoted" if document["is_promoted"] else "not promoted"
    typer.echo(f"model version {document['model_version']}: {verdict} ({document['decision']})")


def _setting(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise typer.BadParameter(f"expected name=value, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
