"""What a key looks like."""

from __future__ import annotations

import re

import pytest

from app.access import key_format


def test_keys_differ_and_are_found_by_scanners() -> None:
    keys = {key_format.new_key() for _ in range(100)}

    assert len(keys) == 100
    assert all(re.fullmatch(key_format.PATTERN, key) and key_format.problem_of(key) is None for key in keys)


@pytest.mark.parametrize("place", range(len(key_format.PREFIX), len(key_format.new_key())))
def test_one_wrong_character_is_noticed_wherever_it_is(place: int) -> None:
    key = key_format.new_key()
    wrong = key[:place] + ("a" if key[place] != "a" else "b") + key[place + 1 :]

    assert "checksum" in str(key_format.problem_of(wrong))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "archcast_",
        "archcast_short",
        "eyJhbGciOi.J9.x",
        pytest.param(key_format.new_key() + "a", id="too long"),
        "é" * 47,
    ],
)
def test_other_texts_are_told_from_keys(text: str) -> None:
    assert key_format.problem_of(text) == "a text of another form"


def test_the_hint_tells_little() -> None:
    key = key_format.new_key()

    assert len(key_format.hint_of(key)) - len(key_format.PREFIX) == 7
    assert key.startswith(key_format.hint_of(key).rstrip("…"))
