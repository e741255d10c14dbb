"""A task with its search space and all of its observations in one file, and from there into any service.

The file is JSON lines, CSV or Parquet, by its ending. First comes what it is (in CSV a line that begins with `#`, in Parquet
the schema's metadata under `archcast`), then one row for each observation, the superseded ones, corrections and retractions
too. `id` and `supersedes_id` hold in the file alone: the service that imports it gives new ones, and new times.

Importing adds what is missing. An observation with a client key is known by it; one without is taken to be there already if
the task has one of the same content and history that no other row of the file accounts for. So a file counts once, however
often it is imported, also into the service that it came from.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.client import Client, ClientError, Document
from app.errors import ConflictError, InvalidContentError
from app.exchange_files import read_rows, write_rows

FORMAT = 1
BATCH_SIZE = 1_000
CONTENT = ("architecture_id", "status", "value", "std_error", "seed", "fidelity", "cost", "reason")
COLUMNS = ("id", "supersedes_id", "architecture", *CONTENT, "client_key", "created_at")
_TASK = ("name", "search_space", "dataset", "metric", "device", "max_fidelity", "metadata")
_POSTED = ("status", "value", "std_error", "seed", "fidelity", "cost", "reason", "client_key")

Content = tuple[Any, ...]


@dataclass(frozen=True)
class Imported:
    """What became of a file."""

    task: str
    num_created: int
    num_duplicates: int


@dataclass
class History:
    """An observation and what was put in its place, the oldest first."""

    rows: list[Document] = field(default_factory=list)

    @property
    def client_key(self) -> str | None:
        """The first one's key: corrections have none."""
        key: str | None = self.rows[0]["client_key"]
        return key

    @property
    def contents(self) -> tuple[Content, ...]:
        """What makes two histories the same."""
        return tuple(tuple(row[name] for name in CONTENT) for row in self.rows)


def export_task(client: Client, task: str, file: Path) -> int:
    """Writes the task into a new file, whole or not at all; how many observations there were.

    Raises:
        ClientError: if the service refuses.
        InvalidContentError: if the file has another ending.
    """
    document = client.task(task)
    space = client.search_space(document["search_space"])
    header = {
        "archcast": "task",
        "format": FORMAT,
        "task": {name: document[name] for name in _TASK},
        "search_space": {name: space[name] for name in ("name", "kind", "description", "definition")},
    }
    rows = [_row(client, one) for one in client.observations(task, include_superseded=True, sort="id")]
    write_rows(file, header, COLUMNS, rows)
    return len(rows)


def import_task(client: Client, file: Path, name: str | None = None) -> Imported:
    """Creates the task (under another name where wanted) and its search space where they are missing, and adds the
    observations that are.

    Raises:
        ClientError: if the service refuses.
        InvalidContentError: if the file cannot be read.
        ConflictError: if an observation has another history there; nothing is written then.
    """
    header, rows = read_rows(file, COLUMNS)
    task = _checked(header, file)
    name = name or task["name"]
    histories = _histories(rows, file.name)
    space = header["search_space"]
    if space["definition"] is not None:
        client.declare_search_space(space["name"], space["definition"], space["description"])
    optional = {key: task[key] for key in ("device", "max_fidelity", "metadata")}
    client.create_task(name, task["search_space"], task["dataset"], task["metric"], **optional)
    there = _histories(client.observations(name, include_superseded=True, sort="id"), f"task {name}")
    pairs = _matched(histories, there)
    before = sum(len(known.rows) for _, known in pairs if known is not None)
    num_created = _write(client, name, pairs)
    return Imported(name, num_created, min(before, len(rows)) if num_created else len(rows))


def _row(client: Client, one: Document) -> Document:
    notation = one["genotype"]
    if notation is None:
        notation = json.dumps(client.architecture(one["architecture_id"])["graph"])
    return {"architecture": notation, **{column: one[column] for column in COLUMNS if column != "architecture"}}


def _checked(header: Mapping[str, Any], file: Path) -> Document:
    if header.get("archcast") != "task" or header.get("format") != FORMAT:
        raise InvalidContentError(
            f"{file.name}: expected a task that Archcast exported in format {FORMAT}, got something else; a table of "
            "observations is imported by `archcast import TASK FILE`"
        )
    task: Document = header["task"]
    return task


def _histories(rows: Iterable[Document], where: str) -> list[History]:
    """Raises InvalidContentError if a row supersedes one that does not come before it."""
    by_last: dict[int, History] = {}
    for row in rows:
        history = History() if row["supersedes_id"] is None else by_last.pop(row["supersedes_id"], None)
        if history is None:
            raise InvalidContentError(
                f"{where}: expected observation {row['id']} after the one that it supersedes, got it without"
            )
        history.rows.append(row)
        by_last[row["id"]] = history
    return sorted(by_last.values(), key=lambda one: one.rows[0]["id"])


def _matched(wanted: Sequence[History], there: Sequence[History]) -> list[tuple[History, History | None]]:
    """Each history with what is there of it already; raises ConflictError."""
    by_key = {one.client_key: one for one in there if one.client_key is not None}
    unkeyed: dict[Content, list[History]] = defaultdict(list)
    for one in there:
        if one.client_key is None:
            unkeyed[one.contents[0]].append(one)
    keyless = sorted((one for one in wanted if one.client_key is None), key=lambda one: -len(one.rows))
    found = {id(one): by_key.get(one.client_key) for one in wanted if one.client_key is not None}
    for agrees in (_is_same, _is_begun, _goes_further):
        for one in keyless:
            if found.get(id(one)) is None:
                found[id(one)] = _taken(unkeyed[one.contents[0]], one, agrees)
    pairs = [(one, found[id(one)]) for one in wanted]
    for one, known in pairs:
        if known is not None and not (_is_begun(one, known) or _goes_further(one, known)):
            raise ConflictError(
                f"nothing was imported: expected observation {known.rows[0]['id']} with the client key "
                f"{one.client_key!r} to have the history that the file tells, got another"
            )
    return pairs


def _taken(available: list[History], one: History, agrees: Callable[[History, History], bool]) -> History | None:
    for index, known in enumerate(available):
        if agrees(one, known):
            return available.pop(index)
    return None


def _is_same(one: History, known: History) -> bool:
    return one.contents == known.contents


def _is_begun(one: History, known: History) -> bool:
    return one.contents[: len(known.rows)] == known.contents


def _goes_further(one: History, known: History) -> bool:
    return known.contents[: len(one.rows)] == one.contents


def _write(client: Client, task: str, pairs: Sequence[tuple[History, History | None]]) -> int:
    """First what is new, then what takes the place of others; how many there were."""
    new = [one for one, known in pairs if known is None]
    last = {id(one): int(known.rows[-1]["id"]) for one, known in pairs if known is not None}
    for batch in _batches(new):
        rows = [_posted(one.rows[0]) for one in batch]
        key = hashlib.sha256(json.dumps([task, rows, batch[0].rows[0]["id"]]).encode()).hexdigest()
        answer = client.post_observations(task, rows, key)
        for one, posted in zip(batch, answer["observations"], strict=True):
            last[id(one)] = int(posted["id"])
    num_superseding = 0
    for one, known in pairs:
        for row in one.rows[1 if known is None else len(known.rows) :]:
            last[id(one)] = _supersede(client, task, last[id(one)], row)
            num_superseding += 1
    return len(new) + num_superseding


def _batches(histories: Sequence[History]) -> Iterator[Sequence[History]]:
    for start in range(0, len(histories), BATCH_SIZE):
        yield histories[start : start + BATCH_SIZE]


def _posted(row: Document) -> Document:
    return {"architecture": _notation(row["architecture"]), **{name: row[name] for name in _POSTED}}


def _notation(text: str) -> Any:
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _supersede(client: Client, task: str, observation_id: int, row: Document) -> int:
    reason = row["reason"]
    if reason is None:
        raise ClientError(f"expected a reason with the correction {row['id']}, got none")
    if row["status"] == "retracted":
        return int(client.retract_observation(task, observation_id, reason)["id"])
    members = {name: row[name] for name in ("status", "value", "std_error")}
    return int(client.correct_observation(task, observation_id, reason, **members)["id"])
