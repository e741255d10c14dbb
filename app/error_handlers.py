"""The one place where errors become answers: RFC 9457 application/problem+json with a stable `type`."""

from __future__ import annotations

import errno
import logging
import sqlite3
from http import HTTPStatus

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app import logs
from app.errors import (
    AppError,
    InternalError,
    MethodNotAllowedError,
    NotFoundError,
    OutOfSpaceError,
    RequestError,
    RetryableError,
)
from app.middleware import REQUEST_ID_HEADER
from app.schemas import PROBLEM_MEDIA_TYPE
from app.validation import error_items, invalid_content

_logger = logging.getLogger(__name__)
_POSTGRESQL_DISK_FULL = "53100"


def install(app: FastAPI) -> None:
    """Makes `app` answer every error as a problem document."""
    for kind in (AppError, HTTPException, RequestValidationError, OperationalError, InterfaceError, PoolTimeoutError):
        app.add_exception_handler(kind, handle)
    app.add_exception_handler(Exception, handle)


def handle(request: Request, error: Exception) -> Response:
    """The answer to an error. What was not foreseen is logged under the request's id and never shown."""
    problem = translated(error, request)
    request_id = request.scope.get("request_id", "")
    if isinstance(problem, InternalError):
        about = logs.with_fields(request_id=request_id)  # it is answered outside of what else says so
        _logger.error("request %s failed: %s", request_id, problem.detail, exc_info=error, extra=about)
    elif problem.status >= 500:
        _logger.warning("request %s was put off: %s", request_id, problem.detail)
    document = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.url.path,
        "request_id": request_id,
        **problem.extensions,
    }
    headers = {**problem.headers, **_protocol_headers(error), REQUEST_ID_HEADER: request_id}
    return Response(orjson.dumps(document), problem.status, headers, PROBLEM_MEDIA_TYPE)


def translated(error: Exception, request: Request) -> AppError:
    """The application's error that stands for any exception."""
    match error:
        case AppError():
            return error
        case RequestValidationError():
            return invalid_content(error_items(error.errors()))
        case HTTPException(__cause__=AppError() as cause):  # raised while FastAPI read the body
            return cause
        case HTTPException():
            return _from_status(error, request)
        case OperationalError() | OSError() if _is_out_of_space(error):
            return OutOfSpaceError("a disk of the service is full: nothing was written; try again when there is room")
        case OperationalError() | InterfaceError() | PoolTimeoutError():
            return RetryableError("the database cannot be reached or is too busy; try again")
    return InternalError("something went wrong inside the service; its log has the details under the request's id")


def _is_out_of_space(error: Exception) -> bool:
    """Whether it is a full disk that keeps the database, or this process, from writing. A transaction that met it is rolled
    back as a whole."""
    driver = getattr(error, "orig", None)
    if isinstance(driver, sqlite3.Error):
        return getattr(driver, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return getattr(driver, "sqlstate", None) == _POSTGRESQL_DISK_FULL


def _protocol_headers(error: Exception) -> dict[str, str]:
    return dict(error.headers or {}) if isinstance(error, HTTPException) else {}


def _from_status(error: HTTPException, request: Request) -> AppError:
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(f"expected an address of this service, got {request.url.path[:200]!r}")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "another method")
            return MethodNotAllowedError(f"expected a method such as {allowed}, got {request.method}")
        case status if status < 500:
            return RequestError(str(error.detail))
    return InternalError(str(error.detail))
