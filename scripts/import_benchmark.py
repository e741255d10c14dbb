"""Posts a published table's tasks and observations to a running service.

    python scripts/import_benchmark.py --table nb201_accuracy --folder DIR --url http://127.0.0.1:8000

Tasks that the service has already stay as they are, and so do observations, since each carries a key of its own: an import
that was interrupted can be started again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from tqdm import tqdm

from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.registry import benchmarks, read_all

MAX_BATCH = 5_000
_TIMEOUT_SECONDS = 300.0


def service_name(task: BenchmarkTask) -> str:
    """The task's name as one part of a URL."""
    return task.task.name.replace("/", ".")


def task_document(task: BenchmarkTask) -> dict[str, Any]:
    """The body of `POST /v1/tasks`."""
    metric = task.task.metric
    return {
        "name": service_name(task),
        "search_space": task.task.search_space,
        "dataset": task.task.dataset,
        "metric": {"name": metric.name, "unit": metric.unit, "direction": metric.direction},
        "device": task.task.device,
        "max_fidelity": task.max_fidelity,
        "metadata": {"benchmark": task.group},
    }


def observation_batches(task: BenchmarkTask, size: int = MAX_BATCH) -> Iterator[list[dict[str, Any]]]:
    """Bodies of `POST /v1/tasks/{task}/observations`, in the table's order."""
    for start in range(0, len(task), size):
        yield [
            {
                "architecture": task.notations[place],
                "value": float(task.values[place]),
                "client_key": f"{task.group}/{task.rows[place]}",
            }
            for place in range(start, min(start + size, len(task)))
        ]


def import_tasks(client: httpx.Client, tasks: Sequence[BenchmarkTask], show_progress: bool = True) -> int:
    """Posts tasks and observations; returns how many observations were posted.

    Raises:
        httpx.HTTPStatusError: if the service refuses something; what it answered is in the message.
    """
    with tqdm(total=sum(map(len, tasks)), unit=" observations", disable=not show_progress) as progress:
        for task in tasks:
            progress.set_description(service_name(task))
            if task.definition is not None:
                document = {"name": task.space.name, "definition": task.definition}
                _post(client, "/v1/search-spaces", document, may_exist=True)
            _post(client, "/v1/tasks", task_document(task), may_exist=True)
            for batch in observation_batches(task):
                _post(client, f"/v1/tasks/{service_name(task)}/observations", {"observations": batch})
                progress.update(len(batch))
    return sum(map(len, tasks))


def _post(client: httpx.Client, path: str, body: Mapping[str, Any], may_exist: bool = False) -> None:
    response = client.post(path, json=body)
    if may_exist and response.status_code == httpx.codes.CONFLICT:
        return
    if response.is_error:
        raise httpx.HTTPStatusError(
            f"POST {path} was answered with {response.status_code}: {response.text[:1000]}",
            request=response.request,
            response=response,
        )


def chosen_tasks(tasks: Sequence[BenchmarkTask], names: Sequence[str] | None) -> list[BenchmarkTask]:
    """The named tasks, by the library's name or the service's; all without names."""
    if names is None:
        return list(tasks)
    known = {name: task for task in tasks for name in (task.task.name, service_name(task))}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"expected tasks among {', '.join(map(service_name, tasks))}, got {', '.join(unknown)}")
    return [known[name] for name in names]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", required=True, choices=tuple(benchmarks()))
    parser.add_argument("--folder", type=Path, help="where the published table lies; not needed for measured_cells")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--tasks", nargs="+", help="only these tasks of the table")
    parser.add_argument("--limit", type=int, help="at most so many architectures a task, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    options = parser.parse_args(arguments)
    tasks = chosen_tasks(read_all(options.folder, [options.table], options.limit, options.seed), options.tasks)
    with httpx.Client(base_url=options.url, timeout=_TIMEOUT_SECONDS) as client:
        posted = import_tasks(client, tasks)
    print(f"{len(tasks)} tasks, {posted} observations")


if __name__ == "__main__":
    main()
