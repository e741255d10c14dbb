"""What the notations of several spaces have in common: fields of an object, lists, whole numbers, each checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard

from predictor.errors import NotationError
from predictor.search_spaces.json_notation import read_json_object, shortened


def read_fields(
    notation: object, space_name: str, required: Sequence[str], optional: Sequence[str] = ()
) -> Mapping[str, object]:
    """The JSON object that `notation` is or spells, which has the required keys and no others but the optional ones.

    Raises:
        NotationError: if it is no such object.
    """
    fields = read_json_object(notation, space_name)
    if not set(required) <= set(fields) <= {*required, *optional}:
        keys = ", ".join([*required, *(f"{key} (optional)" for key in optional)])
        raise NotationError(f"{space_name}: expected an object with the keys {keys}, got {shortened(list(fields))}")
    return fields


def read_list(value: object, space_name: str, expected: str, length: int | None = None) -> Sequence[object]:
    """The value, which must be a list (or a tuple) of that length; `expected` says of what.

    Raises:
        NotationError: if it is not.
    """
    if not isinstance(value, list | tuple):
        raise NotationError(f"{space_name}: expected {expected}, got {type(value).__name__} {shortened(value)}")
    if length is not None and len(value) != length:
        raise NotationError(f"{space_name}: expected {expected}, got {len(value)} entries")
    return value


def is_whole_number(value: object) -> TypeGuard[int]:
    """Whether it is an integer; a truth value is none."""
    return isinstance(value, int) and not isinstance(value, bool)
