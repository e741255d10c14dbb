"""EC-NAS-Bench: NAS-Bench-101 cells with training energy, time and accuracy (Bakhtiarifard et al., ICASSP 2024).

A row is one training. Cells of four vertices were trained three times at each of 4, 12, 36 and 108 epochs, cells of five
vertices once at 4 epochs: repeated rows become one value with their standard deviation. Each number of epochs is a budget of
its own here (energy and time grow with it), so every one of them is a task.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from predictor.benchmarks.base import Benchmark, Contents, Measurements
from predictor.benchmarks.metrics import ACCURACY, TRAIN_TIME, TRAINING_ENERGY
from predictor.benchmarks.nasbench101 import cell_notation
from predictor.benchmarks.repeated import averaged
from predictor.benchmarks.table import PublishedTable
from predictor.search_spaces.registry import search_space
from predictor.tasks import Metric, Task

_COLUMNS = (
    ("cifar10_test_acc_pct", ACCURACY, None),
    ("train_time_s", TRAIN_TIME, "quadro_rtx_6000"),
    ("total_energy_kwh", TRAINING_ENERGY, "quadro_rtx_6000"),
)


class ECNAS(Benchmark):
    """Accuracy, training time and energy at each number of epochs."""

    name = "ecnas_nb101_4v5v_energy"
    file_name = "ecnas_nb101_4v5v_energy.parquet"

    def _contents(self, table: PublishedTable) -> Iterable[Contents]:
        space = search_space("nasbench101")
        hashes = np.array(table.texts("module_hash"), dtype=object).astype(str)
        _, first, cell_of_row = np.unique(hashes, return_index=True, return_inverse=True)
        adjacency, operations = table.texts("adjacency_json"), table.texts("ops_json")
        epochs = table.numbers("epochs")
        yield Contents(
            space,
            lambda cell: cell_notation(str(adjacency[first[cell]]), str(operations[first[cell]])),
            tuple(
                _measurements(space.name, table, cell_of_row, epochs == budget, int(budget), column)
                for budget in np.unique(epochs)
                for column in _COLUMNS
            ),
        )


def _measurements(
    space: str,
    table: PublishedTable,
    cell_of_row: NDArray[np.int64],
    trained: NDArray[np.bool_],
    budget: int,
    column: tuple[str, Metric, str | None],
) -> Measurements:
    name, metric, device = column
    values, noise_std = averaged(np.where(trained, table.numbers(name), np.nan), cell_of_row)
    at_budget = Metric(f"{metric.name}_at_{budget}_epochs", metric.unit, metric.direction)
    params, _ = averaged(table.numbers("params_m") * 1e6, cell_of_row)
    return Measurements(Task(space, "cifar10", at_budget, device), values, noise_std, params=params)
