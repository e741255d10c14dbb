"""Results on disk: one small Parquet file for each protocol, case, contestant, way of choosing supports and seed.

Files appear whole or not at all, so a run stops and goes on anywhere. What a file holds is of one fingerprint: results of a
contestant that changed are computed anew and take the place of the old ones.
"""

from __future__ import annotations

import math
import os
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from predictor.errors import BenchmarkError


@dataclass(frozen=True)
class Result:
    """One contestant's scores on one draw; see `scores.Scores` for what they mean. A field with a default is younger than
    some files, which count without it.
    """

    protocol: str
    case: str
    task: str
    groups: str  # joined by |
    contestant: str
    kind: str
    selection: str
    seed: int
    num_observations: int
    num_query: int
    fingerprint: str
    kendall_tau: float
    spearman_rho: float
    nll: float
    coverage: float
    width: float
    width_at_90: float
    regret_top1: float
    regret_top10: float
    seconds_to_adapt: float
    seconds_to_forecast: float
    std_error_rho: float = math.nan
    ood_error_rho: float = math.nan


_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
_SCHEMA = pa.schema([(field.name, _TYPES[str(field.type)]) for field in fields(Result)])
_NEEDED = frozenset(field.name for field in fields(Result) if field.default is MISSING)


@dataclass(frozen=True)
class ResultKey:
    """What one file is about."""

    protocol: str
    case: str
    contestant: str
    selection: str
    seed: int


class ResultStore:
    """A folder of results. One process writes at a time to one key; any number may read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: ResultKey) -> Path:
        """Where the results of that key are or would be."""
        name = f"{_slug(key.contestant)}.{key.selection}.seed{key.seed}.parquet"
        return self.folder / _slug(key.protocol) / _slug(key.case) / name

    def sizes_done(self, key: ResultKey, fingerprint: str) -> set[int]:
        """Numbers of observations that are there under this fingerprint."""
        return {one.num_observations for one in self._of(key, fingerprint)}

    def save(self, key: ResultKey, results: Sequence[Result]) -> None:
        """Adds results of one fingerprint; those of another are dropped."""
        if not results:
            return
        merged = {one.num_observations: one for one in [*self._of(key, results[0].fingerprint), *results]}
        rows = [asdict(merged[number]) for number in sorted(merged)]
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        pq.write_table(pa.Table.from_pylist(rows, _SCHEMA), unfinished)
        unfinished.replace(path)

    def load(self, protocols: Collection[str] | None = None) -> list[Result]:
        """Everything, or what belongs to these protocols."""
        places = [self.folder / _slug(name) for name in protocols] if protocols is not None else [self.folder]
        paths = sorted(path for place in places for path in place.rglob("*.parquet"))
        return [result for path in paths for result in _read(path)]

    def _of(self, key: ResultKey, fingerprint: str) -> list[Result]:
        path = self.path(key)
        if not path.exists():
            return []
        return [one for one in _read(path) if one.fingerprint == fingerprint]


def _read(path: Path) -> Iterator[Result]:
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise BenchmarkError(f"expected results in {path}, got what is no Parquet file: {error}") from error
    if not _NEEDED <= set(table.schema.names) <= set(_SCHEMA.names):
        return iter(())  # of an earlier form: to be computed anew
    return (Result(**row) for row in table.to_pylist())


def _slug(text: str) -> str:
    """A file name for any text; different texts have different ones."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("._")
    return plain if plain == text else f"{plain}-{zlib.crc32(text.encode()):08x}"


def unique(results: Iterable[Result], field: str) -> list[str]:
    """The different values of a field, in order of appearance."""
    return list(dict.fromkeys(str(getattr(one, field)) for one in results))
