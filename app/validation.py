"""pydantic's findings in this service's words: where, what was expected, what came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from app.errors import ErrorItem, InvalidContentError

_MAX_SHOWN = 80


def error_items(findings: Iterable[Any], prefix: Sequence[str | int] = ()) -> list[ErrorItem]:
    """One item for each of pydantic's findings."""
    return [_error_item(finding, prefix) for finding in findings]


def invalid_content(errors: Sequence[ErrorItem]) -> InvalidContentError:
    """The error that lists them all and quotes the first."""
    first = errors[0]
    where = ".".join(str(part) for part in first["location"])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InvalidContentError(f"{where}: {first['message']}{more}", errors)


def _error_item(finding: dict[str, Any], prefix: Sequence[str | int]) -> ErrorItem:
    location = [*prefix, *(part for part in finding["loc"] if not _is_union_tag(part))]
    own_words = finding.get("ctx", {}).get("error")  # of our validators: it says what came
    message = str(own_words) if isinstance(own_words, ValueError) else f"{finding['msg']}, got {_shown(finding)}"
    return {"location": location, "message": message}


def _is_union_tag(part: str | int) -> bool:
    """Tags of tagged unions are written in angle brackets: they say which form was read, not where."""
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def _shown(finding: dict[str, Any]) -> str:
    if finding["type"] == "missing":
        return "none"
    given = finding.get("input")
    if isinstance(given, dict | list | bytes):
        return f"{type(given).__name__} of length {len(given)}"
    text = repr(given)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
