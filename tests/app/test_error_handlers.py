"""Every error is a problem document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import OperationalError

from app import errors

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient
    from httpx import Response

JSON = {"content-type": "application/json"}


def _problem(answer: Response, status: int, slug: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert (answer.status_code, document["status"], document["type"]) == (status, status, f"/problems/{slug}")
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


def _every_error(kind: type[errors.AppError] = errors.AppError) -> Iterator[type[errors.AppError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _every_error(child)


def test_every_kind_of_error_has_a_slug_and_a_title_of_its_own() -> None:
    kinds = [kind for kind in _every_error() if kind is not errors.InternalError]

    assert len({kind.slug for kind in kinds}) == len(kinds)
    assert len({kind.title for kind in kinds}) == len(kinds)


def test_an_unknown_address_is_not_found(client: TestClient) -> None:
    document = _problem(client.get("/v1/nothing"), 404, "not-found")

    assert document["instance"] == "/v1/nothing"


def test_a_wrong_method_is_named_and_the_right_one_too(client: TestClient) -> None:
    answer = client.delete("/healthz")

    assert "GET" in answer.headers["allow"]
    assert "DELETE" in _problem(answer, 405, "method-not-allowed")["detail"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"name": NaN}', id="NaN"),
        pytest.param(b"[" * 5_000 + b"]" * 5_000, id="deep"),
        pytest.param(b'{"name": "a\\u0000b"}', id="NUL"),
        pytest.param(b'"\xff"', id="not UTF-8"),
    ],
)
def test_a_body_that_is_no_strict_json_is_a_bad_request(client: TestClient, body: bytes) -> None:
    _problem(client.post("/v1/tasks", content=body, headers=JSON), 400, "invalid-request")


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/plain"}, {"content-type": "application/octet-stream"}])
def test_a_body_that_is_not_declared_as_json_is_refused(client: TestClient, headers: dict[str, str]) -> None:
    _problem(client.post("/v1/tasks", content=b"{}", headers=headers), 415, "unsupported-media-type")


def test_a_missing_body_is_invalid_content(client: TestClient) -> None:
    _problem(client.post("/v1/tasks", headers=JSON), 422, "invalid-content")


def test_everything_that_is_wrong_with_a_body_is_listed_with_its_place(client: TestClient) -> None:
    body = {"name": 7, "search_space": "nasbench201", "metric": {"name": "a", "unit": "b", "direction": "up"}, "x": 1}

    document = _problem(client.post("/v1/tasks", json=body), 422, "invalid-content")

    places = {tuple(error["location"]): error["message"] for error in document["errors"]}
    assert set(places) == {("body", "name"), ("body", "dataset"), ("body", "metric", "direction"), ("body", "x")}
    assert "7" in places["body", "name"]


def test_a_declared_length_over_the_limit_is_refused(client: TestClient, app: FastAPI) -> None:
    body = b'"' + b"x" * app.state.settings.max_body_bytes + b'"'

    document = _problem(client.post("/v1/tasks", content=body, headers=JSON), 413, "body-too-large")

    assert document["max_bytes"] == app.state.settings.max_body_bytes


def test_a_chunked_body_over_the_limit_is_refused(client: TestClient, app: FastAPI) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * (app.state.settings.max_body_bytes // 32)

    _problem(client.post("/v1/tasks", content=chunks(), headers=JSON), 413, "body-too-large")


@pytest.fixture
def broken(app: FastAPI) -> Callable[[Exception], TestClient]:
    """A client of a service with an address that raises."""
    from fastapi.testclient import TestClient

    def client_of(error: Exception) -> TestClient:
        def broken_endpoint() -> None:
            raise error

        app.add_api_route("/broken", broken_endpoint)
        return TestClient(app, raise_server_exceptions=False)

    return client_of


def test_an_unforeseen_error_shows_its_request_id_and_nothing_of_itself(
    client: TestClient, broken: Callable[[Exception], TestClient]
) -> None:
    answer = broken(RuntimeError("secret of the house")).get("/broken", headers={"x-request-id": "call-7"})

    assert _problem(answer, 500, "internal")["request_id"] == "call-7"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_a_database_that_is_away_asks_to_try_again(
    client: TestClient, broken: Callable[[Exception], TestClient]
) -> None:
    answer = broken(OperationalError("SELECT secret", {}, Exception("gone"))).get("/broken")

    assert answer.headers["retry-after"]
    assert "secret" not in _problem(answer, 503, "unavailable")["detail"]


@pytest.mark.parametrize("sent", ["", "x" * 65, "new\tline", "<b>"])
def test_a_request_id_that_could_do_harm_is_replaced(client: TestClient, sent: str) -> None:
    answer = client.get("/healthz", headers={"x-request-id": sent})

    assert answer.headers["x-request-id"] not in ("", sent)
