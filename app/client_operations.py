"""Jobs, model versions and whole files in the HTTP client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from app.client_calls import Calls, ClientError, Document, UnreachableError, document_of

_FINAL_STATES = ("done", "failed", "cancelled")
_MEDIA_TYPES = {
    ".csv": "text/csv", ".jsonl": "application/x-ndjson", ".parquet": "application/vnd.apache.parquet",
}  # fmt: skip
_ARCHIVE = "application/zip"


class OperationCalls(Calls):
    """What operators do. Every method raises ClientError when the service refuses or does not answer."""

    def jobs(self, kind: str | None = None, state: str | None = None, **query: Any) -> Iterator[Document]:
        """All jobs, the newest first; of one kind or in one state where wanted. `query` may have sort, fields, since and
        before."""
        wanted = {"kind": kind, "state": state, **query}
        return self._items("/v1/jobs", {name: value for name, value in wanted.items() if value is not None})

    def job(self, job_id: int) -> Document:
        """One job."""
        return self._call("GET", f"/v1/jobs/{job_id}")

    def cancel_job(self, job_id: int) -> Document:
        """Cancels a job."""
        return self._call("POST", f"/v1/jobs/{job_id}:cancel")

    def retry_job(self, job_id: int) -> Document:
        """Queues a job that failed or was cancelled once more."""
        return self._call("POST", f"/v1/jobs/{job_id}:retry")

    def job_log(self, job_id: int) -> Document:
        """The last lines of a job's log."""
        return self._call("GET", f"/v1/jobs/{job_id}/log")

    def followed_job(self, job_id: int, poll_seconds: float = 0.5) -> Iterator[Document]:
        """The job again and again until it has ended."""
        while True:
            document = self.job(job_id)
            yield document
            if document["state"] in _FINAL_STATES:
                return
            time.sleep(poll_seconds)

    def finished_job(self, job_id: int, poll_seconds: float = 0.5) -> Document:
        """The job when it is done; raises ClientError if it ends otherwise."""
        *_, document = self.followed_job(job_id, poll_seconds)
        if document["state"] != "done":
            raise ClientError(f"job {job_id} {document['state']}: {document['error'] or 'it was asked to stop'}")
        return document

    def score_file(self, task: str, file: Path) -> Document:
        """Queues forecasts of the column `architecture` of a CSV, JSON Lines or Parquet file; the job."""
        return self._upload(f"/v1/tasks/{task}/predictions:bulk", file.read_bytes(), _media_type(file))

    def score(self, task: str, architectures: list[Any]) -> Document:
        """Queues forecasts of up to a million architectures; the job."""
        return self._call("POST", f"/v1/tasks/{task}/predictions:bulk", {"architectures": architectures})

    def download_result(self, job_id: int, file: Path) -> None:
        """Writes what a job made into a .csv or .parquet file."""
        self._download(f"/v1/jobs/{job_id}/result", file, {"format": "csv" if file.suffix == ".csv" else "parquet"})

    def import_file(self, task: str, file: Path) -> Document:
        """Queues the import of a CSV, JSON Lines or Parquet file of observations; the job."""
        return self._upload(f"/v1/tasks/{task}/observations:import", file.read_bytes(), _media_type(file))

    def model_versions(self) -> Iterator[Document]:
        """All model versions."""
        return self._items("/v1/model-versions")

    def model_version(self, version: str) -> Document:
        """One model version."""
        return self._call("GET", f"/v1/model-versions/{version}")

    def promote(self, version: str, reason: str) -> Document:
        """Makes a version the champion."""
        return self._call("POST", f"/v1/model-versions/{version}:promote", {"reason": reason})

    def roll_back(self, reason: str) -> Document:
        """Makes the champion's predecessor the champion again."""
        return self._call("POST", "/v1/model-versions:rollback", {"reason": reason})

    def compare_versions(self, task: str, first: str, second: str) -> Document:
        """Queues a comparison of two versions on a task; the job."""
        return self._call("POST", "/v1/model-versions:compare", {"task": task, "first": first, "second": second})

    def pin(self, task: str, version: str, reason: str) -> Document:
        """Lets a version answer for the task, whatever becomes champion."""
        return self._call("POST", f"/v1/tasks/{task}:pin", {"model_version": version, "reason": reason})

    def unpin(self, task: str, reason: str) -> Document:
        """Lets the champion answer for the task again."""
        return self._call("POST", f"/v1/tasks/{task}:unpin", {"reason": reason})

    def pins(self, task: str) -> Document:
        """What a task is pinned to, and was."""
        return self._call("GET", f"/v1/tasks/{task}/pin")

    def download_version(self, version: str, file: Path) -> None:
        """Writes a model version into an archive."""
        self._download(f"/v1/model-versions/{version}/archive", file)

    def upload_version(self, file: Path) -> Document:
        """Stores the model version of an archive."""
        return self._upload("/v1/model-versions", file.read_bytes(), _ARCHIVE)

    def track_record(self, task: str) -> Document:
        """How forecasts of the task have held against the values that came later."""
        return self._call("GET", f"/v1/tasks/{task}/track-record")

    def drift(self, task: str) -> Document:
        """Whether forecasts of the task still hold what they promise."""
        return self._call("GET", f"/v1/tasks/{task}/drift")

    def _upload(self, path: str, content: bytes, media_type: str) -> Document:
        try:
            return document_of(self._http.post(path, content=content, headers={"content-type": media_type}))
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _download(self, path: str, file: Path, query: dict[str, str] | None = None) -> None:
        """Into another file first, so that there is never half of one under its name."""
        unfinished = file.with_name(f"{file.name}.part")
        try:
            with self._http.stream("GET", path, params=query) as answer:
                if answer.is_error:
                    answer.read()
                    document_of(answer)
                with unfinished.open("wb") as written:
                    for piece in answer.iter_bytes():
                        written.write(piece)
            unfinished.replace(file)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        finally:
            unfinished.unlink(missing_ok=True)

    def _unreachable(self, error: httpx.TransportError) -> UnreachableError:
        return UnreachableError(f"expected a service at {self._http.base_url}, got {type(error).__name__}: {error}")


def _media_type(file: Path) -> str:
    try:
        return _MEDIA_TYPES[file.suffix.lower()]
    except KeyError as error:
        raise ClientError(f"expected a file that ends in {', '.join(_MEDIA_TYPES)}, got {file.name!r}") from error
