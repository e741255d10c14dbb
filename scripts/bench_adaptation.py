"""How long adaptation takes and how much memory it needs, by number of observations.

    python scripts/bench_adaptation.py --tables DIR              accuracies of NAS-Bench-201 cells on CIFAR-10
    python scripts/bench_adaptation.py --tables DIR --related    beside those on CIFAR-100 and ImageNet16-120
    python scripts/bench_adaptation.py                           our own benchmark, beyond its end an invented value

Every repeat has a process of its own, so that its memory is its own. It loads the version, adapts to ten other cells, which
pays for what only the first adaptation of a process needs, and then adapts under the clock. Memory is the highest resident
size less that before anything adapted. Cells are parsed beforehand; they are encoded under the clock, and what related tasks say
is worked out under it. How long that takes is told apart, too: the service keeps it while their own observations stay as they are.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from predictor import Architecture, MetaPredictor, Metric, Observation, SearchSpace, SupportSet, Task, shipped_champion
from predictor.benchmarks.registry import read_all
from predictor.contest.contestants import sources_of
from predictor.contest.report import table
from predictor.scoring import kendall_tau
from predictor.tasks import MeasuredTask

SIZES = (10, 100, 1_000, 2_000, 10_000)
AIMS = {100: "under 2 s", 10_000: "under 10 s, 1 GB"}
PUBLISHED, OWN = "nasbench201/cifar10/accuracy", "nasbench201/digits/accuracy"
NUM_UNSEEN = 1_000
_WARM_UP = 10
_MANY = 10_000  # from which on fewer repeats are taken
_REPEATS, _REPEATS_OF_MANY = 5, 3


@dataclass(frozen=True)
class Adaptation:
    """One repeat."""

    observations: int
    networks: int  # different ones among them
    seconds: float
    processor_seconds: float  # of all threads; on a busy machine the clock goes on while others compute
    megabytes: float  # NaN where the system does not tell
    tau: float  # on unseen networks; NaN where values are invented
    related_seconds: float = 0.0  # of the seconds, those that working out what related tasks say took


@dataclass(frozen=True)
class Cells:
    """What is observed, and what is asked about afterwards: no network of the one is in the other."""

    task: Task
    space: SearchSpace
    observed: tuple[Observation, ...]
    unseen: tuple[Observation, ...]
    invented: int  # of the observed values
    related: tuple[MeasuredTask, ...] = ()


def published_cells(tables: Path, size: int, seed: int, with_related: bool = False) -> Cells:
    """Some of the networks to ask about, and table rows of the others, which may write one network in several ways; accuracies of
    all cells on the other data sets where related tasks are asked for."""
    tasks = read_all(tables, names=["nb201_accuracy"])
    measured = next(one for one in tasks if one.task.name == PUBLISHED)
    others = [one for one in tasks if one.task.metric == measured.task.metric and one is not measured]
    rng = np.random.default_rng(seed)
    every = [
        Observation(cell, float(value)) for cell, value in zip(measured.architectures, measured.values, strict=True)
    ]
    networks = list({one.architecture.hash: one for one in every}.values())
    unseen = [networks[place] for place in rng.permutation(len(networks))[:NUM_UNSEEN].tolist()]
    asked = {one.architecture.hash for one in unseen}
    observed = [every[row] for row in rng.permutation(len(every)).tolist() if every[row].architecture.hash not in asked]
    related = tuple(sources_of(others)) if with_related else ()
    return Cells(measured.task, measured.space, tuple(observed[:size]), tuple(unseen), 0, related)


def own_cells(size: int, seed: int) -> Cells:
    """Our own benchmark as far as it reaches, then random cells with an invented value."""
    measured = next(one for one in read_all(None) if one.task.name == OWN)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(measured)).tolist()
    observed = [Observation(measured.architectures[row], float(measured.values[row])) for row in rows[_WARM_UP:]][:size]
    cells = [measured.space.sample(rng) for _ in range(size - len(observed))]
    invented = [Observation(cell, invented_value(cell)) for cell in cells]
    unseen = tuple(Observation(measured.architectures[row], float(measured.values[row])) for row in rows[:_WARM_UP])
    return Cells(measured.task, measured.space, (*observed, *invented), unseen, len(invented))


def invented_value(cell: Architecture) -> float:
    """Smooth in the number of operations of each kind: more convolutions are better, ever less so."""
    work = sum(float(one.get("kernel_size") or 0) for one in cell.operations if one.kind == "conv")
    return 60.0 + 35.0 * math.tanh(work / 6.0) - 0.5 * cell.num_nodes


def adapted_once(cells: Cells, version: Path, ask: bool) -> Adaptation:
    """Adapts under the clock in this process."""
    meta, support = MetaPredictor.load(version), SupportSet.of(cells.observed)
    before = resident_mb()
    reset_peak()
    meta.adapt(_other_task(cells.task), cells.space, SupportSet.of(cells.unseen[:_WARM_UP]))
    began, worked = time.perf_counter(), time.process_time()
    related = meta.related(cells.task, cells.space, cells.related) if cells.related else None
    related_seconds = time.perf_counter() - began if cells.related else 0.0
    adapted = meta.adapt(cells.task, cells.space, support, related)
    seconds, processor, megabytes = time.perf_counter() - began, time.process_time() - worked, peak_mb() - before
    tau = math.nan
    if ask:
        forecasts = adapted.predict([one.architecture for one in cells.unseen])
        tau = kendall_tau(forecasts.mean, np.array([one.value for one in cells.unseen]))
    return Adaptation(len(cells.observed), len(support), seconds, processor, megabytes, tau, related_seconds)


def _other_task(task: Task) -> Task:
    return Task(task.search_space, "warm-up", Metric("accuracy", "%", "maximize"))


def resident_mb() -> float:
    """Resident memory of this process; NaN where the system does not tell."""
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """The most since `reset_peak`."""
    return _status_mb("VmHWM")


def reset_peak() -> None:
    """Starts to look for the most anew."""
    control = Path("/proc/self/clear_refs")
    if control.exists():
        control.write_text("5")


def _status_mb(name: str) -> float:
    status = Path("/proc/self/status")
    found = re.search(rf"{name}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else math.nan


def in_a_process_of_its_own(size: int, seed: int, args: argparse.Namespace) -> Adaptation:
    """The same script with the size to measure."""
    command = [sys.executable, __file__, "--measure", str(size), "--seed", str(seed), "--version", str(args.version)]
    command += ["--threads", str(args.threads), *(["--tables", str(args.tables)] if args.tables else [])]
    command += ["--related"] * args.related
    counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(args.threads))
    ended = subprocess.run(command, env=os.environ | counts, stdout=subprocess.PIPE, text=True, check=True)
    return Adaptation(**json.loads(ended.stdout.splitlines()[-1]))


def report(found: Sequence[Adaptation]) -> str:
    """One row for each number of observations."""
    of_related = (
        [("related_seconds", "for what related tasks say", 2)] if any(one.related_seconds for one in found) else []
    )
    columns = [
        ("seconds", "seconds", 2),
        *of_related,
        ("processor_seconds", "of the processor", 2),
        ("megabytes", "memory (MB)", 0),
        ("tau", f"Kendall τ on {NUM_UNSEEN:,} unseen", 3),
    ]
    rows = []
    for size in sorted({one.observations for one in found}):
        own = [one for one in found if one.observations == size]
        networks = round(statistics.median(one.networks for one in own))
        shown = [_range([getattr(one, name) for one in own], digits) for name, _, digits in columns]
        rows.append([f"{size:,}", f"{networks:,}", AIMS.get(size, ""), *shown])
    return table(["observations", "different networks", "aim", *(title for _, title, _ in columns)], rows)


def _range(values: Sequence[float], digits: int) -> str:
    """Median and range; a dash where nothing is known."""
    if any(map(math.isnan, values)):
        return "–"
    middle, low, high = (f"{of(values):,.{digits}f}" for of in (statistics.median, min, max))
    return middle if low == high else f"{middle} ({low}–{high})"


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of published tables; left out: our own benchmark alone")
    parser.add_argument(
        "--version", type=Path, default=shipped_champion(), help="model version (default: the shipped one)"
    )
    parser.add_argument("--related", action="store_true", help="hear the table's other accuracies as related tasks")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument(
        "--repeats", type=int, help=f"default: {_REPEATS}, from {_MANY:,} observations on {_REPEATS_OF_MANY}"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)  # in this process, and nothing else
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(given)
    if args.related and args.tables is None:
        parser.error("--related: expected --tables, whose other accuracies are the related tasks")
    return args


def measure(args: argparse.Namespace) -> None:
    """One repeat, printed as a line of JSON."""
    torch.set_num_threads(args.threads)
    is_published = args.tables is not None
    cells = (
        published_cells(args.tables, args.measure, args.seed, args.related)
        if is_published
        else own_cells(args.measure, args.seed)
    )
    print(json.dumps(asdict(adapted_once(cells, args.version, ask=is_published))))


def main(given: Sequence[str] | None = None) -> None:
    args = arguments(given)
    if args.measure is not None:
        measure(args)
        return
    repeats = {size: args.repeats or (_REPEATS_OF_MANY if size >= _MANY else _REPEATS) for size in args.sizes}
    found: list[Adaptation] = []
    with tqdm(total=sum(repeats.values()), unit=" adaptations", disable=None) as bar:
        for size, count in repeats.items():
            bar.set_description(f"{size:,} observations")
            for seed in range(count):
                found.append(in_a_process_of_its_own(size, seed, args))
                bar.update()
    invented = "" if args.tables else f"; {OWN} ends before the largest sizes: from there on values are invented"
    beside = ", beside related tasks" * args.related
    print(f"{PUBLISHED if args.tables else OWN}{beside}, {args.threads} thread(s), median (lowest–highest){invented}\n")
    print(report(found))


if __name__ == "__main__":
    main()
