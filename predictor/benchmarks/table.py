"""PublishedTable: one Parquet file in its published form, read column by column.

Notation: R rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.errors import BenchmarkError

Values = NDArray[np.float64]
_MAX_SHOWN = 12


def _arrow() -> Any:
    """Tens of megabytes, and only needed where a table is read, which a service does once in a database's life."""
    import pyarrow.parquet

    return pyarrow


def _shown(names: list[str]) -> str:
    rest = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return (", ".join(names[:_MAX_SHOWN]) or "nothing") + rest


class PublishedTable:
    """A table that is open for reading; columns are read when they are asked for.

    Raises:
        BenchmarkError: if the file is missing or is no Parquet file.
    """

    def __init__(self, folder: Path, file_name: str) -> None:
        self.file_name = file_name
        path = folder / file_name
        if not path.is_file():
            found = sorted(other.name for other in folder.glob("*.parquet")) if folder.is_dir() else []
            raise BenchmarkError(f"expected the file {file_name} in {folder}, found {_shown(found)}")
        self._arrow = _arrow()
        try:
            self._file = self._arrow.parquet.ParquetFile(path)
        except self._arrow.ArrowException as error:
            raise BenchmarkError(f"expected {file_name} to be a Parquet file, got something else: {error}") from error
        self.column_names: list[str] = list(self._file.schema_arrow.names)
        self.num_rows: int = self._file.metadata.num_rows

    def numbers(self, column: str, missing: float | None = None) -> Values:  # (R,)
        """The column as numbers; NaN where it is null or holds the value `missing`.

        Raises:
            BenchmarkError: if there is no such column or it holds no numbers.
        """
        array = self._column(column)
        if not self._is_one_of(array.type, "integer", "floating"):
            raise BenchmarkError(f"{self.file_name}: expected numbers in column {column!r}, found {array.type}")
        values: Values = array.cast(self._arrow.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
        if missing is not None:
            values[values == missing] = np.nan
        return values

    def texts(self, column: str) -> list[str | None]:  # (R,)
        """The column as text; None where it is null.

        Raises:
            BenchmarkError: if there is no such column or it holds no text.
        """
        array = self._column(column)
        if not self._is_one_of(array.type, "string", "large_string"):
            raise BenchmarkError(f"{self.file_name}: expected text in column {column!r}, found {array.type}")
        texts: list[str | None] = array.to_pylist()
        return texts

    def close(self) -> None:
        """Gives back the memory that reading took; columns that were read stay."""
        self._file.close()
        self._arrow.default_memory_pool().release_unused()

    def _is_one_of(self, found: Any, *wanted: str) -> bool:
        """Whether a column's type will do; a column of nothing but nulls may have no type."""
        return any(getattr(self._arrow.types, f"is_{kind}")(found) for kind in ("null", *wanted))

    def _column(self, column: str) -> Any:
        if column not in self.column_names:
            raise BenchmarkError(
                f"{self.file_name}: expected a column {column!r}, found the columns {_shown(self.column_names)}"
            )
        return self._file.read(columns=[column]).column(0).combine_chunks()
