"""What is logged, and what never is."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from app import logs
from app.settings import Settings

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

API_KEY = "archcast_" + "a1B2" * 9 + "Zz"
LEASE_TOKEN = "3." + "x_-9" * 8
SECRETS = {
    f"Authorization: Bearer {API_KEY}": API_KEY,
    "{'authorization': 'Basic dXNlcjpwYXNz'}": "dXNlcjpwYXNz",
    f"a key such as {API_KEY} was sent": API_KEY,
    '{"lease_token": "3.abc"}': "3.abc",
    f"token of lease {LEASE_TOKEN}": LEASE_TOKEN,
    "secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "postgresql+psycopg://me:pa55word@db/archcast": "pa55word",
    "GET /x?api_key=abcdef&b=1": "abcdef",
    "bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2ln": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.c2ln",
}


class Lines(logging.Handler):
    """Keeps what a formatter makes of what is logged."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture
def listen() -> Iterator[Callable[[logging.Formatter], Lines]]:
    root, added = logging.getLogger(), []
    before = root.level

    def begin(formatter: logging.Formatter) -> Lines:
        lines = Lines(formatter)
        added.append(lines)
        root.addHandler(lines)
        root.setLevel(logging.INFO)
        return lines

    yield begin
    root.setLevel(before)
    for one in added:
        root.removeHandler(one)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Every request is logged."""
    return settings.model_copy(update={"log_requests": True})


def of_requests(lines: Lines) -> list[dict[str, Any]]:
    return [one for one in lines.documents if one["logger"] == "app.requests"]


@pytest.mark.parametrize(("text", "secret"), SECRETS.items())
@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.TextFormatter()])
def test_secrets_are_taken_out_of_every_line(
    listen: Callable[[logging.Formatter], Lines], formatter: logging.Formatter, text: str, secret: str
) -> None:
    lines = listen(formatter)
    logger = logging.getLogger("app.somewhere")

    logger.warning("it says %s", text, extra=logs.with_fields(detail=text, nested=[{"detail": text, "secret": secret}]))
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("failed")

    assert len(lines.lines) == 2
    assert not [line for line in lines.lines if secret in line]


def test_a_line_is_one_document_even_with_an_exception(listen: Callable[[logging.Formatter], Lines]) -> None:
    lines = listen(logs.JsonFormatter())
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("app.somewhere").exception("failed: %s", "a\nb")

    (line,), (document,) = lines.lines, lines.documents
    assert "\n" not in line
    assert (document["level"], document["logger"]) == ("error", "app.somewhere")
    assert "ValueError" in document["exception"]
    assert document["time"].endswith("+00:00")


def test_every_line_of_a_job_says_which_one(listen: Callable[[logging.Formatter], Lines]) -> None:
    lines = listen(logs.JsonFormatter())

    with logs.about(job_id=7, job_kind="adapt"):
        logging.getLogger("app.deep_inside").info("halfway")
    logging.getLogger("app.deep_inside").info("afterwards")

    assert [one.get("job_id") for one in lines.documents] == [7, None]


def test_a_request_is_logged_with_its_id_template_status_and_duration(
    client: TestClient, listen: Callable[[logging.Formatter], Lines]
) -> None:
    lines = listen(logs.JsonFormatter())

    client.get("/v1/tasks/nobody?api_key=abcdef", headers={"X-Request-ID": "my-id"})
    client.get("/v1/tasks/nobody", headers={"Authorization": f"Bearer {API_KEY}"})

    document, refused = of_requests(lines)
    told = {name: document[name] for name in ("request_id", "route", "status", "method", "task", "level", "caller")}
    assert told == {
        "request_id": "my-id",
        "route": "/v1/tasks/{task}",
        "status": 404,
        "method": "GET",
        "task": "nobody",
        "level": "info",
        "caller": "embedded",
    }
    assert document["duration_ms"] > 0
    assert (refused["status"], refused["caller"]) == (401, "everybody")
    assert not [line for line in lines.lines if API_KEY in line or "abcdef" in line]


def test_what_an_endpoint_logs_bears_the_id_of_its_request(
    client: TestClient, listen: Callable[[logging.Formatter], Lines], replace_state: Callable[[str, object], None]
) -> None:
    class Broken:
        def read(self) -> None:
            logging.getLogger("app.broken").warning("about to fail")
            raise RuntimeError("a bug")

    lines = listen(logs.JsonFormatter())
    replace_state("database", Broken())

    with pytest.raises(RuntimeError):
        client.get("/v1/search-spaces", headers={"X-Request-ID": "my-id"})

    found = {one["logger"]: one for one in lines.documents if one["logger"].startswith("app.")}
    assert {name: one["request_id"] for name, one in found.items()} == {
        "app.broken": "my-id",
        "app.requests": "my-id",
        "app.error_handlers": "my-id",
    }
    assert found["app.requests"]["status"] == 500
    assert "a bug" in found["app.error_handlers"]["exception"]


def test_text_is_for_people(listen: Callable[[logging.Formatter], Lines]) -> None:
    lines = listen(logs.TextFormatter())

    with logs.about(job_id=7):
        logging.getLogger("app.worker").info("halfway")

    assert lines.lines[0].endswith("INFO app.worker halfway [job_id=7]")


@pytest.mark.parametrize(("form", "formatter"), [("json", logs.JsonFormatter), ("text", logs.TextFormatter)])
def test_settings_choose_form_and_level(form: str, formatter: type[logging.Formatter]) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        for handler in before:
            root.removeHandler(handler)
        logs.configure(Settings(log_format=form, log_level="error"))  # type: ignore[arg-type]

        assert [type(one.formatter) for one in root.handlers] == [formatter]
        assert root.level == logging.ERROR
    finally:
        for handler in list(root.handlers):
            root.removeHandler(handler)
        for handler in before:
            root.addHandler(handler)
        root.setLevel(level)
