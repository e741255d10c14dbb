"""Evaluates by looking up what was published: any table of architectures, with the noise that its seeds have."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from predictor.architecture import Architecture
from predictor.errors import (
    ArchitectureError,
    EvaluationError,
    FailedEvaluationError,
    InvalidSupportSetError,
    SearchSpaceError,
)
from predictor.evaluate.base import EvaluationResult, Evaluator, Measured, Reporter
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import Observation

_MAX_FILE_BYTES = 2**30


@dataclass(frozen=True)
class TableColumns:
    """Where in a table what is: a row for each architecture, its notation in one column, and for every metric a column for each
    seed. `fidelities` are columns of lower fidelities, by metric and share of the full budget."""

    architecture: str
    metrics: Mapping[str, Sequence[str]]
    fidelities: Mapping[str, Mapping[float, Sequence[str]]] | None = None


class TableEvaluator(Evaluator):
    """Answers from a table. A seed that the table has is answered by its value, another one by that of some seed, always the
    same: so searches with other seeds meet other noise. A lower fidelity is answered from the highest one up to it.

    Raises:
        EvaluationError: if there is nothing in the table.
    """

    def __init__(self, observations: Mapping[str, Iterable[Observation]]) -> None:
        """`observations` by name of the metric."""
        self._rows: dict[str, dict[str, dict[float, dict[int, float]]]] = {}  # by hash, metric, fidelity, seed
        for metric, measured in observations.items():
            for one in measured:
                by_fidelity = self._rows.setdefault(one.architecture.hash, {}).setdefault(metric, {})
                by_seed = by_fidelity.setdefault(one.fidelity, {})
                by_seed[len(by_seed) if one.seed is None else one.seed] = one.value
        if not self._rows:
            raise EvaluationError("expected a table with at least one value, got none")

    @classmethod
    def read(cls, space: SearchSpace, path: Path, columns: TableColumns) -> TableEvaluator:
        """The table of a `.parquet` or `.csv` file.

        Raises:
            EvaluationError: if it cannot be read, lacks a column, or has an architecture or value that makes no sense.
        """
        wanted = _wanted(columns)
        found: dict[str, list[Observation]] = {metric: [] for metric, _, _ in wanted}
        names = {columns.architecture, *(name for _, _, given in wanted for name in given)}
        for number, row in enumerate(_rows(path, names), start=1):
            try:
                architecture = space.parse(row[columns.architecture])
                for metric, fidelity, given in wanted:
                    for seed, name in enumerate(given):
                        if row[name] not in (None, ""):
                            found[metric].append(Observation(architecture, float(row[name]), seed, fidelity))
            except (SearchSpaceError, ArchitectureError, InvalidSupportSetError, ValueError, TypeError) as error:
                raise EvaluationError(f"{path.name}, row {number}: {error}") from error
        return cls(found)

    def __len__(self) -> int:
        return len(self._rows)

    def evaluate(
        self, architecture: Architecture, fidelity: float = 1.0, seed: int = 0, reporter: Reporter | None = None
    ) -> EvaluationResult:
        by_metric = self._rows.get(architecture.hash)
        if by_metric is None:
            raise FailedEvaluationError(
                f"expected an architecture of the table, which has {len(self)}, got {architecture.hash}, which it lacks"
            )
        levels = sorted({level for by_fidelity in by_metric.values() for level in by_fidelity if level <= fidelity})
        if not levels:
            raise FailedEvaluationError(f"expected a fidelity that the table has, got {fidelity}, which is below all")
        curve = [Measured(level, _metrics(by_metric, level, seed)) for level in levels]
        for number, measured in enumerate(curve[:-1]):
            if reporter is not None and not reporter.measured(measured):
                return EvaluationResult(measured, tuple(curve[:number]), stopped_early=True)
        return EvaluationResult(curve[-1], tuple(curve[:-1]))


def _metrics(by_metric: Mapping[str, Mapping[float, Mapping[int, float]]], level: float, seed: int) -> dict[str, float]:
    found = {}
    for metric, by_fidelity in by_metric.items():
        by_seed = by_fidelity.get(level)
        if by_seed:
            seeds = sorted(by_seed)
            found[metric] = by_seed[seed if seed in by_seed else seeds[seed % len(seeds)]]
    return found


def _wanted(columns: TableColumns) -> list[tuple[str, float, Sequence[str]]]:
    """(metric, fidelity, column for each seed)"""
    found = [(metric, 1.0, given) for metric, given in columns.metrics.items()]
    for metric, levels in (columns.fidelities or {}).items():
        found += [(metric, fidelity, given) for fidelity, given in levels.items()]
    return found


def _rows(path: Path, names: set[str]) -> Iterator[dict[str, Any]]:
    """Of these columns; raises EvaluationError."""
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise EvaluationError(f"expected a table of at most {_MAX_FILE_BYTES >> 20} MiB, got {path.name}")
        if path.suffix == ".parquet":
            _check_columns(path, names, pq.read_schema(path).names)
            yield from pq.read_table(path, columns=sorted(names)).to_pylist()
        elif path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                _check_columns(path, names, reader.fieldnames or [])
                yield from reader
        else:
            raise EvaluationError(f"expected a .parquet or .csv file, got {path.name}")
    except (OSError, csv.Error, UnicodeDecodeError) as error:  # Arrow's errors are OSError or ValueError
        raise EvaluationError(f"expected a readable table, got {path.name}: {error}") from error


def _check_columns(path: Path, names: set[str], present: Sequence[str]) -> None:
    missing = sorted(names - set(present))
    if missing:
        raise EvaluationError(f"{path.name}: expected a column {missing[0]!r}, got {', '.join(present)[:300]}")
