"""ColumnBenchmark: a table with one row per architecture and one column per metric, which most tables are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np

from predictor.benchmarks.base import Benchmark, Contents, Measurements
from predictor.benchmarks.table import PublishedTable, Values
from predictor.errors import BenchmarkError
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import Metric, Task


@dataclass(frozen=True)
class FidelityColumn:
    """What a smaller budget said."""

    name: str
    column: str
    level: float  # the budget, such as epochs


@dataclass(frozen=True)
class MetricColumn:
    """One column that is a task, and the columns that go with it."""

    column: str
    dataset: str
    metric: Metric
    device: str | None = None
    scale: float = 1.0  # from the column's unit to the metric's
    missing: float | None = None  # the value that says "not measurable"
    noise_columns: tuple[str, ...] = ()  # standard deviations of independent parts of the value
    fidelities: tuple[FidelityColumn, ...] = ()
    max_fidelity: float | None = None
    params_column: str | None = None  # in millions
    flops_column: str | None = None  # in millions
    least_spread: float | None = None  # leave the task out if half of its values lie closer together


@dataclass(frozen=True)
class ColumnBenchmark(Benchmark):
    """A table whose rows are architectures of one space and whose columns are metrics.

    `find_space` is called when the table is read; `to_notation` turns a row's cells in `notation_columns` into the space's
    own notation.
    """

    name: str
    file_name: str
    find_space: Callable[[], SearchSpace]
    columns: tuple[MetricColumn, ...]
    notation_columns: tuple[str, ...]
    to_notation: Callable[..., str] = str
    measured: bool = True

    def _contents(self, table: PublishedTable) -> Iterable[Contents]:
        space = self.find_space()
        found = (self._measurements(table, space, column) for column in self.columns)
        yield Contents(space, self._notation(table), tuple(one for one in found if one is not None))

    def _notation(self, table: PublishedTable) -> Callable[[int], str]:
        cells = [table.texts(column) for column in self.notation_columns]

        @cache
        def notation(row: int) -> str:
            written = [column[row] for column in cells]
            if None in written:
                raise BenchmarkError(
                    f"{table.file_name}: expected an architecture in row {row}, found null in one of {self.notation_columns}"
                )
            return self.to_notation(*written)

        return notation

    def _measurements(self, table: PublishedTable, space: SearchSpace, column: MetricColumn) -> Measurements | None:
        values = table.numbers(column.column, column.missing) * column.scale
        if column.least_spread is not None and _middle_spread(values) < column.least_spread:
            return None
        return Measurements(
            task=Task(space.name, column.dataset, column.metric, column.device),
            values=values,
            noise_std=_combined_noise(table, column),
            fidelities={f.name: table.numbers(f.column, column.missing) * column.scale for f in column.fidelities},
            fidelity_levels={f.name: f.level for f in column.fidelities},
            max_fidelity=column.max_fidelity,
            params=_millions(table, column.params_column),
            flops=_millions(table, column.flops_column),
        )


def _middle_spread(values: Values) -> float:
    """The interquartile range of what was measured."""
    lower, upper = np.nanpercentile(values, [25, 75])
    return float(upper - lower)


def _combined_noise(table: PublishedTable, column: MetricColumn) -> Values | None:
    if not column.noise_columns:
        return None
    parts = [table.numbers(name) * column.scale for name in column.noise_columns]
    combined: Values = np.sqrt(np.sum(np.square(parts), axis=0))
    return combined


def _millions(table: PublishedTable, column: str | None) -> Values | None:
    return None if column is None else table.numbers(column) * 1e6
