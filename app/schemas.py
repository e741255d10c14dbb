"""What the documents of all endpoints share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, Strict, WithJsonSchema

MAX_MAGNITUDE = 1e30
"""Beyond it sums and squares overflow, in single precision before anything else."""

FiniteNumber = Annotated[float, Strict(), AllowInfNan(False), Field(ge=-MAX_MAGNITUDE, le=MAX_MAGNITUDE)]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Slug = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$", description="Letters, digits, dot, underscore, hyphen.")
]
SpaceName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Letters, digits, dot, underscore, hyphen.")
]
NotationForm = Annotated[
    Any, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array", "items": {}}]})
]
"""An architecture as callers write it; `app.inference` reads it and says what is wrong with it."""
SeedNumber = Annotated[int, Field(ge=-(2**63), lt=2**63)]


PROBLEM_MEDIA_TYPE = "application/problem+json"


class RequestBody(BaseModel):
    """Base of what callers send: types are not guessed, and unknown members are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, protected_namespaces=())


class Reply(BaseModel):
    """Base of what the service answers."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), from_attributes=True)


class ErrorItemReply(Reply):
    """One thing that is wrong with a request."""

    location: list[str | int] = Field(description="Where: body, query or path, then names and indices.")
    message: str = Field(description="What was expected and what came.")


class Problem(Reply):
    """An error as RFC 9457 problem+json."""

    type: str = Field(description="Stable address of this kind of problem.", examples=["/problems/not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(
        description="What was expected and what came.", examples=["expected a known task, got 'digits'"]
    )
    instance: str = Field(description="The address that was asked.", examples=["/v1/tasks/digits"])
    request_id: str = Field(description="Also the X-Request-ID header.", examples=["6f1c0f7f7be54e0c9a4f0b8c2f9f3c0d"])
    errors: list[ErrorItemReply] | None = Field(
        default=None, description="Every single thing that is wrong, where known."
    )


_DESCRIPTIONS = {
    400: "The body is not strict JSON.",
    401: "A key or token is needed, or the one that was given is not valid.",
    403: "The role, or the secret that it takes, was not given, or it is a wrong one.",
    404: "Nothing has that name or id.",
    409: "The name, the key or the state is in conflict.",
    412: "It was changed since the caller has seen it.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "The request was read, but what it says cannot be accepted.",
    429: "Too many requests; `Retry-After` says when to try again.",
    503: "The service cannot answer yet; try again.",
    504: "It took longer than a request may.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of an operation's errors: 422 is always among them, and with 400 what else a body can be."""
    with_body = {413, 415} if 400 in statuses else set()
    return {status: _problem(status) for status in sorted({*statuses, *with_body, 422})}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": _DESCRIPTIONS[status], "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}}}


def problem_schemas() -> dict[str, Any]:
    """What the descriptions of errors refer to, for OpenAPI's components."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**schema.pop("$defs"), "Problem": schema}


def example(
    value: Any,
    description: str = "Done.",
    model: type[Reply] | None = None,
    links: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """OpenAPI's description of an answer, with an example; `model` where it is not the operation's main answer, and `links`
    to operations that go on from it, each with where in the answer its parameters are."""
    described: dict[str, Any] = {"description": description, "content": {"application/json": {"example": value}}}
    if links:
        described["links"] = {operation: _link(operation, found) for operation, found in links.items()}
    return described if model is None else {**described, "model": model}


def _link(operation: str, found: Mapping[str, str]) -> dict[str, Any]:
    """OpenAPI's link; what is found under `body.…` belongs into the next request's body."""
    body = {name.removeprefix("body."): where for name, where in found.items() if name.startswith("body.")}
    parameters = {name: where for name, where in found.items() if not name.startswith("body.")}
    link: dict[str, Any] = {"operationId": operation, "parameters": parameters}
    return {**link, "requestBody": body} if body else link
