"""Observations from files: CSV, JSON Lines or Parquet, one row each.

The column `architecture` holds the notation (text, or JSON that begins with { or [). `value`, `std_error`, `seed`,
`fidelity`, `cost`, `status`, `reason` and `client_key` are optional; empty cells are left out. Other columns are refused.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from app.errors import InvalidContentError

BATCH_SIZE = 2_000
_NUMBERS: Mapping[str, Callable[[Any], int | float]] = {
    "value": float,
    "std_error": float,
    "seed": int,
    "fidelity": float,
    "cost": float,
}
_TEXTS = ("status", "reason", "client_key")

Row = Mapping[str, Any]


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The observations of a file, by its ending: .csv, .jsonl or .parquet.

    Raises:
        InvalidContentError: if the file has another ending or a row cannot be read; names the row.
    """
    for number, row in enumerate(_rows(path), start=1):
        yield _observation(row, f"{path.name}, row {number}")


def architectures(path: Path) -> Iterator[object]:
    """The column `architecture` of a file, by its ending; other columns are left out.

    Raises:
        InvalidContentError: see `read`.
    """
    for number, row in enumerate(_rows(path), start=1):
        if _is_empty(row.get("architecture")):
            raise InvalidContentError(f"{path.name}, row {number}: expected an architecture, got none")
        yield _notation(row["architecture"])


def count(path: Path) -> int:
    """How many rows the file has.

    Raises:
        InvalidContentError: see `read`.
    """
    return sum(1 for _ in _rows(path))


def _rows(path: Path) -> Iterator[Row]:
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".parquet": _parquet_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidContentError(f"expected a file that ends in {', '.join(readers)}, got {path.name!r}")
    try:
        yield from reader(path)
    except (ValueError, csv.Error, RecursionError) as error:  # not text, not Parquet, a field without end
        raise InvalidContentError(f"{path.name}: expected a file that can be read, got {error!s:.300}") from error


def batches(observations: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The observations in lists of at most `BATCH_SIZE`."""
    while batch := list(islice(observations, BATCH_SIZE)):
        yield batch


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InvalidContentError(f"{path.name}, line {number}: expected a JSON object, got {error}") from error
            if not isinstance(row, dict):
                raise InvalidContentError(
                    f"{path.name}, line {number}: expected a JSON object, got {type(row).__name__}"
                )
            yield row


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow.parquet  # heavy, and only needed for this form

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH_SIZE):
            yield from batch.to_pylist()


def _observation(row: Row, where: str) -> dict[str, Any]:
    known = {"architecture", *_NUMBERS, *_TEXTS}
    unknown = [name for name in row if name not in known]
    if unknown:
        raise InvalidContentError(f"{where}: expected columns among {', '.join(sorted(known))}, got {unknown[0]!r}")
    if _is_empty(row.get("architecture")):
        raise InvalidContentError(f"{where}: expected an architecture, got none")
    found: dict[str, Any] = {"architecture": _notation(row["architecture"])}
    for name, value in row.items():
        if name != "architecture" and not _is_empty(value):
            found[name] = _number(name, value, where) if name in _NUMBERS else str(value)
    return found


def _is_empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _notation(value: object) -> object:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _number(name: str, value: object, where: str) -> int | float:
    try:
        return _NUMBERS[name](value)
    except (TypeError, ValueError) as error:
        raise InvalidContentError(f"{where}: expected {name} to be a number, got {value!r:.80}") from error
