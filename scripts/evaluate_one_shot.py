"""What one-shot accuracies know: how they rank cells that were really trained, and what forecasts gain from them.

    python scripts/evaluate_one_shot.py --journal var/darts/one_shot.jsonl
    python scripts/evaluate_one_shot.py --journal var/darts/one_shot.jsonl --report

Trains supernets of NAS-Bench-201 cells on digits by uniform single paths, evaluates cells of the shipped benchmark with inherited
weights, and compares with what the benchmark measured when each of them was trained alone. Then forecasts from few trained cells,
with and without one-shot accuracies as a lower fidelity of the same task; both also know the other data set of the benchmark, as the
service does. Everything that is finished is appended to the journal, so the script can be stopped and started at any moment.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from predictor import MetaPredictor, shipped_champion
from predictor.architecture import Architecture
from predictor.benchmarks.measured_cells import ShippedTask, shipped_tasks
from predictor.evaluate.datasets import IMAGE_DATASETS
from predictor.evaluate.supernet.bilevel_loop import BilevelLoop
from predictor.evaluate.supernet.config import DartsConfig
from predictor.evaluate.supernet.one_shot import ONE_SHOT_FIDELITY
from predictor.evaluate.supernet.shared_weights import SharedWeights, SinglePathConfig, SinglePathTraining
from predictor.scoring import kendall_tau
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.registry import search_space
from predictor.tasks import MeasuredTask, Observation, SupportSet, lower_fidelities

Row = dict[str, Any]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Ground:
    """Cells with what each reached when it was trained alone, by epochs."""

    space: SearchSpace
    benchmark: ShippedTask
    genotypes: tuple[str, ...]
    architectures: tuple[Architecture, ...]
    trained: dict[float, Values]  # epochs -> mean over seeds
    seeds: dict[float, list[list[float]]]

    @classmethod
    def of(cls, dataset: str, count: int) -> Ground:
        """So many cells of the shipped benchmark, always the same."""
        (task,) = (one for one in shipped_tasks() if one.task.dataset == dataset and one.task.metric.name == "accuracy")
        measured: dict[str, dict[float, list[float]]] = {}
        for cell, value, fidelity in zip(task.cells, task.values, task.fidelities, strict=True):
            measured.setdefault(cell, {}).setdefault(fidelity, []).append(value)
        names = sorted(measured)
        chosen = [names[row] for row in np.random.default_rng(0).permutation(len(names))[:count]]
        space = search_space(task.task.search_space)
        levels = sorted(set(task.fidelities))
        return cls(
            space,
            task,
            tuple(chosen),
            tuple(space.parse(name) for name in chosen),
            {level: np.array([np.mean(measured[name][level]) for name in chosen]) for level in levels},
            {level: [measured[name][level] for name in chosen] for level in levels},
        )

    @property
    def final(self) -> Values:
        """What counts."""
        return self.trained[self.benchmark.max_fidelity]


def read(path: Path) -> list[Row]:
    """Everything that is finished."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, row: Row) -> None:
    """One more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def measure(ground: Ground, journal: Path, epochs: int, seeds: Sequence[int], darts_epochs: int) -> None:
    """Trains what supernets are left to train, and evaluates every cell with each."""
    dataset = IMAGE_DATASETS[ground.benchmark.task.dataset]()
    done = {(row["weights"], row["seed"]) for row in read(journal) if row["kind"] == "one_shot"}

    def single_path(seed: int) -> SharedWeights:
        training = SinglePathTraining(ground.space, dataset, SinglePathConfig(epochs=epochs, seed=seed))
        training.run()
        return training.weights()

    def mixture(seed: int) -> SharedWeights:
        loop = BilevelLoop(ground.space, dataset, DartsConfig(epochs=darts_epochs, architecture_rate=0.02, seed=seed))
        loop.run()
        return loop.shared_weights()

    planned: list[tuple[str, int, Callable[[int], SharedWeights]]] = [
        *(("single paths", seed, single_path) for seed in seeds),
        *([("DARTS", seeds[0], mixture)] if darts_epochs else []),
    ]
    for name, seed, train in planned:
        if (name, seed) in done:
            continue
        start = time.process_time()
        weights = train(seed)
        trained = time.process_time()
        progress = tqdm(ground.architectures, desc=f"{name}, seed {seed}", mininterval=5)
        values = [weights.accuracy_percent(one) for one in progress]
        append(journal, {
            "kind": "one_shot", "weights": name, "seed": seed, "train_seconds": trained - start,
            "seconds_each": (time.process_time() - trained) / len(values), "values": values,
        })  # fmt: skip


def forecast(ground: Ground, journal: Path, sizes: Sequence[int], seeds: Sequence[int]) -> None:
    """Kendall τ of forecasts of the cells that were not observed, with one-shot values of one supernet and without."""
    one_shot = [row for row in read(journal) if row["kind"] == "one_shot" and row["weights"] == "single paths"]
    done = {row["seed"] for row in read(journal) if row["kind"] == "forecast"}
    meta = MetaPredictor.load(shipped_champion())
    for seed in tqdm([one for one in seeds if one not in done], desc="forecasts"):
        values = np.array(one_shot[seed % len(one_shot)]["values"])
        order = np.random.default_rng(seed).permutation(len(ground.architectures))
        known, asked = order[: max(sizes)], order[max(sizes) :]
        row: Row = {"kind": "forecast", "seed": seed, "supernet": one_shot[seed % len(one_shot)]["seed"]}
        row["one-shot accuracy alone"] = kendall_tau(values[asked], ground.final[asked])
        for name, others in (("without", []), ("with one-shot accuracies", _levels(ground, values))):
            taus = _forecast(meta, ground, [*others, *_other_tasks(ground)], known, asked, sizes)
            row |= {f"{name}, at {size}": tau for size, tau in zip(sizes, taus, strict=True)}
        append(journal, row)


def _levels(ground: Ground, values: Values) -> list[MeasuredTask]:
    """One-shot accuracies as what a smaller budget said of the task."""
    observed = (
        Observation(architecture, float(value), fidelity=ONE_SHOT_FIDELITY)
        for architecture, value in zip(ground.architectures, values, strict=True)
    )
    return lower_fidelities(ground.benchmark.task, ground.space, observed)


def _other_tasks(ground: Ground) -> list[MeasuredTask]:
    """Of the shipped benchmark, the same metric on other data sets."""
    found = []
    for one in shipped_tasks():
        if one.task.metric == ground.benchmark.task.metric and one.task != ground.benchmark.task:
            rows = zip(one.cells, one.values, one.seeds, one.fidelities, strict=True)
            final = [
                Observation(ground.space.parse(cell), value, seed)
                for cell, value, seed, fidelity in rows
                if fidelity == one.max_fidelity
            ]
            found.append(MeasuredTask(one.task, ground.space, SupportSet.of(final)))
    return found


def _forecast(
    meta: MetaPredictor,
    ground: Ground,
    others: Sequence[MeasuredTask],
    known: NDArray[np.int64],
    asked: NDArray[np.int64],
    sizes: Sequence[int],
) -> list[float]:
    task, space = ground.benchmark.task, ground.space
    related = meta.related(task, space, others)
    taus = []
    for size in sizes:
        observed = [Observation(ground.architectures[row], float(ground.final[row])) for row in known[:size]]
        adapted = meta.adapt(task, space, SupportSet.of(observed), related)
        means = adapted.predict([ground.architectures[row] for row in asked]).mean
        taus.append(kendall_tau(means, ground.final[asked]))
    return taus


def report(ground: Ground, rows: Sequence[Row]) -> None:
    """Tables of rank correlations and of forecasts."""
    full = ground.benchmark.max_fidelity
    upper = ground.final >= np.median(ground.final)
    print(
        "| ranked by | τ with the full training | τ in the upper half | lowest, median, highest, % | seconds of training, each |"
    )
    print("| --- | --- | --- | --- | --- |")
    for epochs in sorted(ground.trained):
        if epochs < full:
            _print_ranking(f"{epochs:g} epochs alone", ground.trained[epochs], ground, upper, "")
    for row in rows:
        if row["kind"] == "one_shot":
            seconds = f"{row['train_seconds']:.0f}, {row['seconds_each']:.3f}"
            _print_ranking(f"{row['weights']}, seed {row['seed']}", np.array(row["values"]), ground, upper, seconds)
    forecasts = [row for row in rows if row["kind"] == "forecast"]
    print(f"\n| forecast, {len(forecasts)} seeds | τ |\n| --- | --- |")
    for name in [key for key in (forecasts[0] if forecasts else {}) if key not in ("kind", "seed", "supernet")]:
        taus = [row[name] for row in forecasts]
        print(f"| {name} | {np.mean(taus):.3f} ± {np.std(taus, ddof=1):.3f} |")


def _print_ranking(name: str, values: Values, ground: Ground, upper: NDArray[np.bool_], seconds: str) -> None:
    tau, among_good = kendall_tau(values, ground.final), kendall_tau(values[upper], ground.final[upper])
    low, middle, high = np.percentile(values, [0, 50, 100])
    print(f"| {name} | {tau:.2f} | {among_good:.2f} | {low:.1f}, {middle:.1f}, {high:.1f} | {seconds} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--report", action="store_true", help="print the tables of the journal and stop")
    parser.add_argument("--data", default="digits", choices=sorted(IMAGE_DATASETS))
    parser.add_argument("--cells", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=200, help="of a supernet")
    parser.add_argument("--supernets", type=int, default=2)
    parser.add_argument("--darts-epochs", type=int, default=40, help="of a differentiable search; 0: none")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--seeds", type=int, default=6, help="draws of observed cells")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ground = Ground.of(args.data, args.cells)
    if not args.report:
        measure(ground, args.journal, args.epochs, range(args.supernets), args.darts_epochs)
        forecast(ground, args.journal, args.sizes, range(args.seeds))
    report(ground, read(args.journal))


if __name__ == "__main__":
    main()
