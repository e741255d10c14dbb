"""Files that come with a request, and how a job reads them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app import queue
from app.jobs import files
from app.jobs.progress import JobStore

CSV, JSON_LINES, PARQUET, JSON = (
    "text/csv", "application/x-ndjson", "application/vnd.apache.parquet", "application/json",
)  # fmt: skip
ENDINGS = {CSV: ".csv", JSON_LINES: ".jsonl", PARQUET: ".parquet", JSON: ".json"}
"""Media types and what files of them end in."""
_PART_BYTES = 8 * 2**20


def enqueue(session: Session, kind: str, payload: dict[str, Any], content: bytes) -> int:
    """Queues a job that reads this file; its id."""
    job_id = queue.enqueue(session, kind, payload) or 0
    for number, start in enumerate(range(0, len(content), _PART_BYTES)):
        files.put(session, job_id, queue.INPUT, number, content[start : start + _PART_BYTES])
    return job_id


@contextmanager
def opened(store: JobStore, media_type: str) -> Iterator[Path]:
    """The file that came with the job, on this machine's disk as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="archcast-") as folder:
        path = Path(folder) / f"file{ENDINGS[media_type]}"
        with path.open("wb") as file:
            for part in store.input():
                file.write(part)
        yield path
