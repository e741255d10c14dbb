"""The `archcast` command. Exit codes: 0 done, 1 refused or failed (the reason is on stderr), 2 wrong usage."""

from __future__ import annotations

import json
import math
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import uvicorn
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from tqdm import tqdm

from app import banner, logs, memory, migration, observation_files, queue, worker
from app.client import DEFAULT_URL, Client, ClientError
from app.database import Database
from app.errors import AppError
from app.main import create_app
from app.metrics.registry import serve_worker
from app.model_versions import service as model_versions
from app.observations import intake
from app.observations import service as observations
from app.observations.schemas import ObservationBatch
from app.settings import Settings
from app.shutdown import OrderlyEnd
from app.tasks import service as tasks
from app.validation import error_items, invalid_content
from app.worker import ChildProcess

app = typer.Typer(help="Forecasts neural architectures before they are trained.", no_args_is_help=True)
task_app = typer.Typer(help="Create and show tasks.", no_args_is_help=True)
fine_tune_app = typer.Typer(help="Start and follow fine-tunes.", no_args_is_help=True)
app.add_typer(task_app, name="task")
app.add_typer(fine_tune_app, name="fine-tune")

UrlOption = Annotated[str, typer.Option(envvar="ARCHCAST_URL", help="Where the service is.")]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on.")] = None,
) -> None:
    """Runs the service and, unless ARCHCAST_EMBEDDED_WORKER=false, a worker beside it."""
    memory.give_back_freed_memory()
    with _reported_errors():
        given: dict[str, Any] = {"host": host, "port": port}
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        logs.configure(settings)
        service = create_app(settings, migrate=True, say=_say)
        config = uvicorn.Config(
            service,
            settings.host,
            settings.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
        )
        beside: list[ChildProcess] = []

        def end() -> None:
            service.state.ending.set()
            for process in beside:
                process.ask_to_stop()

        def announce(url: str) -> None:
            _say(banner.banner(url, has_example=tasks.exists(service.state.database, banner.EXAMPLE_TASK)))
            if settings.embedded_worker:  # not before: two processes that load PyTorch at once keep each other waiting
                beside.append(ChildProcess(["worker"], settings))

        server = banner.AnnouncingServer(config, announce, end, settings.shutdown_delay_seconds)
        server.end.install()  # for what comes before and after the server has the signals for itself
        try:
            server.run()
        finally:
            for process in beside:
                process.stop()


def _say(text: str) -> None:
    print(text, flush=True)  # at once, also where the output is no terminal


@app.command("worker")
def work(
    kinds: Annotated[list[str] | None, typer.Option(help="adapt, fine_tune; leave out for all.")] = None,
    once: Annotated[bool, typer.Option(help="Run what is due, then end.")] = False,
    until_stdin_closes: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Runs queued work: adaptations and fine-tunes."""
    memory.give_back_freed_memory()
    with _reported_errors():
        settings = Settings()
        logs.configure(settings)
        wanted = kinds or list(queue.KINDS)
        unknown = sorted(set(wanted) - set(queue.KINDS))
        if unknown:
            raise typer.BadParameter(f"expected kinds among {', '.join(queue.KINDS)}, got {unknown[0]!r}")
        stopping = threading.Event()
        OrderlyEnd(stopping.set).install()
        if until_stdin_closes:
            worker.stop_when_closed(sys.stdin.fileno(), stopping)
        database = Database(settings.database_url)
        migration.upgrade(database)
        model_versions.register_shipped(database)
        if not (once or until_stdin_closes):
            serve_worker(settings)
        worker.run(settings, database, wanted, once, stopping)
        database.close()


@app.command("import")
def import_file(
    task: Annotated[str, typer.Argument(help="Name or id of the task.")],
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A .csv, .jsonl or .parquet file.")],
    url: UrlOption = DEFAULT_URL,
    direct: Annotated[bool, typer.Option(help="Write into the database of the settings, without a service.")] = False,
) -> None:
    """Imports a file of observations into a task."""
    with _reported_errors():
        batches = observation_files.batches(observation_files.read(file))
        num_created = num_duplicates = 0
        replies = _recorded_directly(task, batches) if direct else _posted(url, task, batches)
        for reply in tqdm(replies, unit=" batches", disable=None):
            num_created += reply["num_created"]
            num_duplicates += reply["num_duplicates"]
    typer.echo(f"{num_created} observations recorded, {num_duplicates} were there before")


def _posted(url: str, task: str, batches: Iterator[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    with Client(url) as client:
        for batch in batches:
            yield client.post_observations(task, batch)


def _recorded_directly(task: str, batches: Iterator[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    with closing(Database(Settings().database_url)) as database:
        migration.upgrade(database)
        for batch in batches:
            body = _checked(batch)
            with database.read() as session:
                taken = intake.take(session, task, body, len(batch))
            drafts = taken.read()
            with database.write() as session:
                posted = observations.record(session, taken, drafts)
            yield {"num_created": posted.num_created, "num_duplicates": posted.num_duplicates}


def _checked(batch: list[dict[str, Any]]) -> ObservationBatch:
    try:
        return ObservationBatch.model_validate({"observations": batch})
    except ValidationError as error:
        raise invalid_content(error_items(error.errors())) from error


@app.command()
def predict(
    task: Annotated[str, typer.Argument(help="Name or id of the task.")],
    architectures: Annotated[list[str] | None, typer.Argument(help="Leave out to read lines from stdin.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")] = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Forecasts architectures, the best first."""
    with _reported_errors(), Client(url) as client:
        lines = architectures or [line.strip() for line in sys.stdin if line.strip()]
        answer = client.predict(task, [_notation(line) for line in lines])
        if as_json:
            _print_json(answer)
            return
        good = sorted((one for one in answer["predictions"] if one["rank"]), key=lambda one: one["rank"])
        for one in good:
            interval = f"[{one['lower']:.6g}, {one['upper']:.6g}]"
            typer.echo(f"{one['rank']:>5}  {one['mean']:.6g} ± {one['std']:.3g} {interval}  {one['genotype']}")
        bad = [one for one in answer["predictions"] if "error" in one]
        for one in bad:
            typer.echo(f"line {one['index'] + 1}: {one['error']['detail']}", err=True)
        if bad:
            raise typer.Exit(1)


@app.command()
def ask(
    task: Annotated[str, typer.Argument(help="Name or id of the task.")],
    worker_id: Annotated[str, typer.Option(help="Your name for whoever measures; asking again answers what it has.")],
    count: Annotated[int, typer.Option(min=1, help="How many trials at most.")] = 1,
    lease_seconds: Annotated[float, typer.Option(help="How long they are yours without a heartbeat.")] = 3600.0,
    acquisition: Annotated[str, typer.Option(help="ucb, ei, thompson or mean.")] = "ucb",
    constraint: Annotated[list[str] | None, typer.Option(help="Such as 'latency_ms<=12'; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")] = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Asks what to measure next, and takes it under a lease."""
    with _reported_errors(), Client(url) as client:
        members = {"lease_seconds": lease_seconds, "acquisition": acquisition, "constraints": constraint or []}
        answer = client.suggest_trials(task, worker_id, count, **members)
        if as_json:
            _print_json(answer)
            return
        for one in answer["trials"]:
            typer.echo(f"{one['id']}  {one['genotype']}  --token {one['lease_token']}")
        if not answer["trials"]:
            raise ClientError(f"expected something to measure in task {task!r}, got nothing: all of it is tried or out")


@app.command()
def tell(
    task: Annotated[str, typer.Argument(help="Name or id of the task.")],
    trial: Annotated[int, typer.Argument(help="Id of the trial.")],
    value: Annotated[float, typer.Argument(help="What was measured, in the metric's unit.")],
    token: Annotated[str, typer.Option(help="The token that came with the trial.")],
    fidelity: Annotated[
        float | None, typer.Option(help="Training budget behind it; leave out for the full one.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Tells repeated measurements apart.")] = None,
    cost: Annotated[float | None, typer.Option(help="What it took, in a unit of your own.")] = None,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Completes a trial with what was measured."""
    with _reported_errors(), Client(url) as client:
        observation = {"value": value, "fidelity": fidelity, "seed": seed, "cost": cost}
        told = client.complete(task, trial, token, [observation])
        typer.echo(f"trial {told['id']} is {told['state']}")


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
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Creates a task."""
    optional = {"device": device, "max_fidelity": max_fidelity}
    with _reported_errors(), Client(url) as client:
        measured = {"name": metric, "unit": unit, "direction": direction}
        given = {key: value for key, value in optional.items() if value is not None}
        _print_json(client.create_task(name, space, dataset, measured, **given))


@task_app.command("list")
def list_tasks(url: UrlOption = DEFAULT_URL) -> None:
    """Lists all tasks."""
    with _reported_errors(), Client(url) as client:
        for task in client.tasks():
            state = "fresh" if task["adaptation"]["is_fresh"] else "stale"
            metric = task["metric"]["name"]
            typer.echo(
                f"{task['name']}  {task['search_space']}/{task['dataset']}/{metric}  "
                f"{task['num_observations']} observations, {state}"
            )


@task_app.command("show")
def show_task(task: str, url: UrlOption = DEFAULT_URL) -> None:
    """Shows one task."""
    with _reported_errors(), Client(url) as client:
        _print_json(client.task(task))


@fine_tune_app.command("start")
def start_fine_tune(
    reason: Annotated[str, typer.Option(help="Kept with the job.")] = "asked for",
    setting: Annotated[list[str] | None, typer.Option(help="Such as num_steps=100; may be repeated.")] = None,
    follow: Annotated[bool, typer.Option(help="Wait for the end and show how far it is.")] = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Starts a fine-tune."""
    with _reported_errors(), Client(url) as client:
        started = client.start_fine_tune(reason, dict(_setting(text) for text in setting or []))
        typer.echo(f"fine-tune {started['id']} is {started['state']}")
        if follow:
            _follow(client, started["id"])


@fine_tune_app.command("follow")
def follow_fine_tune(fine_tune_id: int, url: UrlOption = DEFAULT_URL) -> None:
    """Waits for the end of a fine-tune and shows how far it is."""
    with _reported_errors(), Client(url) as client:
        _follow(client, fine_tune_id)


@fine_tune_app.command("list")
def list_fine_tunes(url: UrlOption = DEFAULT_URL) -> None:
    """Lists all fine-tunes, the newest first."""
    with _reported_errors(), Client(url) as client:
        for one in client.fine_tunes():
            typer.echo(f"{one['id']}  {one['state']} {one['percent']:.0f} %  {one['decision'] or one['reason']}")


def _follow(client: Client, fine_tune_id: int) -> None:
    with tqdm(total=100.0, unit="%", bar_format="{l_bar}{bar}| {desc}", disable=None) as bar:
        for document in client.followed_fine_tune(fine_tune_id):
            bar.n = document["percent"]
            bar.set_description_str(document["stage"] or document["state"])
    if document["state"] != "done":
        raise ClientError(
            f"fine-tune {fine_tune_id} {document['state']}: {document['error'] or 'it was asked to stop'}"
        )
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


def _notation(line: str) -> Any:
    if line[:1] not in ("{", "["):
        return line
    try:
        return json.loads(line)
    except ValueError:
        return line


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@contextmanager
def _reported_errors() -> Iterator[None]:
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


def main() -> None:
    """The entry point of `archcast`."""
    app()


if __name__ == "__main__":
    main()
