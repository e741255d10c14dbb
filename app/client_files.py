"""What takes more than one request, or more than documents: jobs that are waited for, and whole files, in both clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import httpx

from app.client_calls import Answer, AsyncCalls, Calls, ClientError, Document, UnreachableError, document_of

_FINAL_STATES = ("done", "failed", "cancelled")
_MEDIA_TYPES = {
    ".csv": "text/csv", ".jsonl": "application/x-ndjson", ".parquet": "application/vnd.apache.parquet",
}  # fmt: skip
_ARCHIVE = "application/zip"


class FileCalls(Calls):
    """For the client that blocks."""

    def followed_job(self, job_id: int, poll_seconds: float = 0.5) -> Iterator[Document]:
        """The job again and again until it has ended."""
        while True:
            document = self._call("GET", f"/v1/jobs/{job_id}")
            yield document
            if document["state"] in _FINAL_STATES:
                return
            time.sleep(poll_seconds)

    def finished_job(self, job_id: int, poll_seconds: float = 0.5) -> Document:
        """The job when it is done; raises ClientError if it ends otherwise."""
        *_, document = self.followed_job(job_id, poll_seconds)
        return _done(document)

    def score_file(self, task: str, file: Path) -> Answer:
        """Queues forecasts of the column `architecture` of a CSV, JSON Lines or Parquet file; the job."""
        return self._upload(f"/v1/tasks/{task}/predictions:bulk", file.read_bytes(), _media_type(file))

    def download_result(self, job_id: int, file: Path) -> None:
        """Writes what a job made into a .csv or .parquet file."""
        self._download(f"/v1/jobs/{job_id}/result", file, _result_format(file))

    def import_file(self, task: str, file: Path) -> Answer:
        """Queues the import of a CSV, JSON Lines or Parquet file of observations; the job."""
        return self._upload(f"/v1/tasks/{task}/observations:import", file.read_bytes(), _media_type(file))

    def download_version(self, version: str, file: Path) -> None:
        """Writes a model version into an archive."""
        self._download(f"/v1/model-versions/{version}/archive", file)

    def upload_version(self, file: Path) -> Answer:
        """Stores the model version of an archive."""
        return self._upload("/v1/model-versions", file.read_bytes(), _ARCHIVE)

    def _upload(self, path: str, content: bytes, media_type: str) -> Answer:
        try:
            return document_of(self._http.post(path, content=content, headers={"content-type": media_type}))
        except httpx.TransportError as error:
            raise _unreachable(error, self._http.base_url) from error

    def _download(self, path: str, file: Path, query: Mapping[str, str] | None = None) -> None:
        unfinished = _unfinished(file)
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
            raise _unreachable(error, self._http.base_url) from error
        finally:
            unfinished.unlink(missing_ok=True)


class AsyncFileCalls(AsyncCalls):
    """The same for asyncio."""

    async def followed_job(self, job_id: int, poll_seconds: float = 0.5) -> AsyncIterator[Document]:
        """The job again and again until it has ended."""
        while True:
            document = await self._call("GET", f"/v1/jobs/{job_id}")
            yield document
            if document["state"] in _FINAL_STATES:
                return
            await asyncio.sleep(poll_seconds)

    async def finished_job(self, job_id: int, poll_seconds: float = 0.5) -> Document:
        """The job when it is done; raises ClientError if it ends otherwise."""
        seen = [document async for document in self.followed_job(job_id, poll_seconds)]
        return _done(seen[-1])

    async def score_file(self, task: str, file: Path) -> Answer:
        """Queues forecasts of the column `architecture` of a CSV, JSON Lines or Parquet file; the job."""
        content = await asyncio.to_thread(file.read_bytes)
        return await self._upload(f"/v1/tasks/{task}/predictions:bulk", content, _media_type(file))

    async def download_result(self, job_id: int, file: Path) -> None:
        """Writes what a job made into a .csv or .parquet file."""
        await self._download(f"/v1/jobs/{job_id}/result", file, _result_format(file))

    async def import_file(self, task: str, file: Path) -> Answer:
        """Queues the import of a CSV, JSON Lines or Parquet file of observations; the job."""
        content = await asyncio.to_thread(file.read_bytes)
        return await self._upload(f"/v1/tasks/{task}/observations:import", content, _media_type(file))

    async def download_version(self, version: str, file: Path) -> None:
        """Writes a model version into an archive."""
        await self._download(f"/v1/model-versions/{version}/archive", file)

    async def upload_version(self, file: Path) -> Answer:
        """Stores the model version of an archive."""
        return await self._upload("/v1/model-versions", await asyncio.to_thread(file.read_bytes), _ARCHIVE)

    async def _upload(self, path: str, content: bytes, media_type: str) -> Answer:
        try:
            return document_of(await self._http.post(path, content=content, headers={"content-type": media_type}))
        except httpx.TransportError as error:
            raise _unreachable(error, self._http.base_url) from error

    async def _download(self, path: str, file: Path, query: Mapping[str, str] | None = None) -> None:
        unfinished = _unfinished(file)
        try:
            async with self._http.stream("GET", path, params=query) as answer:
                if answer.is_error:
                    await answer.aread()
                    document_of(answer)
                with unfinished.open("wb") as written:
                    async for piece in answer.aiter_bytes():
                        await asyncio.to_thread(written.write, piece)
            unfinished.replace(file)
        except httpx.TransportError as error:
            raise _unreachable(error, self._http.base_url) from error
        finally:
            unfinished.unlink(missing_ok=True)


def _done(document: Document) -> Document:
    if document["state"] != "done":
        reason = document["error"] or "it was asked to stop"
        raise ClientError(f"job {document['id']} {document['state']}: {reason}")
    return document


def _unfinished(file: Path) -> Path:
    """Where a download is written first, so that there is never half of one under its name."""
    return file.with_name(f"{file.name}.part")


def _result_format(file: Path) -> dict[str, str]:
    return {"format": "csv" if file.suffix == ".csv" else "parquet"}


def _unreachable(error: httpx.TransportError, url: httpx.URL) -> UnreachableError:
    return UnreachableError(f"expected a service at {url}, got {type(error).__name__}: {error}")


def _media_type(file: Path) -> str:
    try:
        return _MEDIA_TYPES[file.suffix.lower()]
    except KeyError as error:
        raise ClientError(f"expected a file that ends in {', '.join(_MEDIA_TYPES)}, got {file.name!r}") from error
