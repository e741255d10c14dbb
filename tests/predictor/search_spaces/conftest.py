"""The folder of the published tables, and one declared space."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

REPOSITORY = Path(__file__).parents[3]

PublishedRows = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def published_rows() -> PublishedRows:
    """Reads columns of a published table; skips the test where the table is not at hand."""

    def read(table: str, *columns: str) -> list[dict[str, Any]]:
        named = os.environ.get("ARCHCAST_BENCHMARK_DATA")
        folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
        path = folder / f"{table}.parquet"
        if not path.is_file():
            pytest.skip(f"needs the published table {table}.parquet (set ARCHCAST_BENCHMARK_DATA to its folder)")
        rows: list[dict[str, Any]] = pq.read_table(path, columns=list(columns)).to_pylist()
        return rows

    return read
