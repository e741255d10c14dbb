"""Observations from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app import observation_files
from app.errors import InvalidContentError

EXPECTED = [
    {"architecture": "cell", "value": 0.5, "std_error": 0.25, "seed": 1, "client_key": "a"},
    {"architecture": {"depth": 2}, "status": "failed", "reason": "out of memory"},
]


def write_csv(path: Path) -> None:
    path.write_text(
        "architecture,value,std_error,seed,client_key,status,reason\ncell,0.5,0.25,1,a,,\n"
        '"{""depth"": 2}",,,,,failed,out of memory\n'
    )


def write_json_lines(path: Path) -> None:
    path.write_text("\n".join(json.dumps(row) for row in EXPECTED) + "\n\n")


def write_parquet(path: Path) -> None:
    columns: dict[str, list[Any]] = {
        "architecture": ["cell", '{"depth": 2}'],
        "value": [0.5, None],
        "std_error": [0.25, None],
        "seed": [1, None],
        "client_key": ["a", None],
        "status": [None, "failed"],
        "reason": [None, "out of memory"],
    }
    pq.write_table(pa.table(columns), path)


@pytest.mark.parametrize(
    ("name", "write"), [("a.csv", write_csv), ("a.jsonl", write_json_lines), ("a.parquet", write_parquet)]
)
def test_every_form_says_the_same(tmp_path: Path, name: str, write: Any) -> None:
    write(tmp_path / name)

    assert list(observation_files.read(tmp_path / name)) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"ends in .csv, .jsonl, .parquet, got 'a.txt'"),
        ("a.csv", "architecture,valeu\nx,1\n", "row 1: expected columns among .*, got 'valeu'"),
        ("a.csv", "architecture,value\nx,1\ny,fast\n", "row 2: expected value to be a number, got 'fast'"),
        ("a.csv", "architecture,std_error\nx,some\n", "row 1: expected std_error to be a number, got 'some'"),
        ("a.csv", "value\n1\n", "row 1: expected an architecture, got none"),
        ("a.jsonl", '{"architecture": "x"}\n[1]\n', "line 2: expected a JSON object, got list"),
        ("a.jsonl", "{\n", "line 1: expected a JSON object"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(InvalidContentError, match=message):
        list(observation_files.read(tmp_path / name))


def test_batches_hold_everything_in_order() -> None:
    rows = [{"architecture": str(number)} for number in range(observation_files.BATCH_SIZE * 2 + 1)]

    batches = list(observation_files.batches(iter(rows)))

    assert [len(batch) for batch in batches] == [observation_files.BATCH_SIZE] * 2 + [1]
    assert [row for batch in batches for row in batch] == rows
