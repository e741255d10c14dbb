"""`archcast measure`: a worker that really measures what a task suggests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from app.client import DEFAULT_URL, Client
from app.console import UrlOption, reported_errors
from app.inference.evaluating import RayConfig
from app.measuring.choices import Choices, Kind
from app.measuring.slots import Slot
from app.measuring.worker import Budget, MeasureConfig, MeasuringWorker
from app.shutdown import OrderlyEnd

_FOLDER = Path("var") / "measure"


def measure(
    task: Annotated[str, typer.Option(help="Name or id of the task.")],
    evaluator: Annotated[Kind, typer.Option(help="How architectures are evaluated.")] = "train",
    dataset: Annotated[
        str | None, typer.Option(help="train: digits, photo_regions, a .npz file, or an entry point archcast.datasets.")
    ] = None,
    device: Annotated[str, typer.Option(help="train: auto, cpu, cuda or cuda:1.")] = "auto",
    recipe: Annotated[
        list[str] | None, typer.Option(help="train: such as epochs=10, learning_rate=0.05; may be repeated.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="train: of the network, such as cells_per_stage=1; may be repeated.")
    ] = None,
    latency_batch: Annotated[
        list[int] | None, typer.Option(min=0, help="train: batch sizes to measure latency at; 0: none.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="train: CPU threads while latency is measured.")] = 1,
    table: Annotated[str | None, typer.Option(help="table: JSON with file, architecture, metrics.")] = None,
    command: Annotated[str | None, typer.Option(help="command: what to run; it gets and prints JSON.")] = None,
    webhook: Annotated[str | None, typer.Option(help="webhook: the address that is asked.")] = None,
    timeout_seconds: Annotated[float, typer.Option(min=0.1, help="Of a command or webhook.")] = 3_600.0,
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="Evaluations of each architecture.")] = 1,
    early_stop: Annotated[bool, typer.Option(help="Stop where the service advises it.")] = True,
    also: Annotated[
        list[str] | None, typer.Option(help="Another task that gets its metric of every result; may be repeated.")
    ] = None,
    max_trials: Annotated[int | None, typer.Option(min=1, help="How many trials at most.")] = None,
    once: Annotated[bool, typer.Option(help="End when there is nothing left to measure.")] = False,
    constraint: Annotated[list[str] | None, typer.Option(help="Such as 'latency_ms<=12'; may be repeated.")] = None,
    acquisition: Annotated[str, typer.Option(help="ucb, ei, thompson or mean.")] = "ucb",
    lease_seconds: Annotated[
        float, typer.Option(min=1.0, help="How long a trial waits for a worker that died.")
    ] = 60.0,
    worker_id: Annotated[str | None, typer.Option(help="Instead of the name that the folder keeps.")] = None,
    folder: Annotated[Path, typer.Option(file_okay=False, help="Where the state of trainings is kept.")] = _FOLDER,
    save_seconds: Annotated[float, typer.Option(min=0.0, help="How often that state is kept.")] = 5.0,
    parallel: Annotated[int, typer.Option(min=1, max=1_024, help="Trials at once; with --ray.")] = 1,
    ray: Annotated[str | None, typer.Option(help="Run on Ray: local, auto, or the address of a cluster.")] = None,
    ray_cpus: Annotated[float, typer.Option(min=0.0, help="CPUs of one evaluation on Ray.")] = 1.0,
    ray_gpus: Annotated[float, typer.Option(min=0.0, help="GPUs of one evaluation on Ray.")] = 0.0,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Leases trials of a task, evaluates their architectures for real, and tells the service."""
    if parallel > 1 and ray is None:
        raise typer.BadParameter("expected --ray with --parallel, got none: one process measures one trial at a time")
    if worker_id is not None and parallel > 1:
        raise typer.BadParameter("expected --parallel without --worker-id, got both: every worker needs its own name")
    batches = tuple(one for one in latency_batch or (1, 64) if one)
    choices = Choices(
        evaluator, dataset, device, tuple(recipe or ()), tuple(size or ()), batches, threads, table, command, webhook,
        timeout_seconds, save_seconds, None if ray is None else _ray(ray, ray_cpus, ray_gpus),
    )  # fmt: skip
    members = {"acquisition": acquisition, "constraints": constraint or []}
    config = MeasureConfig(
        task, tuple(range(seeds)), lease_seconds, early_stop, max_trials, once, also=tuple(also or ()), members=members
    )
    with reported_errors():
        count = _measured(url, choices, config, folder, worker_id, parallel)
        typer.echo(f"{count} trials measured")


def _ray(address: str, num_cpus: float, num_gpus: float) -> RayConfig:
    return RayConfig(None if address == "local" else address, num_cpus, num_gpus)


def _measured(
    url: str, choices: Choices, config: MeasureConfig, folder: Path, worker_id: str | None, parallel: int
) -> int:
    stopping = threading.Event()
    OrderlyEnd(stopping.set).install()
    with ExitStack() as kept:
        client = kept.enter_context(Client(url))
        task = client.task(config.task)
        evaluator = choices.evaluator(client.search_space(task["search_space"]))
        slots = [kept.enter_context(Slot(folder, worker_id)) for _ in range(parallel)]
        workers = [MeasuringWorker(client, evaluator, config, slot, stopping, _say) for slot in slots]
        budget = Budget(config.max_trials)
        if parallel == 1:
            return workers[0].run(budget)
        return _at_once(workers, budget, stopping)


def _at_once(workers: list[MeasuringWorker], budget: Budget, stopping: threading.Event) -> int:
    """Every worker in a thread of its own; the first that fails ends all."""

    def run(worker: MeasuringWorker) -> int:
        try:
            return worker.run(budget)
        except Exception:
            stopping.set()
            raise

    with ThreadPoolExecutor(len(workers), "measure") as pool:
        return sum(pool.map(run, workers))


def _say(text: Any) -> None:
    tqdm.write(str(text))
