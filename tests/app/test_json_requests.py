"""Bodies are strict JSON, or refused with a clear message."""

from __future__ import annotations

import pytest

from app.errors import RequestError
from app.json_requests import MAX_DEPTH, parse_json


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"value": NaN}', id="NaN"),
        pytest.param(b'{"value": Infinity}', id="infinity"),
        pytest.param(b'{"value": 1e999}', id="a number beyond all bounds"),
        pytest.param(b'"\xff"', id="invalid UTF-8"),
        pytest.param(b'"\\ud800"', id="half a surrogate pair"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"", id="empty"),
    ],
)
def test_what_is_no_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="expected a body of JSON"):
        parse_json(body)


@pytest.mark.parametrize("body", [b'"a\\u0000b"', b'{"a\\u0000": 1}', b'[{"x": ["\\u0000"]}]'])
def test_nul_characters_are_refused_wherever_they_are(body: bytes) -> None:
    with pytest.raises(RequestError, match="NUL"):
        parse_json(body)


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert parse_json(b'"\\\\u0000"') == "\\u0000"


def test_nesting_is_accepted_up_to_the_limit() -> None:
    assert parse_json(_nested(MAX_DEPTH)) is not None


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 100_000])
def test_deeper_nesting_is_refused(depth: int) -> None:
    with pytest.raises(RequestError):
        parse_json(_nested(depth))
