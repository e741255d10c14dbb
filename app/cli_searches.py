"""`archcast search`."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from app.client import DEFAULT_URL, Client, ClientError
from app.console import JsonOption, UrlOption, named_value, print_json, print_table, reported_errors

search_app = typer.Typer(help="Start and follow architecture searches.", no_args_is_help=True)

SearchArgument = Annotated[int, typer.Argument(help="Id of the search.")]
_COLUMNS = ("id", "state", "percent", "strategy", "mode", "num_evaluated", "best_value")


@search_app.command("strategies")
def list_strategies(as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Lists all strategies."""
    with reported_errors(), Client(url) as client:
        answer = client.search_strategies()
        if as_json:
            print_json(answer)
            return
        rows = [
            [
                one["name"],
                "several" if one["takes_several_objectives"] else "one",
                "yes" if one["needs_forecasts"] else "no",
                one["description"],
            ]
            for one in answer["items"]
        ]
        print_table(("name", "objectives", "needs forecasts", "what it does"), rows)


@search_app.command("start")
def start(
    task: Annotated[list[str], typer.Option(help="Name or id of a task; may be repeated, for several objectives.")],
    strategy: Annotated[str, typer.Option(help="One of `archcast search strategies`.")],
    evaluations: Annotated[int | None, typer.Option(min=1, help="End after so many evaluations.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so much time.")] = None,
    mode: Annotated[
        Literal["measured", "forecast", "guided"] | None,
        typer.Option(help="What the strategy hears of; left out: guided, and with darts measured."),
    ] = None,
    evaluator: Annotated[
        Literal["trials", "table", "forecast", "supernet"] | None,
        typer.Option(help="Where values come from; as mode and strategy say."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(help="Such as population=20, or with darts dataset=digits; may be repeated."),
    ] = None,
    constraint: Annotated[list[str] | None, typer.Option(help="Such as 'latency_ms<=12'; may be repeated.")] = None,
    begin: Annotated[list[str] | None, typer.Option(help="An architecture to begin with; may be repeated.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="How many evaluations are out at once.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Leave out for a new one.")] = None,
    description: Annotated[str, typer.Option(help="Kept with the search.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Show what happens until it has ended.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Starts a search."""
    with reported_errors(), Client(url) as client:
        started = client.create_search(
            task,
            strategy,
            evaluations,
            seconds,
            mode=mode,
            evaluator=evaluator,
            settings=dict(named_value(text) for text in setting or []),
            constraints=constraint or [],
            start=begin or [],
            parallel=parallel,
            seed=seed,
            description=description,
        )
        if follow:
            _follow(client, started["id"], None, as_json=as_json)
        elif as_json:
            print_json(started)
        else:
            typer.echo(f"search {started['id']} is {started['state']}, with the seed {started['seed']}")


@search_app.command("list")
def list_searches(
    state: Annotated[
        str | None, typer.Option(help="queued, running, waiting, paused, done, failed or cancelled.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only those for this task.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most searches to list.")] = 20,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Lists searches, the newest first."""
    wanted = {name: value for name, value in {"state": state, "task": task}.items() if value is not None}
    with reported_errors(), Client(url) as client:
        found = list(islice(client.searches(**wanted), limit))
        if as_json:
            print_json(found)
            return
        rows = [[*(one[name] for name in _COLUMNS), ", ".join(one["tasks"])] for one in found]
        print_table((*_COLUMNS[:-2], "evaluated", "best", "tasks"), rows)


@search_app.command("show")
def show(search: SearchArgument, as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Shows how far a search is, and the best so far."""
    with reported_errors(), Client(url) as client:
        document = client.search(search)
        if as_json:
            print_json(document)
        else:
            _say(document)


@search_app.command("follow")
def follow(
    search: SearchArgument,
    after: Annotated[str | None, typer.Option(help="Only what happened after the event of this id.")] = None,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Shows what happens in a search until it has ended."""
    with reported_errors(), Client(url) as client:
        _follow(client, search, after, as_json=as_json)


@search_app.command("pause")
def pause(search: SearchArgument, as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Lets a search do nothing until it is resumed."""
    with reported_errors(), Client(url) as client:
        _say_state(client.pause_search(search), as_json)


@search_app.command("resume")
def resume(search: SearchArgument, as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Lets a paused search go on."""
    with reported_errors(), Client(url) as client:
        _say_state(client.resume_search(search), as_json)


@search_app.command("cancel")
def cancel(search: SearchArgument, as_json: JsonOption = False, url: UrlOption = DEFAULT_URL) -> None:
    """Ends a search; what it found stays."""
    with reported_errors(), Client(url) as client:
        _say_state(client.cancel_search(search), as_json)


@search_app.command("best")
def best(
    search: SearchArgument,
    form: Annotated[
        Literal["genotype", "dag", "pytorch"], typer.Option("--format", help="How it is written.")
    ] = "genotype",
    image: Annotated[str, typer.Option(help="For pytorch: channels, height and width of the images.")] = "3x32x32",
    classes: Annotated[int, typer.Option(min=2, help="For pytorch: how many classes there are.")] = 10,
    out: Annotated[Path | None, typer.Option(dir_okay=False, help="Write it into this file.")] = None,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Exports the best architecture so far."""
    with reported_errors(), Client(url) as client:
        answer = client.search_best(search, form, image=image, classes=classes)
        text = json.dumps(answer["dag"], indent=2) if form == "dag" else answer[form]
        if out is not None:
            out.write_text(f"{text.rstrip()}\n", encoding="utf-8")
        if as_json:
            print_json(answer)
        elif out is None:
            typer.echo(text)
        else:
            worth = f" with {_numbers(answer['values'])}" if answer["values"] else ""
            typer.echo(f"evaluation {answer['number']}{worth} written to {out}")


@search_app.command("pareto")
def pareto(
    search: SearchArgument,
    reference: Annotated[
        list[float] | None, typer.Option(help="What the hypervolume is measured from: once for each objective.")
    ] = None,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Shows what no other of a search's evaluations beats in all objectives."""
    with reported_errors(), Client(url) as client:
        answer = client.search_pareto(search, reference or None)
        if as_json:
            print_json(answer)
            return
        titles = [f"{one['task']} [{one['unit']}, {one['direction']}]" for one in answer["objectives"]]
        rows: list[list[Any]] = [
            [one["number"], *one["values"], one["genotype"] or one["architecture_id"]] for one in answer["items"]
        ]
        print_table(("number", *titles, "architecture"), rows)
        if answer["reference"] is not None:
            volume, from_ = answer["hypervolume"], _numbers(answer["reference"])
            typer.echo(f"{len(rows)} of {answer['num_compared']}; hypervolume {volume:.5g} of {from_}")


def _follow(client: Client, search_id: int, after: str | None, *, as_json: bool) -> None:
    for event in client.search_events(search_id, after):
        if as_json:
            typer.echo(json.dumps(event))
        elif event["event"] != "improved":
            typer.echo(_line(event))
    document = client.search(search_id)
    if not as_json:
        _say(document)
    if document["state"] == "failed":
        raise ClientError(f"search {search_id} failed: {document['error']}")


def _line(event: dict[str, Any]) -> str:
    kind, data = event["event"], event["data"]
    if kind == "epoch":
        accuracies = (data.get("validation_accuracy_percent"), data.get("accuracy_percent"))
        reached = "".join(f", {one:.2f} % right" for one in accuracies if one is not None)
        done = f"epoch {data['epoch']} of {data['num_epochs']}"
        return f"{data['percent']:>5.1f}%  {data['stage']}, {done}: loss {data['train_loss']:.4g}{reached}  {data['genotype']}"
    if kind == "proposed":
        return f"{data['number']:>6}  proposed   {data['genotype']}  ({data['origin']})"
    if kind == "evaluated":
        values = f"no value: {data['reason']}" if data["values"] is None else _numbers(data["values"])
        broken = f"  (constraints broken by {data['violation']:.3g})" if data["violation"] else ""
        return f"{data['number']:>6}  {values:<9}  {data['genotype']}{broken}"
    return f"        {kind}" if kind != "end" else f"        {data['state']}"


def _say(document: dict[str, Any]) -> None:
    budget = document["budget"]
    ends = [f"{budget['evaluations']} evaluations"] if budget["evaluations"] is not None else []
    ends += [f"{budget['seconds']:g} s"] if budget["seconds"] is not None else []
    stage = document["ending"] or document["error"] or document["stage"]
    typer.echo(f"search {document['id']} is {document['state']}: {stage or 'not begun'}")
    typer.echo(f"{document['strategy']}, {document['mode']}, by {document['evaluator']}, of {' or '.join(ends)}")
    typer.echo(f"{document['num_evaluated']} evaluated, {document['num_failed']} of them without a value")
    best = document["best"]
    if best is not None:
        units = ", ".join(f"{one['task']} [{one['unit']}]" for one in document["objectives"])
        worth = "found" if best["values"] is None else f"best {_numbers(best['values'])} of {units}"
        typer.echo(f"{worth}, evaluation {best['number']}: {best['genotype']}")


def _say_state(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        typer.echo(f"search {document['id']} is {document['state']}")


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.5g}" for value in values)
