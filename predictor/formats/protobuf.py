"""The wire format of protocol buffers, read without copying: a message is a view of the bytes, and so is a large field.

Only what a layout names is looked at; everything else is skipped by its length. That is how a file of weights is read without
reading a weight. Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from predictor.errors import FormatError

Wire = Literal["int", "float", "text", "bytes", "ints", "floats", "texts", "chunks", "message", "messages", "present"]
Message = dict[str, Any]
Layout = Mapping[int, "Field"]

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_WIDTHS = {_FIXED64: 8, _FIXED32: 4}
_MAX_LIST = 100_000
_EMPTY: Mapping[Wire, Any] = {"ints": (), "floats": (), "texts": (), "chunks": (), "messages": (), "present": False}


@dataclass(frozen=True)
class Field:
    """A field by name. `chunks` are the raw pieces of a packed list; `present` only notes that it is there."""

    name: str
    wire: Wire
    layout: Layout | None = None


def read_message(data: memoryview, layout: Layout, what: str) -> Message:
    """The fields that the layout names; lists that are not there are empty, and single values None.

    Raises:
        FormatError: if the bytes are no such message; names the place.
    """
    found: Message = {one.name: list(_EMPTY[one.wire]) if one.wire in _LISTS else _EMPTY.get(one.wire) for one in layout.values()}  # fmt: skip
    for number, wire, value in _fields(data, what):
        field = layout.get(number)
        if field is None:
            continue
        name = f"{what}.{field.name}"
        if field.wire in _LISTS:
            kept = found[field.name]
            kept.extend(_listed(field, wire, value, name))
            if len(kept) > _MAX_LIST:
                raise FormatError(f"expected at most {_MAX_LIST} entries in {name}, got more")
        else:
            found[field.name] = _single(field, wire, value, name)
    return found


_LISTS = frozenset({"ints", "floats", "texts", "chunks", "messages"})


def _fields(data: memoryview, what: str) -> Iterator[tuple[int, int, int | memoryview]]:
    place, end = 0, len(data)
    while place < end:
        key, place = _varint(data, place, what)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise FormatError(f"expected a field of {what} at byte {place}, got field number 0")
        if wire == _VARINT:
            value, place = _varint(data, place, what)
            yield number, wire, value
            continue
        if wire == _DELIMITED:
            length, place = _varint(data, place, what)
        elif wire in _WIDTHS:
            length = _WIDTHS[wire]
        else:
            raise FormatError(f"expected a known wire type in {what} at byte {place}, got {wire}")
        if length > end - place:
            raise FormatError(f"expected {length} bytes of {what} at byte {place}, got {end - place}")
        yield number, wire, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int, what: str) -> tuple[int, int]:
    value = shift = 0
    end = min(len(data), place + 10)
    while place < end:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place
        shift += 7
    raise FormatError(
        f"expected a number in {what} at byte {place}, got {'more than 10 bytes' if shift >= 70 else 'the end'}"
    )


def signed(value: int) -> int:
    """A 64-bit number as int64 has it."""
    return value - (1 << 64) if value >= 1 << 63 else value


def unpacked_ints(chunk: memoryview, what: str) -> list[int]:
    """The numbers of a packed list of varints."""
    found, place = [], 0
    while place < len(chunk):
        value, place = _varint(chunk, place, what)
        found.append(signed(value))
    return found


def _single(field: Field, wire: int, value: int | memoryview, name: str) -> Any:
    if field.wire == "present":
        return True
    if field.wire == "int" and isinstance(value, int):
        return signed(value)
    if isinstance(value, memoryview):
        if field.wire == "float" and wire == _FIXED32:
            return float(struct.unpack("<f", value)[0])
        if wire == _DELIMITED:
            if field.wire == "text":
                return _text(value, name)
            if field.wire == "bytes":
                return value
            if field.wire == "message" and field.layout is not None:
                return read_message(value, field.layout, name)
    raise FormatError(f"expected {name} as {field.wire}, got wire type {wire}")


def _listed(field: Field, wire: int, value: int | memoryview, name: str) -> list[Any]:
    """What one occurrence of a repeated field adds; numbers may be packed or not."""
    if field.wire == "ints":
        return [signed(value)] if isinstance(value, int) else unpacked_ints(value, name)
    if field.wire == "chunks":
        return [value]
    if field.wire == "floats" and isinstance(value, memoryview) and len(value) % 4 == 0:
        if len(value) > 4 * _MAX_LIST:
            raise FormatError(f"expected at most {_MAX_LIST} entries in {name}, got more")
        return list(struct.unpack(f"<{len(value) // 4}f", value))
    if isinstance(value, memoryview) and wire == _DELIMITED:
        if field.wire == "texts":
            return [_text(value, name)]
        if field.wire == "messages" and field.layout is not None:
            return [read_message(value, field.layout, name)]
    raise FormatError(f"expected {name} as {field.wire}, got wire type {wire}")


def _text(value: memoryview, name: str) -> str:
    if len(value) > 65_536:
        raise FormatError(f"expected {name} of at most 65536 bytes, got {len(value)}")
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"expected {name} to be UTF-8, got other bytes") from None
