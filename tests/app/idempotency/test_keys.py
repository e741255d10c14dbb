"""Which keys are taken, and which operations take one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.answering_once import answered_once, creates_nothing
from app.guarded_routes import open_to_all
from app.json_requests import RawBody, json_router

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

CREATES_NOTHING = {"create_predictions", "explain_forecasts", "validate_notations"}
"""The POSTs that may be asked any number of times. Whoever adds one here has thought about what a retry does."""


def _posts(app: FastAPI) -> dict[str, dict[str, Any]]:
    paths = app.openapi()["paths"].values()
    return {methods["post"]["operationId"]: methods["post"] for methods in paths if "post" in methods}


def test_every_post_that_creates_something_takes_a_key(app: FastAPI) -> None:
    without = {
        name
        for name, operation in _posts(app).items()
        if "Idempotency-Key" not in {one["name"] for one in operation.get("parameters", ())}
    }

    assert without == CREATES_NOTHING


def test_every_post_that_takes_a_key_says_what_is_refused(app: FastAPI) -> None:
    keyed = {name: operation for name, operation in _posts(app).items() if name not in CREATES_NOTHING}

    assert {name for name, one in keyed.items() if not {"400", "409", "422"} <= set(one["responses"])} == set()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param("", "visible ASCII", id="empty"),
        pytest.param("k" * 256, "at most 255", id="too long"),
        pytest.param("two words", "visible ASCII", id="with a space"),
        pytest.param("clé".encode(), "visible ASCII", id="not ASCII"),
        pytest.param(b"a\x07b", "visible ASCII", id="control character"),
    ],
)
def test_a_key_that_cannot_be_kept_is_refused_before_anything_is_done(
    client: TestClient, key: Any, expected: str
) -> None:
    answer = client.post("/v1/fine-tunes", json={"reason": "x"}, headers={"Idempotency-Key": key})

    assert (answer.status_code, expected in answer.json()["detail"]) == (400, True)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
    assert client.get("/v1/fine-tunes").json()["items"] == []


def test_two_keys_are_refused(client: TestClient) -> None:
    headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    assert client.post("/v1/fine-tunes", json={"reason": "x"}, headers=headers).status_code == 400


def test_the_longest_key_is_taken(client: TestClient) -> None:
    headers = {"Idempotency-Key": "~" * 255}

    answers = [client.post("/v1/fine-tunes", json={"reason": "x"}, headers=headers) for _ in range(2)]

    assert [answer.json()["id"] for answer in answers] == [answers[0].json()["id"]] * 2


def test_a_post_that_creates_nothing_is_answered_anew(client: TestClient) -> None:
    body = {"architectures": ["nonsense"]}
    headers = {"Idempotency-Key": "k"}

    first = client.post("/v1/search-spaces/nasbench201/validate", json=body, headers=headers)
    other = client.post("/v1/search-spaces/nasbench201/validate", json={"architectures": ["x", "y"]}, headers=headers)

    assert (first.status_code, other.status_code, len(other.json()["results"])) == (200, 200, 2)


def test_an_endpoint_that_is_a_coroutine_cannot_keep_its_answer_with_its_changes() -> None:
    async def create() -> None: ...

    with pytest.raises(TypeError, match="plain def"):
        answered_once(create)
    assert answered_once(creates_nothing(create)) is create


def test_an_endpoint_may_take_any_body_and_is_answered_once_for_the_same_bytes(
    app: FastAPI, client: TestClient
) -> None:
    router, seen = json_router("files"), []

    @router.post("/files")
    @open_to_all
    def keep(content: RawBody) -> dict[str, int]:
        seen.append(content)
        return {"count": len(seen)}

    app.include_router(router)
    headers = {"Idempotency-Key": "k", "Content-Type": "text/csv"}

    answers = [client.post("/files", content=body, headers=headers) for body in (b"a,b", b"a,b", b"a,c")]

    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert (answers[1].json(), seen) == ({"count": 1}, [b"a,b"])
