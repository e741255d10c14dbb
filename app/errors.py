"""Everything that the service raises on purpose; `error_handlers` renders it as RFC 9457 problem+json.

    AppError
    ├── InternalError               500  internal: a fault of the service, not of the request
    ├── RequestError                400  invalid-request
    │   ├── UnauthorizedError       401  unauthorized: no key or token was given, or it is not valid
    │   │   └── InvalidTokenError   401  invalid-token
    │   ├── InvalidContentError     422  invalid-content: read, but it cannot be accepted; `errors` lists why, and where
    │   │   └── KeyReusedError      422  idempotency-key-reused: the key belongs to another request
    │   ├── NotFoundError           404  not-found
    │   ├── ForbiddenError          403  forbidden: the secret that was given does not allow it
    │   ├── RateLimitedError        429  rate-limited: too many requests; Retry-After says when
    │   ├── ConflictError           409  conflict: the same name or key with other content
    │   │   ├── LeaseLostError      409  lease-lost: what the lease was of has gone to somebody else
    │   │   └── KeyInFlightError    409  idempotency-key-in-flight: the first request of the key is still worked on
    │   ├── PreconditionFailedError 412  precondition-failed: it was changed since the caller looked
    │   ├── MethodNotAllowedError   405  method-not-allowed
    │   ├── TooLargeError           413  body-too-large
    │   └── UnsupportedMediaTypeError 415  unsupported-media-type
    └── RetryableError              503  unavailable: the same request may succeed later
        ├── NotReadyError           503  not-ready
        ├── OutOfSpaceError         503  out-of-space: nothing was written, and reading goes on; somebody has to make room
        └── TimedOutError           504  timed-out: it took too long; ask for less, or later

`type` is `/problems/<slug>` and never changes; `detail` says what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypedDict

PROBLEM_TYPE_PREFIX = "/problems/"


class ErrorItem(TypedDict):
    """One thing that is wrong: where in the request (`["body", "observations", 3, "value"]`) and why."""

    location: list[str | int]
    message: str


class AppError(Exception):
    """Base of all errors that are shown to users. `extensions` become further members of the problem document."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, detail: str, **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extensions = extensions

    @property
    def type(self) -> str:
        """The stable address of this kind of problem."""
        return f"{PROBLEM_TYPE_PREFIX}{self.slug}"


class InternalError(AppError):
    """A fault of the service, not of the request."""


class RequestError(AppError):
    """The request has to change before it can succeed."""

    status = 400
    slug = "invalid-request"
    title = "Invalid request"


class InvalidContentError(RequestError):
    """The request was read, but what it says cannot be accepted."""

    status = 422
    slug = "invalid-content"
    title = "Invalid content"

    def __init__(self, detail: str, errors: Sequence[ErrorItem] = (), **extensions: Any) -> None:
        super().__init__(detail, errors=list(errors), **extensions)

    @property
    def errors(self) -> list[ErrorItem]:
        """Every single thing that is wrong, as far as known."""
        return list(self.extensions["errors"])


class KeyReusedError(InvalidContentError):
    """The Idempotency-Key came before with another request."""

    slug = "idempotency-key-reused"
    title = "Idempotency key reused"


class NotFoundError(RequestError):
    """Nothing has that name or id."""

    status = 404
    slug = "not-found"
    title = "Not found"


class UnauthorizedError(RequestError):
    """Nobody knows who asks."""

    status = 401
    slug = "unauthorized"
    title = "Unauthorized"
    headers = MappingProxyType({"WWW-Authenticate": 'Bearer realm="archcast"'})


class InvalidTokenError(UnauthorizedError):
    """A key or token was given, and it is not valid (any more)."""

    slug = "invalid-token"
    title = "Invalid key or token"
    headers = MappingProxyType({"WWW-Authenticate": 'Bearer realm="archcast", error="invalid_token"'})


class RateLimitedError(RequestError):
    """The caller asked for too much in too little time."""

    status = 429
    slug = "rate-limited"
    title = "Too many requests"

    def __init__(self, detail: str, headers: Mapping[str, str], **extensions: Any) -> None:
        super().__init__(detail, **extensions)
        self.headers = headers


class ConflictError(RequestError):
    """The same name or key is taken by different content, or the state does not allow it."""

    status = 409
    slug = "conflict"
    title = "Conflict"


class LeaseLostError(ConflictError):
    """The lease was once the caller's and is no longer."""

    slug = "lease-lost"
    title = "Lease lost"


class KeyInFlightError(ConflictError):
    """The first request of the Idempotency-Key is still being worked on: the same request may succeed later."""

    slug = "idempotency-key-in-flight"
    title = "Idempotency key in flight"
    headers: Mapping[str, str] = MappingProxyType({"Retry-After": "1"})


class PreconditionFailedError(RequestError):
    """It is not any more as the caller has seen it."""

    status = 412
    slug = "precondition-failed"
    title = "Precondition failed"


class ForbiddenError(RequestError):
    """The secret that was given, or that none was given, does not allow it."""

    status = 403
    slug = "forbidden"
    title = "Forbidden"


class TooLargeError(RequestError):
    """The body is larger than the service accepts."""

    status = 413
    slug = "body-too-large"
    title = "Body too large"


class MethodNotAllowedError(RequestError):
    """The address exists, but not for this method."""

    status = 405
    slug = "method-not-allowed"
    title = "Method not allowed"


class UnsupportedMediaTypeError(RequestError):
    """The body is not JSON."""

    status = 415
    slug = "unsupported-media-type"
    title = "Unsupported media type"


class RetryableError(AppError):
    """The same request may succeed later."""

    status = 503
    slug = "unavailable"
    title = "Unavailable"
    headers = MappingProxyType({"Retry-After": "1"})


class NotReadyError(RetryableError):
    """The service cannot answer yet."""

    slug = "not-ready"
    title = "Not ready"


class OutOfSpaceError(RetryableError):
    """A disk is full. Nothing of the request was kept."""

    slug = "out-of-space"
    title = "Out of space"
    headers = MappingProxyType({"Retry-After": "5"})


class TimedOutError(RetryableError):
    """The request took longer than it may."""

    status = 504
    slug = "timed-out"
    title = "Timed out"
