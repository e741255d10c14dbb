"""Forecasting up to a million architectures as a job. The result is kept part by part, and a part is a checkpoint."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import orjson
from sqlalchemy.orm import Session

from app import observation_files, queue
from app.bulk import inputs
from app.database import Database
from app.errors import AppError, ConflictError, InvalidContentError, NotFoundError
from app.inference import (
    SHOWN,
    Inference,
    ParsedArchitecture,
    ServedTask,
    parse_many,
    referenced_ids,
    referred_architectures,
)
from app.jobs import files
from app.jobs import service as jobs
from app.jobs.progress import Conclusion, Progress
from app.jobs.schemas import JobReply
from app.settings import Settings
from app.tasks import service as tasks

Format = Literal["parquet", "csv"]
COLUMNS = ("index", "architecture_id", "genotype", *SHOWN, "error")
_PART = 20_000  # architectures
_PIECE = 1_000  # after so many it is looked whether to stop
_NUM_BEST = 10

Row = tuple[Any, ...]
"""The values of `COLUMNS`; those of an architecture that was refused are null but for its index and error."""


def start(
    settings: Settings,
    database: Database,
    task_name: str,
    media_type: str,
    content: bytes,
    project_id: int | None = None,
) -> JobReply:
    """Queues the forecasts of all architectures of a file, or of a list as JSON, for a caller of the project (None: of all).

    Raises:
        NotFoundError: if there is no such task.
        InvalidContentError: if there are none or too many, as far as that shows without reading a file.
    """
    if not content:
        raise InvalidContentError("expected architectures, got an empty body")
    with database.write() as session:
        task = tasks.find(session, task_name)
        payload = {"task_id": task.id, "task": task.name, "media_type": media_type, "num_bytes": len(content)}
        payload["project_id"] = project_id  # whose architectures ids may name
        return jobs.shown(jobs.find(session, inputs.enqueue(session, queue.SCORE, payload, content)))


def listed(document: object, limit: int) -> bytes:
    """The list of a JSON request, as the job's file.

    Raises:
        InvalidContentError: if it is no such request, or too long.
    """
    match document:
        case {"architectures": list(notations), **rest} if not rest and 1 <= len(notations) <= limit:
            return orjson.dumps(notations)
        case {"architectures": list(notations), **rest} if not rest:
            message = f"expected 1 to {limit} architectures, got {len(notations)}"
        case _:
            message = 'expected an object {"architectures": […]} and no other member, got something else'
    raise InvalidContentError(message, [{"location": ["body", "architectures"], "message": message}])


@dataclass(frozen=True)
class _Reached:
    """How far scoring is: how many architectures and parts, how many were refused, and the best so far."""

    adaptation: Sequence[Any]
    num_done: int = 0
    num_parts: int = 0
    num_refused: int = 0
    best: Sequence[Mapping[str, Any]] = ()

    def after(self, rows: Sequence[Row], is_maximized: bool) -> _Reached:
        """With one more part."""
        places = [COLUMNS.index(name) for name in ("architecture_id", "genotype", "mean", "std")]
        named = ("architecture_id", "genotype", "mean", "std")
        new = [dict(zip(named, (row[place] for place in places), strict=True)) for row in rows if row[-1] is None]
        distinct = {one["architecture_id"]: one for one in [*self.best, *new]}
        ordered = sorted(distinct.values(), key=lambda one: one["mean"], reverse=is_maximized)
        return _Reached(
            self.adaptation,
            self.num_done + len(rows),
            self.num_parts + 1,
            self.num_refused + len(rows) - len(new),
            ordered[:_NUM_BEST],
        )

    def as_json(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {**self.__dict__, "adaptation": list(self.adaptation), "best": list(self.best)}


def run(settings: Settings, database: Database, payload: Mapping[str, Any], progress: Progress) -> Conclusion:
    """Forecasts everything with the task's adaptation of this moment, from where an earlier attempt left off.

    Raises:
        InvalidContentError: if the file cannot be read, or holds none or too many.
        NotFoundError: if the task is gone.
        NotReadyError: if there is no champion yet.
        JobStoppedError: if the job is to stop.
    """
    inference = Inference(settings, database)
    served = inference.load(str(payload["task_id"]))
    reached = _reached(served, progress)
    with inputs.opened(progress.store, payload["media_type"]) as path:
        total = _count(path)
        if not 1 <= total <= settings.max_scored_architectures:
            raise InvalidContentError(f"expected 1 to {settings.max_scored_architectures} architectures, got {total}")
        notations = islice(_notations(path), reached.num_done, None)
        while part := list(islice(notations, _PART)):
            rows: list[Row] = []
            for start in range(0, len(part), _PIECE):
                progress.check()
                done = reached.num_done + start
                progress.report(100.0 * done / total, f"forecasting, {done} of {total}")
                rows += _rows(database, inference, served, part[start : start + _PIECE], done, payload["project_id"])
            number, reached = reached.num_parts, reached.after(rows, served.is_maximized)
            progress.save(reached.as_json(), part=(number, _parquet(rows)))
    result = {
        "task": served.name,
        "model_version": served.model_version,
        "num_observations": served.num_observations,
        "num_architectures": reached.num_done,
        "num_refused": reached.num_refused,
        "best": list(reached.best),
    }
    return lambda session: result


def _reached(served: ServedTask, progress: Progress) -> _Reached:
    """Where an earlier attempt left off, if the same adaptation answers still: forecasts of two are not mixed."""
    adaptation = [served.model_version, served.adapted_revision, served.last_observation_id]
    kept = progress.store.checkpoint()
    if kept is None:
        return _Reached(adaptation)
    if kept.details["adaptation"] == adaptation:
        progress.note(f"going on from {kept.details['num_done']}")
        return _Reached(**kept.details)
    progress.note("beginning again, since the task was adapted anew")
    progress.store.begin_again()
    return _Reached(adaptation)


def _count(path: Path) -> int:
    return len(orjson.loads(path.read_bytes())) if path.suffix == ".json" else observation_files.count(path)


def _notations(path: Path) -> Iterator[object]:
    return iter(orjson.loads(path.read_bytes())) if path.suffix == ".json" else observation_files.architectures(path)


def _rows(
    database: Database,
    inference: Inference,
    served: ServedTask,
    notations: Sequence[object],
    first: int,
    project_id: int | None,
) -> list[Row]:
    ids, stored = referenced_ids(notations), {}
    if ids:
        with database.read() as session:
            stored = referred_architectures(session, served.space, ids, project_id)
    parsed = parse_many(served.space, notations, stored)
    good = [one for one in parsed if isinstance(one, ParsedArchitecture)]
    forecasts = iter(inference.forecaster.forecast(served, good))
    nothing = (None,) * (len(COLUMNS) - 2)
    return [
        (index, *nothing, one.detail)
        if isinstance(one, AppError)
        else (index, one.id, one.genotype, *next(forecasts).shown.values(), None)
        for index, one in enumerate(parsed, start=first)
    ]


def _parquet(rows: Sequence[Row]) -> bytes:
    import pyarrow  # heavy, and only needed here
    import pyarrow.parquet

    text, number = pyarrow.string(), pyarrow.float64()
    types = [pyarrow.int64(), text, text, *[number] * len(SHOWN), text]
    columns = [pyarrow.array(column, kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)]
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns, names=list(COLUMNS)), sink, compression="zstd")
    return sink.getvalue()


def check_result(session: Session, job_id: int, project_id: int | None = None) -> None:
    """Makes sure that the job has a result to download.

    Raises:
        NotFoundError: if there is none that a caller of the project sees (None: of all), or jobs of its kind make no file.
        ConflictError: if it is not done.
    """
    record = jobs.find(session, job_id, project_id)
    if record.kind != queue.SCORE:
        raise NotFoundError(f"expected a job that forecasts in bulk, got {job_id}, which is of the kind {record.kind}")
    if record.state != "done":
        raise ConflictError(f"expected a job that is done, got {job_id}, which is {record.state}")


def result(database: Database, job_id: int, form: Format) -> Iterator[bytes]:
    """The result as one file, piece by piece."""
    import pyarrow.csv  # heavy, and only needed here
    import pyarrow.parquet

    sink = _Sink()
    writer = None
    for part in files.parts(database, job_id, queue.RESULT):
        table = pyarrow.parquet.read_table(io.BytesIO(part))
        if writer is None:
            writer = (
                pyarrow.parquet.ParquetWriter(sink, table.schema, compression="zstd")
                if form == "parquet"
                else pyarrow.csv.CSVWriter(sink, table.schema)
            )
        writer.write_table(table)
        yield sink.taken()
    if writer is not None:
        writer.close()
        yield sink.taken()


class _Sink(io.RawIOBase):
    """What is written to it is taken out again at once."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(self._pieces[-1])

    def taken(self) -> bytes:
        """Everything that was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
