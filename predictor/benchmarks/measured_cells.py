"""Archcast's own benchmark: NAS-Bench-201 cells that were really trained on small real data sets, with several seeds and
numbers of epochs. Measured by `scripts/measure_cells.py`; it comes with this package.

A row is one training at one number of epochs. The most epochs are a task's value (mean over seeds), fewer are its fidelities.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictor.benchmarks.base import Benchmark, Contents, Measurements
from predictor.benchmarks.metrics import ACCURACY, LATENCY
from predictor.benchmarks.repeated import averaged
from predictor.benchmarks.table import PublishedTable, Values
from predictor.search_spaces.registry import search_space
from predictor.tasks import Metric, Task

SHIPPED_FOLDER = Path(__file__).parent / "data"
TRAIN_SECONDS = Metric("train_seconds", "s", "minimize")
_DEVICE = "cpu"
_COLUMNS = (
    ("accuracy_percent", ACCURACY, None),
    ("latency_ms", LATENCY, _DEVICE),
    ("train_seconds", TRAIN_SECONDS, _DEVICE),
)
_SHIPPED_DATASETS = ("digits", "photo_regions")
SHIPPED_TASKS = tuple(
    Task("nasbench201", dataset, metric, device) for dataset in _SHIPPED_DATASETS for _, metric, device in _COLUMNS
)
"""The tasks of the shipped table, known without reading it."""


@dataclass(frozen=True)
class _Trainings:
    """The table's rows, and for each the number of its cell."""

    table: PublishedTable
    dataset_of_row: NDArray[np.str_]  # (R,)
    cell_of_row: NDArray[np.int64]  # (R,)
    epochs: Values  # (R,)

    def mean(self, column: str, dataset: str, epochs: float) -> tuple[Values, Values]:
        """Mean and standard deviation over seeds, for every cell."""
        chosen = (self.dataset_of_row == dataset) & (self.epochs == epochs)
        return averaged(np.where(chosen, self.table.numbers(column), np.nan), self.cell_of_row)


class MeasuredCells(Benchmark):
    """Accuracy, latency and training time on every data set of the table."""

    name = "measured_cells"
    file_name = "measured_cells.parquet"
    shipped = True

    def _contents(self, table: PublishedTable) -> Iterable[Contents]:
        space = search_space("nasbench201")
        cells, cell_of_row = np.unique(np.array(table.texts("cell"), dtype=object).astype(str), return_inverse=True)
        dataset_of_row = np.array(table.texts("dataset"), dtype=object).astype(str)
        trainings = _Trainings(table, dataset_of_row, cell_of_row, table.numbers("fidelity_epochs"))
        yield Contents(
            space,
            lambda cell: str(cells[cell]),
            tuple(
                measurements
                for dataset in np.unique(dataset_of_row)
                for measurements in _of_dataset(space.name, trainings, str(dataset))
            ),
        )


def _of_dataset(space: str, trainings: _Trainings, dataset: str) -> list[Measurements]:
    budgets = np.unique(trainings.epochs[trainings.dataset_of_row == dataset])
    full = float(budgets[-1])
    params, _ = trainings.mean("params", dataset, full)
    flops, _ = trainings.mean("flops", dataset, full)
    lower = {f"accuracy_{budget:g}_epochs": float(budget) for budget in budgets[:-1]}
    found = []
    for column, metric, device in _COLUMNS:
        values, noise_std = trainings.mean(column, dataset, full)
        levels = lower if metric == ACCURACY else {}
        found.append(
            Measurements(
                Task(space, dataset, metric, device),
                values,
                noise_std,
                fidelities={name: trainings.mean(column, dataset, level)[0] for name, level in levels.items()},
                fidelity_levels=levels,
                max_fidelity=full,
                params=params,
                flops=flops,
            )
        )
    return found


@dataclass(frozen=True)
class ShippedTask:
    """A task of the shipped benchmark with each of its trainings, as a service records them."""

    task: Task
    max_fidelity: float  # epochs
    cells: tuple[str, ...]  # (R,)
    values: tuple[float, ...]  # (R,)
    seeds: tuple[int, ...]  # (R,)
    fidelities: tuple[float, ...]  # (R,) epochs
    costs: tuple[float, ...]  # (R,) seconds of training


def shipped_tasks() -> list[ShippedTask]:
    """Every training of the shipped table, one entry per task; latency and training time at the most epochs only.

    Raises:
        BenchmarkError: if the table is missing or not in its form.
    """
    table = PublishedTable(SHIPPED_FOLDER, MeasuredCells.file_name)
    try:
        return _shipped_tasks(table)
    finally:
        table.close()


def _shipped_tasks(table: PublishedTable) -> list[ShippedTask]:
    datasets = np.array(table.texts("dataset"), dtype=object).astype(str)
    epochs, cells = table.numbers("fidelity_epochs"), table.texts("cell")
    seeds, seconds = table.numbers("seed"), table.numbers("train_seconds")
    found = []
    for dataset in np.unique(datasets):
        full = float(epochs[datasets == dataset].max())
        for column, metric, device in _COLUMNS:
            rows = np.flatnonzero((datasets == dataset) & ((metric == ACCURACY) | (epochs == full)))
            values = table.numbers(column)
            found.append(
                ShippedTask(
                    Task("nasbench201", str(dataset), metric, device),
                    full,
                    tuple(str(cells[row]) for row in rows),
                    tuple(float(values[row]) for row in rows),
                    tuple(int(seeds[row]) for row in rows),
                    tuple(float(epochs[row]) for row in rows),
                    tuple(float(seconds[row]) for row in rows),
                )
            )
    return found
