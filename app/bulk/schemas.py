"""Examples of bulk jobs."""

from __future__ import annotations

from app.bulk.inputs import CSV, JSON
from app.jobs.schemas import JOB_EXAMPLE

_QUEUED = {
    **JOB_EXAMPLE, "state": "queued", "percent": 0.0, "stage": "", "result": None, "attempts": 0, "started_at": None,
    "finished_at": None,
}  # fmt: skip
_PAYLOAD = {"task_id": 1, "task": "digits-accuracy", "num_bytes": 812_345}
SCORE_EXAMPLE = {**_QUEUED, "kind": "score", "payload": {**_PAYLOAD, "media_type": JSON}}
IMPORT_EXAMPLE = {**_QUEUED, "kind": "import", "payload": {**_PAYLOAD, "media_type": CSV}}
