"""PublishedTable: one Parquet file in its published form, read column by column.

Notation: R rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from predictor.errors import BenchmarkError

Values = NDArray[np.float64]
_MAX_SHOWN = 12


def _is_one_of(found: pa.DataType, *wanted: Callable[[pa.DataType], bool]) -> bool:
    """Whether a column's type will do; a column of nothing but nulls may have no type."""
    return pa.types.is_null(found) or any(fits(found) for fits in wanted)


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
        try:
            self._file = pq.ParquetFile(path)
        except pa.ArrowException as error:
            raise BenchmarkError(f"expected {file_name} to be a Parquet file, got something else: {error}") from error
        self.column_names: list[str] = list(self._file.schema_arrow.names)
        self.num_rows: int = self._file.metadata.num_rows

    def numbers(self, column: str, missing: float | None = None) -> Values:  # (R,)
        """The column as numbers; NaN where it is null or holds the value `missing`.

        Raises:
            BenchmarkError: if there is no such column or it holds no numbers.
        """
        array = self._column(column)
        if not _is_one_of(array.type, pa.types.is_integer, pa.types.is_floating):
            raise BenchmarkError(f"{self.file_name}: expected numbers in column {column!r}, found {array.type}")
        values: Values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
        if missing is not None:
            values[values == missing] = np.nan
        return values

    def texts(self, column: str) -> list[str | None]:  # (R,)
        """The column as text; None where it is null.

        Raises:
            BenchmarkError: if there is no such column or it holds no text.
        """
        array = self._column(column)
        if not _is_one_of(array.type, pa.types.is_string, pa.types.is_large_string):
            raise BenchmarkError(f"{self.file_name}: expected text in column {column!r}, found {array.type}")
        texts: list[str | None] = array.to_pylist()
        return texts

    def _column(self, column: str) -> pa.Array:
        if column not in self.column_names:
            raise BenchmarkError(
                f"{self.file_name}: expected a column {column!r}, found the columns {_shown(self.column_names)}"
            )
        return self._file.read(columns=[column]).column(0).combine_chunks()
