"""What can be done with observations. Nothing is ever changed or deleted: corrections and retractions are new rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app import queue
from app.access import audit
from app.errors import ConflictError, ErrorItem, NotFoundError
from app.inference import ParsedArchitecture
from app.lists import Asked, Listing
from app.observations import repository
from app.observations.intake import CONTENT, Draft, Intake
from app.observations.repository import Filter
from app.observations.schemas import (
    BestArchitecture,
    BestOut,
    CorrectionIn,
    ObservationOut,
    PostedObservation,
    PostedOut,
    RetractionIn,
)
from app.observations.summaries import mean_and_std
from app.pagination import Page
from app.preconditions import IfMatch
from app.tables import ObservationRecord, TaskRecord
from app.tasks import repository as task_repository
from app.tasks import service as tasks

LISTING = Listing(
    "observations",
    ObservationOut,
    ObservationRecord.id,
    {"id": ObservationRecord.id, "created_at": ObservationRecord.created_at, "value": ObservationRecord.value},
    default="id",
)
_FIELDS = tuple(name for name in ObservationOut.model_fields if name not in ("task", "genotype"))
_COPIED = ("task_id", "architecture_id", "std_error", "seed", "fidelity", "cost")


def record(session: Session, intake: Intake, drafts: Sequence[Draft], priority: int = 0) -> PostedOut:
    """Records all drafts, but those that were recorded before, and queues the adaptation with that priority.

    Raises:
        ConflictError: if a client key is taken by other content; lists all of them, and nothing is recorded.
    """
    task = tasks.find(session, str(intake.task.id), for_update=True)
    new, ids = _split(session, intake, drafts)
    keep_architectures(session, task.search_space, [draft.parsed for draft in new])
    for draft, new_id in zip(new, repository.add(session, [draft.row for draft in new]), strict=True):
        ids[draft.index] = new_id
    if new:
        _changed(session, task.id, len(new), priority)
    _fill_repeated(drafts, ids)
    created = {draft.index for draft in new}
    audit.note(task=task.name, num_created=len(new), num_duplicates=len(drafts) - len(new))
    posted = [
        PostedObservation(id=ids[draft.index], architecture_id=draft.parsed.id, is_duplicate=draft.index not in created)
        for draft in drafts
    ]
    return PostedOut(task=task.name, num_created=len(new), num_duplicates=len(drafts) - len(new), observations=posted)


def _split(session: Session, intake: Intake, drafts: Sequence[Draft]) -> tuple[list[Draft], dict[int, int]]:
    """The drafts that are new, and the ids of those that are not (by index)."""
    keys = [draft.client_key for draft in drafts if draft.client_key is not None]
    existing = repository.by_client_keys(session, intake.task.id, keys)
    first: dict[str, Draft] = {}
    new: list[Draft] = []
    ids: dict[int, int] = {}
    errors: list[ErrorItem] = []
    for draft in drafts:
        key = draft.client_key
        kept = None if key is None else existing.get(key)
        before = None if key is None else first.setdefault(key, draft)
        if kept is None and (before is None or before is draft):
            new.append(draft)
        elif draft.content != (_content(kept) if kept is not None else before.content if before else None):
            message = f"expected the same content as before under the client key {key!r}, got another"
            errors.append({"location": intake.location(draft.index, "client_key"), "message": message})
        elif kept is not None:
            ids[draft.index] = kept.id
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ConflictError(f"nothing was recorded: {errors[0]['message']}{more}", errors=errors)
    return new, ids


def _content(kept: ObservationRecord) -> tuple[Any, ...]:
    return tuple(getattr(kept, name) for name in CONTENT)


def _fill_repeated(drafts: Sequence[Draft], ids: dict[int, int]) -> None:
    """Gives a draft that repeats another of the same request the id of that one."""
    by_key = {draft.client_key: ids[draft.index] for draft in drafts if draft.index in ids}
    for draft in drafts:
        if draft.index not in ids:
            ids[draft.index] = by_key[draft.client_key]


def keep_architectures(session: Session, search_space: str, parsed: Sequence[ParsedArchitecture]) -> None:
    """Stores those that are new, in one order, so that two who store the same ones do not wait for each other in a circle."""
    by_id = {one.id: one for one in sorted(parsed, key=lambda one: one.id)}
    known = repository.known_architectures(session, by_id)
    rows = [
        {"id": id_, "hash_algorithm": one.hash_algorithm, "graph": one.graph}
        for id_, one in by_id.items()
        if id_ not in known
    ]
    repository.add_new_architectures(session, rows)
    repository.add_new_notations(session, search_space, {id_: one.genotype for id_, one in by_id.items()})


def _changed(session: Session, task_id: int, added: int, priority: int = 0) -> None:
    task_repository.change_observations(session, task_id, added)
    queue.enqueue_adaptation(session, task_id, priority)


def find(session: Session, task_name: str, observation_id: int) -> ObservationOut:
    """One observation of the task; raises NotFoundError."""
    task = tasks.find(session, task_name)
    if repository.find(session, task.id, observation_id) is None:
        raise _not_found(task, observation_id)
    return shown(repository.shown_by_id(session, observation_id))


def _not_found(task: TaskRecord, observation_id: int) -> NotFoundError:
    return NotFoundError(f"expected the id of an observation of task {task.name!r}, got {observation_id}")


def correct(
    session: Session, task_name: str, observation_id: int, body: CorrectionIn, seen: IfMatch | None = None
) -> ObservationOut:
    """A new observation in the place of another, whose known error it keeps unless it says another.

    Raises:
        NotFoundError: if there is no such task or observation.
        PreconditionFailedError: if it is not as the caller has seen it.
        ConflictError: if it was superseded or retracted before.
    """
    values: dict[str, Any] = {"status": body.status, "value": body.value, "reason": body.reason}
    if "std_error" in body.model_fields_set or body.status != "ok":
        values["std_error"] = body.std_error
    return _supersede(session, task_name, observation_id, values, added=0, seen=seen)


def retract(
    session: Session, task_name: str, observation_id: int, body: RetractionIn, seen: IfMatch | None = None
) -> ObservationOut:
    """The note that an observation is to be ignored.

    Raises:
        NotFoundError: if there is no such task or observation.
        PreconditionFailedError: if it is not as the caller has seen it.
        ConflictError: if it was superseded or retracted before.
    """
    values = {"status": "retracted", "value": None, "std_error": None, "reason": body.reason}
    return _supersede(session, task_name, observation_id, values, added=-1, seen=seen)


def _supersede(
    session: Session, task_name: str, observation_id: int, values: dict[str, Any], added: int, seen: IfMatch | None
) -> ObservationOut:
    task = tasks.find(session, task_name, for_update=True)
    old = repository.find(session, task.id, observation_id)
    if old is None:
        raise _not_found(task, observation_id)
    if seen is not None:
        seen.check(lambda: shown(repository.shown_by_id(session, observation_id)))
    if old.superseded_by_id is not None or old.status == "retracted":
        by = f"superseded by {old.superseded_by_id}" if old.superseded_by_id is not None else "a retraction itself"
        raise ConflictError(f"expected a current observation, got {observation_id}, which is {by}")
    copied = {name: getattr(old, name) for name in _COPIED}
    new_id = repository.add(session, [{**copied, **values, "supersedes_id": old.id}])[0]
    repository.mark_superseded(session, old.id, new_id)
    audit.note(
        before={"id": old.id, "status": old.status, "value": old.value},
        after={"id": new_id, "status": values["status"], "value": values["value"]},
    )
    _changed(session, task.id, added)
    return shown(repository.shown_by_id(session, new_id))


def shown(row: Row[Any]) -> ObservationOut:
    """An observation as users see it."""
    kept: ObservationRecord = row[0]
    return ObservationOut(**{name: getattr(kept, name) for name in _FIELDS}, task=row.task, genotype=row.genotype)


def page(session: Session, task_name: str, asked: Asked, wanted: Filter) -> Page[ObservationOut]:
    """One page of a task's observations, the oldest first unless asked otherwise, or where a range suits another order."""
    task = tasks.find(session, task_name)
    sort = asked.sort or LISTING.sort(_suitable(wanted))
    columns = [name for name in _FIELDS if asked.fields is None or name in asked.fields]
    with_genotype = asked.fields is None or "genotype" in asked.fields
    query = repository.listed(task, columns, with_genotype, wanted, sort, asked)
    filters = {"task": task.id, **asdict(wanted)}
    rows, next_cursor = LISTING.page(session, query, replace(asked, sort=sort), filters, are_empty=wanted.are_empty)
    names = (*columns, "genotype") if with_genotype else columns
    made: Callable[..., ObservationOut] = ObservationOut if asked.fields is None else ObservationOut.model_construct
    items = [made(task=task.name, **dict(zip(names, row, strict=False))) for row in rows]
    return Page[ObservationOut].model_construct(items=items, next_cursor=next_cursor)


def _suitable(wanted: Filter) -> str:
    """The sort whose index serves the filter."""
    if wanted.has_range:
        return "value"
    return "created_at" if wanted.since is not None or wanted.before is not None else "id"


def of_architecture(session: Session, architecture_id: str, project_id: int | None, limit: int) -> list[ObservationOut]:
    """The newest current observations of one architecture over all tasks that a caller of the project sees."""
    return [shown(row) for row in repository.of_architecture(session, architecture_id, project_id, limit)]


def best(session: Session, task_name: str, k: int) -> BestOut:
    """The measured leaderboard of a task."""
    task = tasks.find(session, task_name)
    fidelity = repository.final_fidelity(session, task)
    leaders = repository.best(session, task, fidelity, k)
    ids = [architecture_id for architecture_id, _ in leaders]
    values = repository.final_values(session, task, fidelity, ids)
    genotypes = repository.genotypes(session, task.search_space, ids)
    items = [_place(rank, id_, genotypes.get(id_), values[id_]) for rank, id_ in enumerate(ids, start=1)]
    return BestOut(task=task.name, direction=task.direction, unit=task.unit, fidelity=fidelity, items=items)


def _place(rank: int, architecture_id: str, genotype: str | None, values: list[float]) -> BestArchitecture:
    mean, std = mean_and_std(values)
    return BestArchitecture(
        rank=rank, architecture_id=architecture_id, genotype=genotype, mean=mean, std=std, count=len(values)
    )
