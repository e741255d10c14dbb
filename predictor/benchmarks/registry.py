"""The one place where the name of a published table is looked up, and where many tables are read together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from predictor.benchmarks.autoformer import AutoFormerSupernets
from predictor.benchmarks.base import ArchitecturePool, Benchmark, BenchmarkTask, Selection
from predictor.benchmarks.ecnas import ECNAS
from predictor.benchmarks.graphgym import GraphGym
from predictor.benchmarks.hat import HATLatency
from predictor.benchmarks.help import HELP_FBNET, HELP_NASBENCH201, HELP_OFA
from predictor.benchmarks.measured_cells import SHIPPED_FOLDER, MeasuredCells
from predictor.benchmarks.metad2a import MetaD2A
from predictor.benchmarks.mnasnet import ACCEL_NASBENCH
from predictor.benchmarks.nasbench101 import NB101
from predictor.benchmarks.nasbench201 import NB201_ACCURACY, NB201_HARDWARE, NB201_ROBUSTNESS, NB201_ZERO_COST
from predictor.benchmarks.nasbench_graph import NASBENCH_GRAPH
from predictor.benchmarks.nasbench_macro import NASBENCH_MACRO
from predictor.benchmarks.nasbench_mr import NASBENCH_MR
from predictor.benchmarks.nasbench_nlp import NASBenchNLP
from predictor.benchmarks.transnas import TRANSNAS_MICRO
from predictor.errors import BenchmarkError

ReportProgress = Callable[[str, int, int], None]
"""Called with a table's name, how many tables are read and how many there are."""


@cache
def benchmarks() -> Mapping[str, Benchmark]:
    """Every table that can be read, by name; the one that comes with the package first."""
    known: tuple[Benchmark, ...] = (
        MeasuredCells(),
        NB201_ACCURACY,
        NB201_ROBUSTNESS,
        HELP_NASBENCH201,
        NB201_HARDWARE,
        MetaD2A(),
        NB201_ZERO_COST,
        NB101,
        ECNAS(),
        TRANSNAS_MICRO,
        NASBENCH_MACRO,
        NASBENCH_GRAPH,
        HELP_FBNET,
        HELP_OFA,
        ACCEL_NASBENCH,
        AutoFormerSupernets(),
        GraphGym(),
        HATLatency(),
        NASBENCH_MR,
        NASBenchNLP(),
    )
    return MappingProxyType({benchmark.name: benchmark for benchmark in known})


def benchmark(name: str) -> Benchmark:
    """The table of that name.

    Raises:
        BenchmarkError: if there is none.
    """
    if name not in benchmarks():
        raise BenchmarkError(f"expected one of {', '.join(benchmarks())}, got {name!r}")
    return benchmarks()[name]


def read_all(
    folder: Path | None,
    names: Collection[str] | None = None,
    max_architectures_per_task: int | None = None,
    seed: int = 0,
    on_progress: ReportProgress | None = None,
    pool: ArchitecturePool | None = None,
) -> list[BenchmarkTask]:
    """The tasks of many tables, their architectures parsed once; no folder: only what comes with the package.

    Without names, every table of measurements that the folder holds is read. Where two tables hold the same task (HELP
    republished four devices of HW-NAS-Bench), the first in the order of `benchmarks` gives it and the other is left out.

    Raises:
        BenchmarkError: if a named table is unknown or missing, or any is not in its published form.
    """
    chosen = [benchmark(name) for name in names] if names is not None else _present(folder)
    selection, shared = Selection(max_architectures_per_task, seed), pool or ArchitecturePool()
    found: dict[str, BenchmarkTask] = {}
    for number, one in enumerate(sorted(chosen, key=list(benchmarks().values()).index), start=1):
        for task in one.read(_folder_of(one, folder), selection, shared):
            found.setdefault(task.task.name, task)
        if on_progress is not None:
            on_progress(one.name, number, len(chosen))
    return list(found.values())


def _present(folder: Path | None) -> list[Benchmark]:
    present = [
        one
        for one in benchmarks().values()
        if one.measured and (one.shipped or folder is not None) and (_folder_of(one, folder) / one.file_name).is_file()
    ]
    if not present:
        raise BenchmarkError(f"expected published tables in {folder or SHIPPED_FOLDER}, found none")
    return present


def _folder_of(one: Benchmark, folder: Path | None) -> Path:
    if one.shipped:
        return SHIPPED_FOLDER
    if folder is None:
        raise BenchmarkError(f"expected a folder that holds {one.file_name}, got none")
    return folder
