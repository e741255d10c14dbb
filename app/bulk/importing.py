"""Importing a file of observations as a job: all of it is recorded, in the transaction that ends the job, or none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from app import observation_files, queue
from app.bulk import inputs
from app.database import Database
from app.errors import ErrorItem, InvalidContentError
from app.inference import ParsedArchitecture
from app.jobs import service as jobs
from app.jobs.progress import Conclusion, Progress
from app.jobs.schemas import JobReply
from app.observations import intake
from app.observations import service as observations
from app.observations.intake import Draft, Intake
from app.observations.schemas import ObservationBatch
from app.settings import Settings
from app.tasks import service as tasks

_MAX_ERRORS = 50
_RECORDING_PERCENT = 95.0


def start(database: Database, task_name: str, media_type: str, content: bytes) -> JobReply:
    """Queues the import of a file.

    Raises:
        NotFoundError: if there is no such task.
        InvalidContentError: if the file is empty.
    """
    if not content:
        raise InvalidContentError("expected a file of observations, got an empty body")
    with database.write() as session:
        task = tasks.find(session, task_name)
        payload = {"task_id": task.id, "task": task.name, "media_type": media_type, "num_bytes": len(content)}
        return jobs.shown(jobs.find(session, inputs.enqueue(session, queue.IMPORT, payload, content)))


def run(settings: Settings, database: Database, payload: Mapping[str, Any], progress: Progress) -> Conclusion:
    """Reads and checks the whole file; the conclusion records it.

    Raises:
        InvalidContentError: if a row is bad, or there are too many; names the rows, and nothing is recorded.
        JobStoppedError: if the job is to stop.
    """
    with inputs.opened(progress.store, payload["media_type"]) as path:
        num_rows = observation_files.count(path)
        if not 1 <= num_rows <= settings.max_imported_observations:
            raise InvalidContentError(
                f"expected 1 to {settings.max_imported_observations} observations, got {num_rows}"
            )
        taken, drafts = _read(database, path, str(payload["task_id"]), num_rows, progress)
    progress.report(_RECORDING_PERCENT, "recording")

    def record(session: Session) -> Mapping[str, Any]:
        posted = observations.record(session, taken, drafts)
        return {"task": posted.task, "num_created": posted.num_created, "num_duplicates": posted.num_duplicates}

    return record


def _read(
    database: Database, path: Path, task: str, num_rows: int, progress: Progress
) -> tuple[Intake, Sequence[Draft]]:
    """All rows as drafts; architectures that come again share their memory."""
    drafts: list[Draft] = []
    shared: dict[str, ParsedArchitecture] = {}
    errors: list[ErrorItem] = []
    rows = observation_files.read(path)
    taken = None
    for start in range(0, num_rows, observation_files.BATCH_SIZE):
        progress.check()
        progress.report(_RECORDING_PERCENT * start / num_rows, f"reading, row {start} of {num_rows}")
        batch = list(islice(rows, observation_files.BATCH_SIZE))
        with database.read() as session:
            taken = intake.take(session, task, ObservationBatch.model_validate({"observations": batch}), len(batch))
        try:
            read = taken.read()
        except InvalidContentError as error:
            errors += [_in_file(one, start) for one in error.errors]
            if len(errors) >= _MAX_ERRORS:
                break
            continue
        for draft in read:
            parsed = shared.setdefault(draft.parsed.id, draft.parsed)
            drafts.append(dataclasses.replace(draft, index=start + draft.index, parsed=parsed))
    if errors or taken is None:
        for one in errors[:_MAX_ERRORS]:
            progress.note(one["message"])
        more = f" (and {len(errors) - 1} more in the job's log)" if len(errors) > 1 else ""
        raise InvalidContentError(f"nothing was recorded: {errors[0]['message']}{more}", errors)
    return taken, drafts


def _in_file(error: ErrorItem, start: int) -> ErrorItem:
    _, _, index, *field = error["location"]
    row = start + int(index) + 1
    return {"location": ["body", row, *field], "message": f"row {row}: {'.'.join(map(str, field))}: {error['message']}"}
