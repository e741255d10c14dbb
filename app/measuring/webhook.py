"""Asks a user's own service over HTTP: the architecture is posted as JSON, and metrics are answered.

What is posted and what may be answered is that of a command's input and output. The answer comes with the request, so the other side
may take as long as the timeout allows. Redirects are not followed.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import httpx

from app.inference.evaluating import AskError, Document

_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True)
class Webhook:
    """Called with a question; answers what the other side says. May be called from any thread."""

    url: str
    timeout_seconds: float = 3_600.0
    max_answer_bytes: int = 2**20

    def __call__(self, question: Document) -> object:
        deadline = time.monotonic() + self.timeout_seconds
        try:
            with (
                httpx.Client(timeout=self.timeout_seconds, follow_redirects=False) as client,
                client.stream("POST", self.url, json=question) as answer,
            ):
                content = self._content(answer, deadline)
        except httpx.HTTPError as error:
            raise AskError(f"expected an answer from {self.url}, got {type(error).__name__}: {error}") from error
        if not answer.is_success:
            is_later = answer.status_code >= 500 or answer.status_code == _TOO_MANY_REQUESTS
            said = content[:200].decode(errors="replace")
            raise AskError(
                f"expected status 200 from {self.url}, got {answer.status_code}: {said}", may_succeed_later=is_later
            )
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise AskError(
                f"expected JSON from {self.url}, got {content[:200].decode(errors='replace')!r}",
                may_succeed_later=False,
            ) from error

    def _content(self, answer: httpx.Response, deadline: float) -> bytes:
        content = b""
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > self.max_answer_bytes:
                raise AskError(
                    f"expected at most {self.max_answer_bytes} bytes from {self.url}, got more", may_succeed_later=False
                )
            if time.monotonic() > deadline:
                raise AskError(f"expected an answer from {self.url} within {self.timeout_seconds:g} s, got no end")
        return content
