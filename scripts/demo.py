"""The closed loop over HTTP, on a task that took no part in meta-training.

Ten random architectures are measured and posted; then rounds of `candidates` -> measured -> posted, until the budget is spent;
beside it random search with the same first ten and the same budget. Kendall τ of the forecasts on a fixed test set is taken
after every round, over several seeds. At the end a fine-tune is posted and the new version's figures are shown.

    python scripts/demo.py                             really trains NAS-Bench-201 cells on scikit-learn's digits
    python scripts/demo.py --tables ../shared/data     looks CIFAR-100 accuracies up in the published table instead

Starts a service of its own on an empty database, unless --url names one. Trainings are kept in a journal, so that a run that
was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import matplotlib as mpl
import numpy as np
import torch
from tqdm import tqdm

from app.client import Client
from predictor.benchmarks.measured_cells import shipped_tasks
from predictor.benchmarks.registry import read_all
from predictor.evaluate.datasets import IMAGE_DATASETS
from predictor.evaluate.training import TrainingConfig, train_and_measure
from predictor.scoring import kendall_tau
from predictor.search_spaces.nasbench201 import NASBench201, edge_operations

mpl.use("Agg")
from matplotlib import pyplot as plt

SPACE = NASBench201()


class Evaluator(ABC):
    """Measures a cell, and knows a fixed test set of measured ones."""

    dataset: str
    test_cells: list[str]
    test_values: list[float]

    @abstractmethod
    def measure(self, cell: str, seed: int) -> float:
        """Accuracy in percent."""


class RealTraining(Evaluator):
    """Really trains; each result is appended to a journal and never computed twice."""

    def __init__(self, dataset: str, epochs: int, journal: Path, num_test: int) -> None:
        self.dataset = dataset
        self._images = IMAGE_DATASETS[dataset]()
        self._config = TrainingConfig(fidelities=(epochs,), latency_repeats=1)
        self._journal = journal
        journal.parent.mkdir(parents=True, exist_ok=True)
        self._known: dict[tuple[str, int, int], float] = {}
        for line in journal.read_text().splitlines() if journal.exists() else ():
            row = json.loads(line)
            self._known[row["cell"], row["seed"], row["epochs"]] = row["accuracy"]
        self.test_cells, self.test_values = _shipped_test_set(dataset, num_test)

    def measure(self, cell: str, seed: int) -> float:
        key = (cell, seed, self._config.fidelities[-1])
        if key not in self._known:
            measured = train_and_measure(edge_operations(cell), self._images, seed, self._config)
            self._known[key] = measured.accuracy_percent[-1]
            with self._journal.open("a") as file:
                row = {"cell": cell, "seed": seed, "epochs": key[2], "accuracy": self._known[key]}
                file.write(json.dumps(row) + "\n")
        return self._known[key]


def _shipped_test_set(dataset: str, count: int) -> tuple[list[str], list[float]]:
    """Cells of the shipped benchmark at full fidelity, those with most seeds first, averaged over seeds."""
    one = next(t for t in shipped_tasks() if t.task.dataset == dataset and t.task.metric.name == "accuracy")
    values: dict[str, list[float]] = {}
    for cell, value, fidelity in zip(one.cells, one.values, one.fidelities, strict=True):
        if fidelity == one.max_fidelity:
            values.setdefault(cell, []).append(value)
    cells = sorted(values, key=lambda cell: (-len(values[cell]), cell))[:count]
    return cells, [float(np.mean(values[cell])) for cell in cells]


class TableLookup(Evaluator):
    """Looks measured values up in a published table."""

    def __init__(self, folder: Path, num_test: int) -> None:
        self.dataset = "cifar100"
        task = next(t for t in read_all(folder, names=["nb201_accuracy"]) if t.task.dataset == "cifar100")
        self._values = dict(zip(task.notations, map(float, task.values), strict=True))
        chosen = np.random.default_rng(99).permutation(len(task.notations))[:num_test]
        self.test_cells = [task.notations[row] for row in chosen]
        self.test_values = [self._values[cell] for cell in self.test_cells]

    def measure(self, cell: str, seed: int) -> float:
        return self._values[cell]


@dataclass
class Run:
    """What one seed saw: values in the order measured, and τ after each round."""

    ours: list[float] = field(default_factory=list)
    random: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    taus: list[float] = field(default_factory=list)


@contextmanager
def own_service() -> Iterator[str]:
    """A service on an empty database, with automatic fine-tuning off so that the demonstration decides when."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = {"DATA_DIR": folder, "PORT": str(port), "LOAD_SHIPPED": "false", "FINE_TUNE_AFTER": "0"}
        environment = os.environ | {f"ARCHCAST_{name}": value for name, value in settings.items()}
        with subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve"], env=environment, stdout=subprocess.DEVNULL
        ) as process:
            try:
                _wait_until_ready(f"http://127.0.0.1:{port}", process)
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"expected the service to start, it ended with exit code {process.returncode}")
        try:
            if httpx.get(f"{url}/readyz", timeout=2.0).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"expected the service at {url} to be ready within {seconds:.0f} s")


def closed_loop(client: Client, evaluator: Evaluator, seed: int, args: argparse.Namespace, bar: tqdm) -> Run:  # type: ignore[type-arg]
    """One seed: the same random start for both, then candidates on one side and random architectures on the other."""
    rng = np.random.default_rng([seed, 7])
    drawn: dict[str, str] = {}
    while len(drawn) < args.budget:
        cell = SPACE.sample(rng)
        drawn.setdefault(cell.hash, str(cell.genotype))
    random_cells = list(drawn.values())
    task = f"demo-{evaluator.dataset}-{seed}"
    metric = {"name": "accuracy", "unit": "%", "direction": "maximize"}
    client.create_task(task, SPACE.name, evaluator.dataset, metric)
    run = Run()

    def measure(cells: Sequence[str], arm: list[float]) -> list[float]:
        values = []
        for cell in cells:
            values.append(evaluator.measure(cell, 1000 + seed))
            bar.update(1)
        arm.extend(values)
        return values

    def post(cells: Sequence[str], values: Sequence[float]) -> None:
        client.post_observations(
            task, [{"architecture": cell, "value": value} for cell, value in zip(cells, values, strict=True)]
        )
        client.wait_until_fresh(task, timeout_seconds=300)
        answers = client.predict(task, evaluator.test_cells)["predictions"]
        run.sizes.append(len(run.ours))
        run.taus.append(kendall_tau(np.array([one["mean"] for one in answers]), np.array(evaluator.test_values)))

    start = random_cells[: args.initial]
    post(start, measure(start, run.ours))
    while len(run.ours) < args.budget:
        k = min(args.round, args.budget - len(run.ours))
        answer = client.candidates(task, k=k, acquisition=args.acquisition, seed=seed)
        cells = [one["genotype"] for one in answer["candidates"]]
        post(cells, measure(cells, run.ours))
    measure(random_cells, run.random)
    return run


def table(runs: Sequence[Run], initial: int) -> str:
    """Markdown: best so far of both arms and τ, mean ± standard deviation over seeds."""
    ours, theirs = (
        np.maximum.accumulate(np.array([getattr(r, arm) for r in runs]), axis=1) for arm in ("ours", "random")
    )
    lines = [
        "| measurements | Archcast, best so far | random search, best so far | Kendall τ of forecasts |",
        "|---|---|---|---|",
    ]
    for place, size in enumerate(runs[0].sizes):
        tau = np.array([run.taus[place] for run in runs])
        cells = [_shown(ours[:, size - 1]), _shown(theirs[:, size - 1]), _shown(tau, 3)]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(values: np.ndarray, digits: int = 2) -> str:  # type: ignore[type-arg]
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1) if len(values) > 1 else 0.0:.{digits}f}"


def plot(runs: Sequence[Run], dataset: str, output: Path) -> None:
    """Best so far on the left, τ on the right; bands are one standard deviation over seeds."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for arm, label, color in (("ours", "Archcast", "tab:blue"), ("random", "random search", "tab:gray")):
        best = np.maximum.accumulate(np.array([getattr(run, arm) for run in runs]), axis=1)
        _band(left, np.arange(1, best.shape[1] + 1), best, label, color)
    low = min(np.maximum.accumulate(run.random)[4] for run in runs)
    left.set(
        xlabel="measurements",
        ylabel="best accuracy so far (%)",
        title=f"NAS-Bench-201 cells on {dataset}",
        ylim=(low - 1, None),
    )
    left.legend()
    _band(right, np.array(runs[0].sizes), np.array([run.taus for run in runs]), "forecasts", "tab:blue")
    right.set(
        xlabel="measurements", ylabel="Kendall τ on the test set", title="How well forecasts rank unmeasured cells"
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(output, dpi=110)


def _band(axes: plt.Axes, x: np.ndarray, values: np.ndarray, label: str, color: str) -> None:  # type: ignore[type-arg]
    mean, std = values.mean(0), values.std(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    axes.plot(x, mean, label=label, color=color)
    axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.2)


def fine_tuned(client: Client, evaluator: Evaluator, args: argparse.Namespace) -> str:
    """Posts a fine-tune, waits, and reports the comparison and τ with the version that answers afterwards."""
    started = client.start_fine_tune("end of the demonstration", {"num_steps": args.fine_tune_steps})
    with tqdm(total=100.0, desc="fine-tune", unit="%", disable=None) as bar:
        for document in client.followed_fine_tune(started["id"]):
            bar.update(document["percent"] - bar.n)
    if document["state"] != "done":
        raise SystemExit(f"fine-tune {document['state']}: {document['error']}")
    taus = []
    for seed in range(args.seeds):
        task = f"demo-{evaluator.dataset}-{seed}"
        client.wait_until_fresh(task, timeout_seconds=300)
        answer = client.predict(task, evaluator.test_cells)
        taus.append(
            kendall_tau(np.array([one["mean"] for one in answer["predictions"]]), np.array(evaluator.test_values))
        )
    verdict = "promoted" if document["is_promoted"] else "not promoted"
    return (
        f"Fine-tune: model version `{document['model_version']}` {verdict}. {document['decision']}\n\n"
        f"Kendall τ on the test set with the version that answers now (`{answer['model_version']}`): {_shown(np.array(taus), 3)}"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a running service (it must not know the task's data); default: one of its own")
    parser.add_argument("--tables", type=Path, help="folder of published tables: look CIFAR-100 up instead of training")
    parser.add_argument("--dataset", default="digits", choices=sorted(IMAGE_DATASETS))
    parser.add_argument("--epochs", type=int, default=TrainingConfig().fidelities[-1])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--initial", type=int, default=10)
    parser.add_argument("--budget", type=int, default=40)
    parser.add_argument("--round", type=int, default=5, help="architectures measured per round")
    parser.add_argument("--num-test", type=int, default=300)
    parser.add_argument("--acquisition", default="ei")
    parser.add_argument("--fine-tune-steps", type=int, default=100, help="0: no fine-tune")
    parser.add_argument("--output", type=Path, default=Path("var/demo"), help="folder for picture, table and journal")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(1)
    evaluator: Evaluator = (
        TableLookup(args.tables, args.num_test)
        if args.tables
        else RealTraining(args.dataset, args.epochs, args.output / f"trainings_{args.dataset}.jsonl", args.num_test)
    )
    with own_service() if not args.url else _given(args.url) as url, Client(url) as client:
        total = args.seeds * 2 * args.budget
        with tqdm(total=total, desc="measurements", disable=None) as bar:
            runs = [closed_loop(client, evaluator, seed, args, bar) for seed in range(args.seeds)]
        report = table(runs, args.initial)
        print(report)
        if args.fine_tune_steps:
            report += "\n\n" + fine_tuned(client, evaluator, args)
            print(report.rsplit("\n\n", 2)[-2] + "\n\n" + report.rsplit("\n\n", 1)[-1])
    plot(runs, evaluator.dataset, args.output / f"demo_{evaluator.dataset}.png")
    (args.output / f"demo_{evaluator.dataset}.md").write_text(report + "\n")
    print(f"picture and table are in {args.output}")


@contextmanager
def _given(url: str) -> Iterator[str]:
    yield url


if __name__ == "__main__":
    main()
