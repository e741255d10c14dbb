"""ONNX files in a request: multipart/form-data with the files as `file`, and the rest as fields."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from app.errors import AppError, ErrorItem, InvalidContentError
from app.formats.onnx_process import OnnxReader
from app.json_requests import JsonRoute, parse_json

MAX_FILES = 32
_MAX_FIELDS = 16
_MAX_FIELD_BYTES = 1024 * 1024
_NUMBERS = ("value", "std_error", "seed", "fidelity", "cost")
_TEXTS = ("status", "reason", "client_key")

FILES_SCHEMA = {
    "type": "array",
    "items": {"type": "string", "format": "binary"},
    "minItems": 1,
    "maxItems": MAX_FILES,
    "description": "ONNX files, each of them one network; no external data.",
}
PREDICTIONS_CONTENT = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {"file": FILES_SCHEMA},
    },
    "example": {"file": ["(an ONNX file)"]},
}
OBSERVATIONS_CONTENT = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {
            "file": FILES_SCHEMA,
            **{name: {"type": "integer" if name == "seed" else "number"} for name in _NUMBERS},
            **{name: {"type": "string"} for name in _TEXTS},
            "observations": {
                "type": "string",
                "description": "Where there are several files: a JSON list with the members of each observation but its "
                "architecture, in the order of the files.",
            },
        },
    },
    "example": {"file": ["(an ONNX file)"], "value": 0.93, "seed": 0},
}


def is_multipart(request: Request) -> bool:
    """Whether the request says that it carries files."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


async def architectures(request: Request) -> list[dict[str, Any] | AppError]:
    """Of each file its DAG document, or what is wrong with it.

    Raises:
        InvalidContentError: if there is anything but files.
    """
    async with request.form(max_files=MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES) as form:
        for name in form:
            if name != "file":
                raise _refused([name], f"expected no field but file, got {name[:80]!r}")
        contents = await _contents(form)
    reader: OnnxReader = request.app.state.onnx
    return [await run_in_threadpool(reader.outcome, content) for content in contents]


async def _contents(form: FormData) -> list[bytes]:
    files = form.getlist("file")
    if not files:
        raise _refused(["file"], "expected at least one ONNX file as the field file, got none")
    if not all(isinstance(one, UploadFile) for one in files):
        raise _refused(["file"], "expected the field file to be a file (with a file name), got text")
    return [await one.read() for one in files if isinstance(one, UploadFile)]


class ObservationRoute(JsonRoute):
    """A route that takes observations as JSON, or ONNX files with the members of their observations as fields."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_either(request: Request) -> Response:
            return await handle(await _as_json(request) if is_multipart(request) else request)

        return handle_either


def observation_router(tag: str) -> APIRouter:
    """A router of `ObservationRoute`."""
    return APIRouter(tags=[tag], route_class=ObservationRoute)


async def _as_json(request: Request) -> Request:
    """The same request with the JSON body that says the same."""
    async with request.form(max_files=MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES) as form:
        members = _members(form)
        contents = await _contents(form)
    if isinstance(members, list) and len(members) != len(contents):
        raise _refused(
            ["observations"], f"expected one observation for each of {len(contents)} files, got {len(members)}"
        )
    if isinstance(members, dict) and len(contents) > 1:
        raise _refused(["file"], f"expected observations as a JSON list for {len(contents)} files, got none")
    reader: OnnxReader = request.app.state.onnx
    found = [await run_in_threadpool(reader.outcome, content) for content in contents]
    errors: list[ErrorItem] = [
        {"location": ["body", "file", index], "message": one.detail}
        for index, one in enumerate(found)
        if isinstance(one, AppError)
    ]
    if errors:
        raise InvalidContentError(errors[0]["message"], errors)
    return _request(request, _document(members, found))


def _document(members: dict[str, Any] | list[Any], found: list[Any]) -> dict[str, Any]:
    if isinstance(members, dict):
        return {**members, "architecture": found[0]}
    pairs = zip(members, found, strict=True)
    return {"observations": [{**one, "architecture": architecture} for one, architecture in pairs]}


def _members(form: FormData) -> dict[str, Any] | list[Any]:
    """The fields as members of one observation, or the list that stands for several."""
    found: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name == "file":
            continue
        if name not in (*_NUMBERS, *_TEXTS, "observations") or name in found or not isinstance(value, str):
            known = ", ".join(("file", *_NUMBERS, *_TEXTS, "observations"))
            raise _refused([name], f"expected the fields {known}, each once but file, got {name[:80]!r}")
        found[name] = value if name in _TEXTS else parse_json(value.encode())
    if "observations" not in found:
        return found
    many = found.pop("observations")
    if found or not isinstance(many, list) or not all(isinstance(one, dict) for one in many):
        raise _refused(
            ["observations"], "expected a JSON list of objects and no other field but file, got another form"
        )
    if any("architecture" in one for one in many):
        raise _refused(["observations"], "expected observations without an architecture, which the files are, got one")
    return many


def _request(request: Request, document: dict[str, Any]) -> Request:
    content = orjson.dumps(document)
    others = [pair for pair in request.scope["headers"] if pair[0] not in (b"content-type", b"content-length")]
    length = str(len(content)).encode()
    headers = [*others, (b"content-type", b"application/json"), (b"content-length", length)]

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    return Request({**request.scope, "headers": Headers(raw=headers).raw}, receive)


def _refused(field: list[str], message: str) -> InvalidContentError:
    return InvalidContentError(message, [{"location": ["body", *field], "message": message}])
