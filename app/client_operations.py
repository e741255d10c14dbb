"""What operators ask: of jobs, model versions, and how forecasts have held."""

from __future__ import annotations

from typing import Any

from app.client_calls import AnswerT, ItemsT, Requests


class OperationRequests(Requests[AnswerT, ItemsT]):
    """What operators do. Every method raises ClientError when the service refuses or does not answer."""

    def job(self, job_id: int) -> AnswerT:
        """One job."""
        return self._call("GET", f"/v1/jobs/{job_id}")

    def retry_job(self, job_id: int) -> AnswerT:
        """Queues a job that failed or was cancelled once more."""
        return self._create(f"/v1/jobs/{job_id}:retry")

    def job_log(self, job_id: int) -> AnswerT:
        """The last lines of a job's log."""
        return self._call("GET", f"/v1/jobs/{job_id}/log")

    def score(self, task: str, architectures: list[Any]) -> AnswerT:
        """Queues forecasts of up to a million architectures; the job."""
        return self._create(f"/v1/tasks/{task}/predictions:bulk", {"architectures": architectures})

    def model_version(self, version: str) -> AnswerT:
        """One model version."""
        return self._call("GET", f"/v1/model-versions/{version}")

    def promote(self, version: str, reason: str) -> AnswerT:
        """Makes a version the champion."""
        return self._create(f"/v1/model-versions/{version}:promote", {"reason": reason})

    def roll_back(self, reason: str) -> AnswerT:
        """Makes the champion's predecessor the champion again."""
        return self._create("/v1/model-versions:rollback", {"reason": reason})

    def compare_versions(self, task: str, first: str, second: str) -> AnswerT:
        """Queues a comparison of two versions on a task; the job."""
        return self._create("/v1/model-versions:compare", {"task": task, "first": first, "second": second})

    def pin(self, task: str, version: str, reason: str) -> AnswerT:
        """Lets a version answer for the task, whatever becomes champion."""
        return self._create(f"/v1/tasks/{task}:pin", {"model_version": version, "reason": reason})

    def unpin(self, task: str, reason: str) -> AnswerT:
        """Lets the champion answer for the task again."""
        return self._create(f"/v1/tasks/{task}:unpin", {"reason": reason})

    def pins(self, task: str) -> AnswerT:
        """What a task is pinned to, and was."""
        return self._call("GET", f"/v1/tasks/{task}/pin")

    def track_record(self, task: str) -> AnswerT:
        """How forecasts of the task have held against the values that came later."""
        return self._call("GET", f"/v1/tasks/{task}/track-record")

    def drift(self, task: str) -> AnswerT:
        """Whether forecasts of the task still hold what they promise."""
        return self._call("GET", f"/v1/tasks/{task}/drift")
