"""MetaD2A's NAS-Bench-201 cells, trained on ImageNet-32 subsets of 20 classes (Lee et al., ICLR 2021).

Most of its 3,031 subsets hold one or two architectures, which say nothing about each other: only subsets with at least
`LEAST_ARCHITECTURES` become tasks. Rows of different subsets are never pooled, since one accuracy in two subsets differs by
the classes and not by the architecture.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from predictor.benchmarks.base import Benchmark, Contents, Measurements
from predictor.benchmarks.metrics import VALIDATION_ACCURACY
from predictor.benchmarks.table import PublishedTable
from predictor.search_spaces.registry import search_space
from predictor.tasks import Task

LEAST_ARCHITECTURES = 5


class MetaD2A(Benchmark):
    """One task for every subset with enough architectures."""

    name = "nb201_metad2a_imagenet_subset_tasks"
    file_name = "nb201_metad2a_imagenet_subset_tasks.parquet"

    def _contents(self, table: PublishedTable) -> Iterable[Contents]:
        space = search_space("nasbench201")
        cells = table.texts("arch_str")
        subsets, values = table.numbers("task_id"), table.numbers("val_acc_pct")
        measured = np.isfinite(values)
        numbers, counts = np.unique(subsets[measured], return_counts=True)
        yield Contents(
            space,
            lambda row: str(cells[row]),
            tuple(
                Measurements(
                    Task(space.name, f"imagenet32_subset_{int(number)}", VALIDATION_ACCURACY),
                    np.where(subsets == number, values, np.nan),
                )
                for number in numbers[counts >= LEAST_ARCHITECTURES]
            ),
        )
