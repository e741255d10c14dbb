"""Cursors."""

from __future__ import annotations

import pytest

from app.errors import InvalidContentError
from app.pagination import decoded, encoded, page_of


@pytest.mark.parametrize("key", [0, 41, 2**62, "nasbench201", "é"])
def test_a_cursor_gives_its_key_back(key: int | str) -> None:
    assert decoded(encoded(key), type(key)) == key


@pytest.mark.parametrize("cursor", ["", "!", "é", "AAAA", "bnVsbA", encoded("name"), encoded(2**63), "WzFd"])
def test_what_is_no_cursor_of_the_list_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidContentError, match="next_cursor"):
        decoded(cursor, int)


def test_the_last_page_has_no_cursor() -> None:
    assert page_of([1, 2], 2, lambda row: row) == ([1, 2], None)


def test_a_longer_list_is_cut_and_goes_on_after_its_last_row() -> None:
    rows, cursor = page_of([1, 2, 3], 2, lambda row: row)

    assert (rows, decoded(cursor, int)) == ([1, 2], 2)
