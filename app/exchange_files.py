"""Files of an exported task: a header, then rows, every value as it was to the last digit."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.errors import InvalidContentError

Row = dict[str, Any]

_WHOLE = ("id", "supersedes_id", "seed")
_REAL = ("value", "std_error", "fidelity", "cost")
_NULL, _ESCAPE = "", "\\"  # in CSV an empty cell is none at all


def write_rows(file: Path, header: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Writes a file by its ending, .jsonl, .csv or .parquet, in the place of what was there: whole, or not at all.

    Raises:
        InvalidContentError: if it has another ending.
    """
    write = _by_ending(file, {".jsonl": _write_lines, ".csv": _write_csv, ".parquet": _write_parquet})
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    os.close(descriptor)
    made = Path(name)
    try:
        write(made, header, columns, rows)
        made.replace(file)
    finally:
        made.unlink(missing_ok=True)


def read_rows(file: Path, columns: Sequence[str]) -> tuple[Row, list[Row]]:
    """Header and rows of such a file.

    Raises:
        InvalidContentError: if it cannot be read, or has other columns; says where.
    """
    read = _by_ending(file, {".jsonl": _read_lines, ".csv": _read_csv, ".parquet": _read_parquet})
    try:
        header, rows = read(file)
    except (ValueError, KeyError, UnicodeDecodeError) as error:
        raise InvalidContentError(f"{file.name}: expected a task that Archcast exported, got {error}") from error
    if not isinstance(header, dict):
        raise InvalidContentError(f"{file.name}: expected a task that Archcast exported, got no header")
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or set(row) != set(columns):
            raise InvalidContentError(
                f"{file.name}, row {number}: expected the columns {', '.join(columns)}, got others"
            )
    return header, rows


def _by_ending(file: Path, known: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    found = known.get(file.suffix.lower())
    if found is None:
        raise InvalidContentError(f"expected a file that ends in {', '.join(known)}, got {file.name!r}")
    return found


def _write_lines(file: Path, header: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Row]) -> None:
    with file.open("w", encoding="utf-8") as written:
        for one in (header, *({column: row[column] for column in columns} for row in rows)):
            written.write(json.dumps(one, ensure_ascii=False) + "\n")


def _read_lines(file: Path) -> tuple[Any, list[Any]]:
    with file.open(encoding="utf-8") as opened:
        first, *others = [json.loads(line) for line in opened if line.strip()] or [None]
    return first, others


def _write_csv(file: Path, header: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Row]) -> None:
    with file.open("w", encoding="utf-8", newline="") as written:
        written.write(f"#{json.dumps(header)}\n")  # ASCII, on one line
        writer = csv.writer(written)
        writer.writerow(columns)
        writer.writerows([_cell(row[column]) for column in columns] for row in rows)


def _read_csv(file: Path) -> tuple[Any, list[Any]]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        first = opened.readline()
        header = json.loads(first[1:]) if first.startswith("#") else None
        rows = [{column: _value(column, cell) for column, cell in row.items()} for row in csv.DictReader(opened)]
    return header, rows


def _cell(value: Any) -> str:
    """None is an empty cell; an empty text, or one that begins with a backslash, gets a backslash before it."""
    if value is None:
        return _NULL
    if isinstance(value, str):
        return _ESCAPE + value if not value or value.startswith(_ESCAPE) else value
    return repr(value)


def _value(column: Any, cell: Any) -> Any:
    if not isinstance(cell, str):
        raise ValueError(f"a row with more or fewer cells than columns: {cell!r:.80}")
    if cell == _NULL:
        return None
    if column in _WHOLE:
        return int(cell)
    return float(cell) if column in _REAL else cell.removeprefix(_ESCAPE)


def _write_parquet(file: Path, header: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Row]) -> None:
    import pyarrow  # heavy, and only needed for this form
    import pyarrow.parquet

    kinds = {column: pyarrow.int64() if column in _WHOLE else pyarrow.float64() if column in _REAL else pyarrow.string()
             for column in columns}  # fmt: skip
    schema = pyarrow.schema(list(kinds.items()), metadata={"archcast": json.dumps(header)})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), file)


def _read_parquet(file: Path) -> tuple[Any, list[Any]]:
    import pyarrow.parquet  # heavy, and only needed for this form

    with pyarrow.parquet.ParquetFile(file) as opened:
        header = json.loads((opened.schema_arrow.metadata or {})[b"archcast"])
        return header, opened.read().to_pylist()
