"""What searches found, on disk: one small Parquet file for each view, case, searcher and seed.

Files appear whole or not at all, so a run stops and goes on anywhere.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from predictor.errors import BenchmarkError

_CLOSE = 1e-6


@dataclass(frozen=True)
class SearchResult:
    """One search: the values of full trainings that it measured, in order.

    `costs` is what had been spent by each of them, in full trainings, where smaller budgets were used besides; empty where they
    were not, and every value cost one. A search ends when it has found the table's best, so `values` may be fewer than `budget`:
    nothing better can follow.
    """

    view: str
    case: str
    searcher: str
    kind: str
    seed: int
    fingerprint: str
    budget: int
    optimum: float
    sign: float  # +1 when larger values are better
    values: list[float]
    seconds: float
    costs: list[float] = field(default_factory=list)

    def regret(self, num_evaluations: int) -> float:
        """How far the best of what that many full trainings cost is from the table's best, in the metric's unit; infinite if
        nothing was trained in full by then."""
        return float(self.regrets(num_evaluations)[-1])

    def regrets(self, budget: int) -> NDArray[np.float64]:  # (budget,)
        """After the cost of each number of full trainings; a search that ended goes on with what it had."""
        costs = np.array(self.costs or range(1, len(self.values) + 1), dtype=np.float64)
        best = np.maximum.accumulate(np.concatenate([[-np.inf], self.sign * np.array(self.values)]))
        known = np.searchsorted(costs, np.arange(1, budget + 1) + _CLOSE, side="right")  # values by then
        return np.asarray(self.sign * self.optimum - best[known])


_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "list[float]": pa.list_(pa.float64())}
_SCHEMA = pa.schema([(one.name, _TYPES[str(one.type)]) for one in fields(SearchResult)])
_WITHOUT_COSTS = [name for name in _SCHEMA.names if name != "costs"]  # as files were before there were any


@dataclass(frozen=True)
class SearchKey:
    """What one file is about."""

    view: str
    case: str
    searcher: str
    seed: int


class SearchResults:
    """A folder of results. One process writes at a time to one key; any number may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: SearchKey) -> Path:
        """Where the results of that key are or would be."""
        return self.folder / key.view / _slug(key.case) / f"{_slug(key.searcher)}.seed{key.seed}.parquet"

    def is_done(self, key: SearchKey, fingerprint: str, budget: int) -> bool:
        """Whether it is there under this fingerprint, and went far enough."""
        path = self.path(key)
        return path.exists() and any(
            one.fingerprint == fingerprint and (one.budget >= budget or one.regret(one.budget) <= 0.0)
            for one in _read(path)
        )

    def save(self, result: SearchResult) -> None:
        """Takes the place of what was there."""
        path = self.path(SearchKey(result.view, result.case, result.searcher, result.seed))
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        pq.write_table(pa.Table.from_pylist([asdict(result)], _SCHEMA), unfinished)
        unfinished.replace(path)

    def load(self, view: str | None = None) -> list[SearchResult]:
        """Everything, or what belongs to one view."""
        place = self.folder if view is None else self.folder / view
        return [one for path in sorted(place.rglob("*.parquet")) for one in _read(path)]


def _read(path: Path) -> Sequence[SearchResult]:
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise BenchmarkError(f"expected results in {path}, got what is no Parquet file: {error}") from error
    if table.schema.names not in (_SCHEMA.names, _WITHOUT_COSTS):
        return ()  # of an earlier form: to be computed anew
    return [SearchResult(**row) for row in table.to_pylist()]


def _slug(text: str) -> str:
    """A file name for any text; different texts have different ones."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("._")
    return plain if plain == text else f"{plain}-{zlib.crc32(text.encode()):08x}"
