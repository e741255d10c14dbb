"""Log lines: text for people or, by setting, one JSON document a line for programs, on standard error.

Every line says which request or which job it is about, wherever it was written. Secrets are taken out of all of them: keys,
tokens, passwords in addresses, whatever follows `Authorization:`.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

from app.settings import Settings

_about: ContextVar[Mapping[str, Any] | None] = ContextVar("log_about", default=None)
request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is being answered."""

_QUIET = ("alembic", "httpx", "httpcore", "asyncio", "uvicorn.access")
_HIDDEN = "[hidden]"
_SECRETS = (
    (re.compile(r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?)(?:(?:bearer|basic)\s+)?[^\s\"',;]+"), rf"\g<1>{_HIDDEN}"),
    (re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\g<1>{_HIDDEN}"),
    (
        re.compile(r"(?i)((?:api[_-]?key|lease_token|token|secret|password)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&}]+"),
        rf"\g<1>{_HIDDEN}",
    ),
    (re.compile(r"\barchcast_[0-9A-Za-z]{38}\b"), _HIDDEN),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]+"), _HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), _HIDDEN),
    (re.compile(r"\b[1-9][0-9]{0,8}\.[A-Za-z0-9_-]{32}\b"), _HIDDEN),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), rf"\g<1>{_HIDDEN}@"),
)
_SECRET_NAME = re.compile(r"(?i)authorization|api[_-]?key|(?:lease_)?token|secret|password")
_OWN = "archcast_fields"


def without_secrets(text: str) -> str:
    """The text with everything taken out that looks like a secret."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Says in every line of the block what it is about, such as a job."""
    token = _about.set({**(_about.get() or {}), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def with_fields(**fields: Any) -> dict[str, Any]:
    """Members of one line's document, to be given as `extra`."""
    return {_OWN: fields}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What a line is about, and its own fields."""
    own = getattr(record, _OWN, {})
    known = request_id.get()
    return {**({"request_id": known} if known else {}), **(_about.get() or {}), **own}


class JsonFormatter(logging.Formatter):
    """One document a line."""

    def format(self, record: logging.LogRecord) -> str:
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info and record.exc_info[0] is not None:
            document["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return orjson.dumps(_clean(document), default=_shown, option=orjson.OPT_NON_STR_KEYS).decode()


def _clean(value: Any, name: str = "") -> Any:
    """A member of a line's document without its secrets, however deep they lie."""
    if isinstance(value, dict):
        return {key: _clean(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner, name) for inner in value]
    if isinstance(value, str):
        return _HIDDEN if _SECRET_NAME.fullmatch(name) else without_secrets(value)
    return value


def _shown(value: object) -> str:
    return without_secrets(str(value))


class TextFormatter(logging.Formatter):
    """A line for people; what it is about stands at its end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - named by the library
        """The line without an exception."""
        fields = " ".join(f"{name}={value}" for name, value in fields_of(record).items() if value is not None)
        line = super().formatMessage(record)
        return f"{line} [{fields}]" if fields else line

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def configure(settings: Settings) -> None:
    """Sends everything that is logged in this process to standard error, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger().level))
