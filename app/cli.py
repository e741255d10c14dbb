"""The `archcast` command. Exit codes: 0 done, 1 refused or failed (the reason is on stderr), 2 wrong usage."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from pydantic import ValidationError
from tqdm import tqdm

from app import banner, logs, memory, migration, observation_files, queue, worker
from app.access import audit
from app.access.callers import SYSTEM
from app.cli_access import key_app, project_app, show_audit
from app.cli_care import back_up, examine, restore
from app.cli_data import best, export, import_export, pareto
from app.cli_explanations import explain
from app.cli_measure import measure
from app.cli_operations import jobs_app, model_app
from app.cli_searches import search_app
from app.cli_tasks import fine_tune_app, task_app
from app.client import DEFAULT_URL, Client, ClientError
from app.client_calls import API_KEY_VARIABLE
from app.console import JsonOption, UrlOption, notation, print_json, reported_errors
from app.database import Database
from app.formats.conversion import dag_document
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

_KEEP_ALIVE_SECONDS = (
    75  # longer than clients keep idle connections, so that none of them is closed while it is being used again
)

app = typer.Typer(help="Forecasts neural architectures before they are trained.", no_args_is_help=True)
app.add_typer(task_app, name="task")
app.add_typer(fine_tune_app, name="fine-tune")
app.add_typer(key_app, name="key")
app.add_typer(project_app, name="project")
app.command("audit")(show_audit)
app.add_typer(jobs_app, name="jobs")
app.add_typer(model_app, name="model")
app.add_typer(search_app, name="search")
app.command("best")(best)
app.command("pareto")(pareto)
app.command("export")(export)
app.command("measure")(measure)
app.command("explain")(explain)
app.command("doctor")(examine)
app.command("backup")(back_up)
app.command("restore")(restore)


@app.callback()
def with_key(
    api_key: Annotated[
        str | None,
        typer.Option(help="Key of the service; better in ARCHCAST_API_KEY, since others see what a command was given."),
    ] = None,
) -> None:
    """Forecasts neural architectures before they are trained."""
    if api_key is not None:
        os.environ[API_KEY_VARIABLE] = api_key  # where every client of this process looks


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on.")] = None,
) -> None:
    """Runs the service and, unless ARCHCAST_EMBEDDED_WORKER=false, a worker beside it."""
    memory.give_back_freed_memory()
    with reported_errors():
        given: dict[str, Any] = {"host": host, "port": port}
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        queue.limits(settings.job_limits)  # what the worker would refuse is refused here, where somebody sees it
        logs.configure(settings)
        service = create_app(settings, migrate=True, say=_say)
        config = uvicorn.Config(
            service,
            settings.host,
            settings.port,
            log_config=None,
            access_log=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
        )
        beside: list[ChildProcess] = []

        def end() -> None:
            service.state.ending.set()
            for process in beside:
                process.ask_to_stop()

        def announce(url: str) -> None:
            has_example = tasks.exists(service.state.database, banner.EXAMPLE_TASK)
            _say(banner.banner(url, has_example, settings.needs_keys))
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
    kinds: Annotated[list[str] | None, typer.Option(help="Such as adapt and fine_tune; leave out for all.")] = None,
    once: Annotated[bool, typer.Option(help="Run what is due, then end.")] = False,
    linger_seconds: Annotated[float, typer.Option(min=0.0, help="With --once: how long to wait for more.")] = 0.0,
    until_stdin_closes: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Runs queued work: adaptations, fine-tunes, bulk forecasts, imports, comparisons and searches."""
    memory.give_back_freed_memory()
    with reported_errors():
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
        worker.run(settings, database, wanted, once, stopping, linger_seconds)
        database.close()


@app.command()
def score(
    task: Annotated[str, typer.Argument(help="Name or id of the task.")],
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="A .csv, .jsonl or .parquet file with architectures.")
    ],
    out: Annotated[Path, typer.Argument(dir_okay=False, help="The .csv or .parquet file to write.")],
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Forecasts up to a million architectures of a file, as a job."""
    with reported_errors(), Client(url) as client:
        queued = client.score_file(task, file)
        result = client.finished_job(queued["id"])["result"]
        client.download_result(queued["id"], out)
        if as_json:
            print_json(result)
            return
        typer.echo(
            f"{result['num_architectures']} architectures forecast, {result['num_refused']} of them refused: {out}"
        )


@app.command("import")
def import_file(
    task: Annotated[str, typer.Argument(help="Name or id of the task; or only a file that `archcast export` wrote.")],
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="A .csv, .jsonl or .parquet file.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Another name for a task that was exported.")] = None,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
    direct: Annotated[bool, typer.Option(help="Write into the database of the settings, without a service.")] = False,
    as_job: Annotated[bool, typer.Option(help="Let a worker of the service do it: all rows or none.")] = False,
) -> None:
    """Imports a file of observations into a task, or a whole task that was exported. Again is harmless."""
    if direct and as_job:
        raise typer.BadParameter("expected --direct or --as-job, got both")
    if file is None and (direct or as_job):
        raise typer.BadParameter("expected a task and a file with --direct or --as-job, got a file alone")
    if file is not None and name is not None:
        raise typer.BadParameter("expected --name with an exported task alone, got a task and a file")
    with reported_errors():
        if file is None:
            import_export(Path(task), name, url, as_json=as_json)
        elif as_job:
            with Client(url) as client:
                counts = client.finished_job(client.import_file(task, file)["id"])["result"]
            _say_imported(task, counts["num_created"], counts["num_duplicates"], as_json=as_json)
        else:
            _import_rows(task, file, url, is_direct=direct, as_json=as_json)


def _import_rows(task: str, file: Path, url: str, *, is_direct: bool, as_json: bool) -> None:
    batches = observation_files.batches(observation_files.read(file))
    num_created = num_duplicates = 0
    replies = _recorded_directly(task, batches) if is_direct else _posted(url, task, batches)
    for reply in tqdm(replies, unit=" batches", disable=None):
        num_created += reply["num_created"]
        num_duplicates += reply["num_duplicates"]
    _say_imported(task, num_created, num_duplicates, as_json=as_json)


def _say_imported(task: str, num_created: int, num_duplicates: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"task": task, "num_created": num_created, "num_duplicates": num_duplicates})
    else:
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
            audit.begin(audit.Draft(SYSTEM, "post_observations", "archcast import --direct"))
            with database.write() as session:
                posted = observations.record(session, taken, drafts)
                audit.write_draft(session)
            audit.begin(None)
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
    onnx: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="An ONNX file; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")] = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Forecasts architectures, the best first."""
    with reported_errors(), Client(url) as client:
        lines = architectures or ([] if onnx else [line.strip() for line in sys.stdin if line.strip()])
        answer = client.predict(task, [*map(notation, lines), *(onnx or [])])
        if as_json:
            print_json(answer)
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
def convert(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="An ONNX file.")],
) -> None:
    """Prints the DAG document of the network in an ONNX file."""
    with reported_errors():
        print_json(dag_document(file))


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
    with reported_errors(), Client(url) as client:
        members = {"lease_seconds": lease_seconds, "acquisition": acquisition, "constraints": constraint or []}
        answer = client.suggest_trials(task, worker_id, count, **members)
        if as_json:
            print_json(answer)
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
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Completes a trial with what was measured."""
    with reported_errors(), Client(url) as client:
        observation = {"value": value, "fidelity": fidelity, "seed": seed, "cost": cost}
        told = client.complete(task, trial, token, [observation])
        if as_json:
            print_json(told)
        else:
            typer.echo(f"trial {told['id']} is {told['state']}")


def main() -> None:
    """The entry point of `archcast`."""
    app()


if __name__ == "__main__":
    main()
