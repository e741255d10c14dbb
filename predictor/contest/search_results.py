"""What searches found, on disk: one small Parquet file for each view, case, searcher and seed.

Files appear whole or not at all, so a run stops and goes on anywhere.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from predictor.errors import BenchmarkError


@dataclass(frozen=True)
class SearchResult:
    """One search: the values that it measured, in order.

    A search ends when it has found the table's best, so `values` may be shorter than `budget`: nothing better can follow.
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

    def regret(self, num_evaluations: int) -> float:
        """How far the best of the first evaluations is from the table's best, in the metric's unit."""
        seen = self.sign * np.array(self.values[:num_evaluations])
        return float(self.sign * self.optimum - seen.max(initial=-np.inf))

    def regrets(self, budget: int) -> NDArray[np.float64]:  # (budget,)
        """After each number of evaluations; a search that ended goes on with what it had."""
        best = np.maximum.accumulate(self.sign * np.array(self.values))
        padded = np.concatenate([best, np.full(max(budget - len(best), 0), best[-1])])[:budget]
        return np.asarray(self.sign * self.optimum - padded)


_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "list[float]": pa.list_(pa.float64())}
_SCHEMA = pa.schema([(field.name, _TYPES[str(field.type)]) for field in fields(SearchResult)])


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
    if table.schema.names != _SCHEMA.names:
        return ()  # of an earlier form: to be computed anew
    return [SearchResult(**row) for row in table.to_pylist()]


def _slug(text: str) -> str:
    """A file name for any text; different texts have different ones."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("._")
    return plain if plain == text else f"{plain}-{zlib.crc32(text.encode()):08x}"
