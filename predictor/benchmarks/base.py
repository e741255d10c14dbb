"""Benchmark: one published table, read as tasks whose architectures come with their measured values.

Notation: R rows of a table, S architectures of one task.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.benchmarks.table import PublishedTable, Values
from predictor.errors import BenchmarkError, PredictorError
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import Task


class ArchitecturePool:
    """Every architecture parsed once, however many tasks and tables share it. Not for use from several threads."""

    def __init__(self) -> None:
        self._parsed: dict[tuple[str, str], Architecture] = {}

    def parse(self, space: SearchSpace, notation: str) -> Architecture:
        """The architecture of that notation.

        Raises:
            PredictorError: whatever the space says about notation that is not its own.
        """
        key = (space.name, notation)
        if key not in self._parsed:
            self._parsed[key] = space.parse(notation)
        return self._parsed[key]


@dataclass(frozen=True)
class Selection:
    """Which rows of a table to keep: all, or at most that many a task, drawn without looking at their values.

    The draw depends on the seed and the table alone, so tasks of one table share their architectures where they can.

    Raises:
        BenchmarkError: if the number is not positive.
    """

    max_architectures_per_task: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_architectures_per_task is not None and self.max_architectures_per_task < 1:
            raise BenchmarkError(f"expected at least 1 architecture per task, got {self.max_architectures_per_task}")

    def rows(self, measured: NDArray[np.bool_], group: str) -> NDArray[np.int64]:  # (R,) -> (S,)
        """The kept rows among the measured ones, ascending."""
        if self.max_architectures_per_task is None:
            return np.flatnonzero(measured)
        rng = np.random.default_rng([self.seed, zlib.crc32(group.encode())])
        shuffled = rng.permutation(len(measured))
        return np.sort(shuffled[measured[shuffled]][: self.max_architectures_per_task])


@dataclass(frozen=True)
class Measurements:
    """One task's values for all R architectures of a table; NaN where there is none."""

    task: Task
    values: Values  # (R,)
    noise_std: Values | None = None  # (R,)
    fidelities: Mapping[str, Values] = field(default_factory=dict)  # each (R,)
    fidelity_levels: Mapping[str, float] = field(default_factory=dict)
    max_fidelity: float | None = None
    params: Values | None = None  # (R,)
    flops: Values | None = None  # (R,)


@dataclass(frozen=True)
class Contents:
    """What a table says about one search space: how row r writes its architecture, and what was measured of it."""

    space: SearchSpace
    notation: Callable[[int], str]
    measurements: tuple[Measurements, ...]
    definition: Mapping[str, object] | None = None  # the document that declares the space, if it is not built in


@dataclass(frozen=True, eq=False)
class BenchmarkTask:
    """A task with everything that a published table knows about it.

    Two entries may be the same network: spaces write some networks in several ways and tables measure each of them.

    Raises:
        BenchmarkError: if there are no values, not as many as notations, or some that are not finite.
    """

    task: Task
    group: str  # the name of the table
    space: SearchSpace
    notations: tuple[str, ...]  # (S,) in the space's notation
    rows: NDArray[np.int64]  # (S,) which architecture of the table each one is
    values: Values  # (S,) in the metric's unit
    noise_std: Values | None = None  # (S,) of repeated measurements; NaN where there was one
    fidelities: Mapping[str, Values] = field(default_factory=dict)  # (S,) each: what smaller budgets said
    fidelity_levels: Mapping[str, float] = field(default_factory=dict)  # those budgets, such as epochs
    max_fidelity: float | None = None  # the budget behind `values`, on the same scale
    params: Values | None = None  # (S,) counts
    flops: Values | None = None  # (S,) multiply-accumulates
    definition: Mapping[str, object] | None = None  # the document that declares the space, if it is not built in
    pool: ArchitecturePool = field(default_factory=ArchitecturePool, repr=False)

    def __post_init__(self) -> None:
        if len(self.values) == 0:
            raise BenchmarkError(f"{self.group}: expected measured values of {self.task.name}, found none")
        arrays = {"rows": self.rows, "values": self.values, **self.fidelities}
        arrays |= {"noise_std": self.noise_std} if self.noise_std is not None else {}
        for name, array in arrays.items():
            if len(array) != len(self.notations):
                raise BenchmarkError(f"{self.group}: expected {len(self.notations)} {name}, got {len(array)}")
        if not np.isfinite(self.values).all():
            raise BenchmarkError(f"{self.group}: expected finite values of {self.task.name}, got NaN or infinity")

    def __len__(self) -> int:
        return len(self.notations)

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:  # (S,)
        """The architectures in the order of `values`, parsed when first asked for.

        Raises:
            BenchmarkError: if the space cannot read one of them.
        """
        return tuple(map(self._parsed, self.notations, self.rows))

    def _parsed(self, notation: str, row: int) -> Architecture:
        try:
            return self.pool.parse(self.space, notation)
        except PredictorError as error:
            raise BenchmarkError(
                f"{self.group}: expected an architecture of {self.space.name} in row {row}, got {notation[:200]!r}: {error}"
            ) from error


class Benchmark(ABC):
    """One published table. Immutable; holds no data until it is read."""

    name: str
    file_name: str
    shipped: bool = False
    """Whether the table comes with this package."""
    measured: bool = True
    """Whether the values are measurements of trained or timed architectures; proxies that are computed are not."""

    @abstractmethod
    def _contents(self, table: PublishedTable) -> Iterable[Contents]:
        """What the table says, all rows, one entry per search space; raises BenchmarkError."""

    def read(
        self, folder: Path, selection: Selection | None = None, pool: ArchitecturePool | None = None
    ) -> list[BenchmarkTask]:
        """The table's tasks; rows without a value are left out.

        Raises:
            BenchmarkError: if the file or a column is missing or not in the published form.
        """
        chosen, shared = selection or Selection(), pool or ArchitecturePool()
        table = PublishedTable(folder, self.file_name)
        return [
            self._task(contents, measurements, chosen, shared)
            for contents in self._contents(table)
            for measurements in contents.measurements
        ]

    def _task(
        self, contents: Contents, measurements: Measurements, selection: Selection, pool: ArchitecturePool
    ) -> BenchmarkTask:
        rows = selection.rows(np.isfinite(measurements.values), self.name)

        def kept(values: Values | None) -> Values | None:
            return None if values is None else values[rows]

        return BenchmarkTask(
            task=measurements.task,
            group=self.name,
            space=contents.space,
            notations=tuple(contents.notation(int(row)) for row in rows),
            rows=rows,
            values=measurements.values[rows],
            noise_std=kept(measurements.noise_std),
            fidelities={name: values[rows] for name, values in measurements.fidelities.items()},
            fidelity_levels=dict(measurements.fidelity_levels),
            max_fidelity=measurements.max_fidelity,
            params=kept(measurements.params),
            flops=kept(measurements.flops),
            definition=contents.definition,
            pool=pool,
        )
