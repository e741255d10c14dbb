"""Lists that stay fast at any depth: what they may be sorted by, what a page holds, and where the next one begins.

A page begins after the sort key of the last row of the page before (keyset), so that it costs the same at any depth, and rows
that are added meanwhile neither repeat nor hide others. Ties are broken by the id. Rows without a value in the sorted column
come last, whichever way it is sorted. A page is asked for in up to two queries, each along one stretch of an index on (…, column,
id), walked forwards or backwards, on SQLite and PostgreSQL alike.

A cursor holds that sort key with a digest of the list, its filters and its sort, and a checksum: with any other it is refused
instead of leading somewhere by chance.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import Depends, Query
from pydantic import AllowInfNan, AwareDatetime
from sqlalchemy import Row, Select, and_, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.elements import ColumnElement
from starlette.responses import JSONResponse

from app.errors import ErrorItem, InvalidContentError
from app.pagination import MAX_LIMIT, Page, can_be_stored
from app.schemas import Reply

_DIGEST_BYTES = 6
_MAX_CURSOR, _MAX_FIELDS = 1_024, 1_024  # characters
_FOREIGN = "expected a next_cursor that this list has answered, got {!r}"
_OTHER_LIST = (
    "expected a cursor with the filters and the sort that it was made with, got one of other filters or another sort; leave "
    "it out to begin anew"
)

FiniteQuery = Annotated[float, AllowInfNan(False)]
SinceQuery = Annotated[
    AwareDatetime | None, Query(description="Only what was made at this moment or later, such as 2026-11-22T09:30:00Z.")
]
BeforeQuery = Annotated[AwareDatetime | None, Query(description="Only what was made before this moment.")]


@dataclass(frozen=True)
class Sort:
    """A column with the direction in which a list runs along it."""

    name: str
    column: InstrumentedAttribute[Any]
    is_descending: bool

    @property
    def is_nullable(self) -> bool:
        """Whether rows may have no value there."""
        return bool(self.column.property.columns[0].nullable)

    @property
    def text(self) -> str:
        """As users write it."""
        return f"-{self.name}" if self.is_descending else self.name

    def ordered(self, column: InstrumentedAttribute[Any]) -> Any:
        """Any column in this direction."""
        return column.desc() if self.is_descending else column.asc()

    def has_passed_low(self, asked: Asked) -> bool:
        """Whether all that is left lies above the lower end of a range in this column, since the page before did."""
        return asked.cursor is not None and not self.is_descending

    def has_passed_high(self, asked: Asked) -> bool:
        """Whether all that is left lies below its upper end."""
        return asked.cursor is not None and self.is_descending

    def after(self, left: Any, right: Any) -> Any:
        """What comes later in this direction."""
        return left < right if self.is_descending else left > right


@dataclass(frozen=True)
class Asked:
    """What a caller wants of a list. No sort: the one that suits the filters."""

    limit: int = 100
    cursor: str | None = None
    sort: Sort | None = None
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Position:
    """Where a page begins: after the row of this sort value and id."""

    value: Any
    id: int | str


@dataclass(frozen=True)
class Listing:
    """One list: its name, what its items are, and the columns that it can be sorted by. Each has an index with the columns
    that always are filtered by before it and the id behind it."""

    name: str
    reply: type[Reply]
    id: InstrumentedAttribute[Any]
    sorts: Mapping[str, InstrumentedAttribute[Any]]
    default: str
    _query: Callable[..., Asked] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_query", self._made_query())  # frozen for everybody else

    @property
    def query(self) -> Any:
        """The dependency of an endpoint on `limit`, `cursor`, `sort` and `fields`."""
        return Depends(self._query)

    def sort(self, text: str) -> Sort:
        """The sort that is written so, such as `-value`; raises InvalidContentError."""
        column = self.sorts.get(text.removeprefix("-"))
        if column is None:
            known = ", ".join(self._sort_texts())
            raise _refused("sort", f"expected one of {known}, got {text[:80]!r}")
        return Sort(text.removeprefix("-"), column, text.startswith("-"))

    def fields(self, text: str) -> tuple[str, ...]:
        """The fields that are written so, such as `id,value`; raises InvalidContentError."""
        known, wanted = self.reply.model_fields, [one.strip() for one in text.split(",")]
        unknown = [one for one in wanted if one not in known]
        if unknown:
            raise _refused("fields", f"expected names among {', '.join(known)}, got {unknown[0][:80]!r}")
        return tuple(dict.fromkeys(wanted))

    def page(
        self,
        session: Session,
        query: Select[*tuple[Any, ...]],
        asked: Asked,
        filters: Mapping[str, Any],
        *,
        default: str | None = None,
        are_empty: bool | None = None,
    ) -> tuple[Sequence[Row[Any]], str | None]:
        """The rows of the page, and the cursor of the next one.

        `query` selects and filters; `filters` says by what, for the cursor. `default` is the sort that suits the filters.
        `are_empty` says that all rows that the filters leave have no value in nullable columns (True), or all have one (False).
        """
        sort = asked.sort or self.sort(default or self.default)
        context = self._context(sort, filters)
        after = None if asked.cursor is None else self._position(asked.cursor, sort, context)
        found = self._found(session, query, sort, after, asked.limit + 1, are_empty)
        if len(found) <= asked.limit:
            return found, None
        last = found[asked.limit - 1]
        return found[: asked.limit], encoded(Position(last.sort_value, last.sort_id), context)

    def answer(self, page: Page[Any], asked: Asked) -> Any:
        """The page, with the fields that were asked for."""
        if asked.fields is None:
            return page
        shown = page.model_dump(mode="json", include={"items": {"__all__": set(asked.fields)}, "next_cursor": True})
        return JSONResponse(shown)

    def _found(
        self,
        session: Session,
        query: Select[*tuple[Any, ...]],
        sort: Sort,
        after: Position | None,
        count: int,
        are_empty: bool | None,
    ) -> list[Row[Any]]:
        query = query.add_columns(sort.column.label("sort_value"), self.id.label("sort_id"))
        found: list[Row[Any]] = []
        for part in self._parts(query, sort, after, are_empty):
            if len(found) < count:
                found += session.execute(part.limit(count - len(found)))
        return found

    def _parts(
        self, query: Select[*tuple[Any, ...]], sort: Sort, after: Position | None, are_empty: bool | None
    ) -> Iterator[Select[*tuple[Any, ...]]]:
        """What follows the position, one part after the other, each of which is one stretch of an index: rows with a value,
        and those without. (What comes after a value has one; to say so too would give SQLite another, worse place to begin.)"""
        if sort.column is self.id:
            by_id = query.order_by(sort.ordered(self.id))
            yield by_id if after is None else by_id.where(sort.after(self.id, after.id))
            return
        query = query.order_by(sort.ordered(sort.column), sort.ordered(self.id))
        if after is not None and after.value is not None:
            yield query.where(sort.after(tuple_(sort.column, self.id), (after.value, after.id)))
        elif after is None and not (sort.is_nullable and are_empty is True):
            yield query.where(sort.column.is_not(None)) if sort.is_nullable else query
        if sort.is_nullable and are_empty is not False:
            empty = query.where(sort.column.is_(None))
            is_begun = after is not None and after.value is None
            yield empty.where(sort.after(self.id, after.id)) if is_begun and after is not None else empty

    def _context(self, sort: Sort, filters: Mapping[str, Any]) -> str:
        return _digest(orjson.dumps([self.name, sort.text, filters], option=orjson.OPT_SORT_KEYS))

    def _position(self, cursor: str, sort: Sort, context: str) -> Position:
        value, id_, made_for = _decoded(cursor)
        if made_for != context:
            raise _refused("cursor", _OTHER_LIST)
        is_empty = value is None and sort.is_nullable
        return Position(None if is_empty else _read(value, sort.column, cursor), _read(id_, self.id, cursor))

    def _sort_texts(self) -> list[str]:
        return [text for name in self.sorts for text in (name, f"-{name}")]

    def _made_query(self) -> Callable[..., Asked]:
        """A function whose signature tells FastAPI, and OpenAPI, what this very list takes."""
        limits = Query(ge=1, le=MAX_LIMIT, description="Most items in one page.")
        cursors = Query(
            max_length=_MAX_CURSOR,
            description="`next_cursor` of the page before, with the same filters and sort; leave out for the first page.",
        )
        sorts = Query(
            description="A column, `-` before it for descending; ties go by the id. Rows without a value come last.",
            json_schema_extra={"enum": self._sort_texts()},
        )
        fields = Query(
            max_length=_MAX_FIELDS,
            description=f"Only these members of each item, separated by commas: {', '.join(self.reply.model_fields)}.",
        )

        def asked(
            limit: int = 100, cursor: str | None = None, sort: str | None = None, fields: str | None = None
        ) -> Asked:
            return Asked(
                limit,
                cursor,
                None if sort is None else self.sort(sort),
                None if fields is None else self.fields(fields),
            )

        wanted = {
            "limit": Annotated[int, limits],
            "cursor": Annotated[str | None, cursors],
            "sort": Annotated[str | None, sorts],
            "fields": Annotated[str | None, fields],
        }
        plain = inspect.signature(asked).parameters.values()
        parameters = [one.replace(annotation=wanted[one.name]) for one in plain]
        asked.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return asked


def within(
    column: ColumnElement[Any] | InstrumentedAttribute[Any], low: Any, high: Any, *, includes_high: bool = True
) -> ColumnElement[bool]:
    """The condition that the column lies between two ends, either of which may be open."""
    conditions = [] if low is None else [column >= low]
    if high is not None:
        conditions.append(column <= high if includes_high else column < high)
    return and_(True, *conditions)


def encoded(position: Position, context: str) -> str:
    """The opaque cursor that begins after the position."""
    value = position.value.isoformat() if isinstance(position.value, datetime) else position.value
    content = orjson.dumps([value, position.id, context])
    return base64.urlsafe_b64encode(_checksum(content) + content).decode().rstrip("=")


def _decoded(cursor: str) -> tuple[Any, Any, str]:
    """Value, id and context of a cursor that was made here; raises InvalidContentError."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused("cursor", _FOREIGN.format(cursor[:80])) from error
    check, content = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if not content or check != _checksum(content):
        raise _refused("cursor", _FOREIGN.format(cursor[:80]))
    value, id_, context = orjson.loads(content)
    return value, id_, context


def _read(value: Any, column: InstrumentedAttribute[Any], cursor: str) -> Any:
    """The value as the database compares it; raises InvalidContentError."""
    kind = column.type.python_type
    try:
        read = datetime.fromisoformat(value).astimezone(UTC) if kind is datetime else value
    except (TypeError, ValueError):
        read = None
    if type(read) is not kind or not can_be_stored(read):
        raise _refused("cursor", _FOREIGN.format(cursor[:80]))
    return read


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES, person=b"archcast-cursor").digest()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def _refused(parameter: str, message: str) -> InvalidContentError:
    item: ErrorItem = {"location": ["query", parameter], "message": message}
    return InvalidContentError(f"query.{parameter}: {message}", [item])
