"""What goes into the database comes out as it was."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.both_engines

Cells = list[dict[str, str]]
OBSERVATIONS = "/v1/tasks/digits/observations"
DETAILS = {
    "z": 1, "a": {"nested": [1, 2.5, None, True, {"deep": "é 😀 \"quoted\" \\ \u2028 '%s' :name"}]}, "": "",
    "large": 2**63 - 1, "small": -(2**63), "precise": 0.1 + 0.2, "tiny": 5e-324, "huge": 1.7976931348623157e308,
}  # fmt: skip


def test_metadata_keeps_its_types_its_order_and_every_digit(client: TestClient, post_task: Any) -> None:
    posted = post_task(metadata=DETAILS)

    shown = client.get("/v1/tasks/digits").json()

    assert orjson.dumps(shown["metadata"]) == orjson.dumps(DETAILS)
    assert shown == posted


@pytest.mark.parametrize("value", [0.1 + 0.2, -1e30, 5e-324, 1 / 3, 1e-310])
def test_a_value_keeps_every_digit(
    client: TestClient, post_task: Any, cells: Cells, observe: Any, value: float
) -> None:
    post_task()

    observe("digits", cells[:1], [value])

    assert repr(client.get(OBSERVATIONS).json()["items"][0]["value"]) == repr(value)


def test_means_of_the_largest_values_do_not_overflow(
    client: TestClient, post_task: Any, cells: Cells, observe: Any
) -> None:
    post_task()
    observe("digits", [cells[0]] * 2 + [cells[1]], [1e30, 1e30, -1e30])

    items = client.get("/v1/tasks/digits/best").json()["items"]

    assert [(one["mean"], one["count"]) for one in items] == [(1e30, 2), (-1e30, 1)]


@pytest.mark.parametrize("seed", [2**63 - 1, -(2**63), 2**31, 0])
def test_seeds_of_64_bits_are_kept(client: TestClient, post_task: Any, cells: Cells, observe: Any, seed: int) -> None:
    post_task()

    observe("digits", cells[:1], [0.5], seed=seed)

    assert client.get(OBSERVATIONS).json()["items"][0]["seed"] == seed


def test_text_is_measured_in_characters_and_kept(client: TestClient, post_task: Any, cells: Cells) -> None:
    post_task(dataset="😀" * 128, device="é" * 64)
    body = {
        "architecture": cells[0]["genotype"], "status": "failed", "reason": "ß" * 10_000, "client_key": "ключ" * 32
    }  # fmt: skip

    answer = client.post(OBSERVATIONS, json=body)
    again = client.post(OBSERVATIONS, json=body)

    assert (answer.status_code, again.status_code) == (201, 200)
    (shown,) = client.get(OBSERVATIONS).json()["items"]
    assert (shown["reason"], shown["client_key"]) == (body["reason"], body["client_key"])
    assert client.get("/v1/tasks/digits").json()["dataset"] == "😀" * 128


def test_moments_are_answered_in_utc(client: TestClient, post_task: Any) -> None:
    created = datetime.fromisoformat(post_task()["created_at"])

    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(hours=1)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/search-spaces?cursor={nul}", 422),
        ("/v1/model-versions?cursor={nul}", 422),
        ("/v1/tasks?search_space=%00", 422),
        ("/v1/tasks/%00", 404),
        ("/v1/tasks/99999999999999999999", 404),
        ("/v1/search-spaces/%00", 404),
        ("/v1/model-versions/%00", 404),
        ("/v1/architectures/%00", 404),
        ("/v1/jobs/99999999999999999999", 422),
        ("/v1/tasks?cursor={large}", 422),
    ],
)
def test_what_no_database_can_hold_is_refused_by_name(client: TestClient, path: str, status: int) -> None:
    def cursor(key: Any) -> str:
        return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")

    answer = client.get(path.format(nul=cursor("a\0b"), large=cursor(2**63)))

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_text_with_a_nul_is_refused_wherever_it_stands(client: TestClient, post_task: Any, cells: Cells) -> None:
    post_task()

    answers = [
        client.post("/v1/tasks", json={"name": "a\0"}),
        client.post(OBSERVATIONS, json={"architecture": cells[0]["genotype"], "value": 1, "client_key": "a\0"}),
        client.post("/v1/tasks/digits/predictions", json={"architectures": ["a\0"]}),
    ]

    assert [answer.status_code for answer in answers] == [400, 400, 400]
