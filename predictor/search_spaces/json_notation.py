"""Architectures and values as JSON: text or an already decoded object, read strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from predictor.errors import NotationError


def read_json_object(notation: object, space_name: str) -> Mapping[str, Any]:
    """The JSON object that `notation` is or spells.

    Raises:
        NotationError: if it is neither an object nor the text of one (NaN, Infinity and repeated keys are no JSON here).
    """
    if isinstance(notation, str):
        try:
            notation = _STRICT.decode(notation)
        except (ValueError, RecursionError) as error:
            raise NotationError(f"{space_name}: expected the text of a JSON object, got {error}") from None
    if not isinstance(notation, Mapping):
        raise NotationError(f"{space_name}: expected a JSON object or its text, got {type(notation).__name__}")
    for key in notation:
        if not isinstance(key, str):
            raise NotationError(f"{space_name}: expected keys to be text, got {shortened(key)}")
    return notation


def compact_json(document: object) -> str:
    """The canonical text: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def is_number(value: object) -> bool:
    """Whether it is a finite number; a truth value is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def is_storable_text(value: object, max_length: int) -> bool:
    """Whether it is text without NUL and lone surrogates (which no database and no UTF-8 can hold)."""
    if not isinstance(value, str) or len(value) > max_length or "\0" in value:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


def shortened(value: object) -> str:
    """What came, cut to a length that an error message bears."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return f"a whole number of {value.bit_length()} bits"
    try:
        text = ascii(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 120 else f"{text[:120]}…"


def _refuse_constant(constant: str) -> object:
    raise ValueError(f"{constant}, which is no JSON number")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {shortened(next(name for name in names if names.count(name) > 1))} more than once")
    return found


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_without_repeats)
