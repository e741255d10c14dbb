"""What can be done with search spaces."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import cast

from sqlalchemy.orm import Session

from app.errors import AppError, ConflictError, NotFoundError
from app.inference import notations
from app.lists import Asked, Listing
from app.pagination import Page
from app.preconditions import IfMatch
from app.schemas import ErrorItemReply
from app.search_spaces import repository
from app.search_spaces.schemas import (
    SampledArchitecture,
    SampleOut,
    SearchSpaceEdit,
    SearchSpaceIn,
    SearchSpaceOut,
    SpaceKind,
    ValidationOut,
    ValidationResult,
)
from app.tables import SearchSpaceRecord

LISTING = Listing(
    "search spaces", SearchSpaceOut, SearchSpaceRecord.name, {"name": SearchSpaceRecord.name}, default="name"
)
_MAX_SEED = 2**31
_MAX_EXACT = 2**53  # whole numbers up to here survive a JSON reader that uses doubles


def add_built_in(session: Session) -> None:
    """Gives every built-in search space its record, so that tasks can name it."""
    spaces = notations.built_in_search_spaces()
    repository.add_new(
        session, [{"name": space.name, "kind": space.kind, "description": space.description} for space in spaces]
    )


def find(session: Session, name: str, *, for_update: bool = False) -> SearchSpaceRecord:
    """The search space of that name. Locked until the transaction ends where asked.

    Raises:
        NotFoundError: if there is none.
    """
    found = repository.find_to_change if for_update else repository.find
    record = found(session, name) if "\0" not in name else None
    if record is None:
        raise NotFoundError(f"expected the name of a search space, got {name[:200]!r}")
    return record


def shown(record: SearchSpaceRecord) -> SearchSpaceOut:
    """The search space as users see it."""
    space = notations.search_space(record.name, record.definition)
    summary = notations.summary(space, cast(notations.SpaceKind, record.kind))
    return SearchSpaceOut(
        name=record.name,
        kind=summary.kind,
        description=record.description,
        size=summary.size if summary.size is None or summary.size <= _MAX_EXACT else None,
        log10_size=None if summary.size is None else round(math.log10(summary.size), 2),
        example=summary.example,
        definition=record.definition,
        created_at=record.created_at,
    )


def page(session: Session, asked: Asked, kind: SpaceKind | None) -> Page[SearchSpaceOut]:
    """One page of the list."""
    rows, next_cursor = LISTING.page(session, repository.listed(kind), asked, {"kind": kind})
    return Page(items=[shown(row[0]) for row in rows], next_cursor=next_cursor)


def declare(session: Session, body: SearchSpaceIn) -> tuple[SearchSpaceRecord, bool]:
    """The declared search space, and whether it is new.

    Raises:
        InvalidContentError: if the definition is wrong.
        ConflictError: if the name is taken by a different one.
    """
    notations.declared_search_space(body.name, body.definition)
    is_new = repository.find(session, body.name) is None
    is_new = is_new and repository.add_if_new(session, {**body.model_dump(), "kind": "declared"})
    record = find(session, body.name)
    if record.definition != body.definition:
        raise ConflictError(f"expected a new name or the same definition, got another definition of {body.name!r}")
    return record, is_new


def edit(session: Session, name: str, body: SearchSpaceEdit, seen: IfMatch) -> SearchSpaceOut:
    """The search space with another description.

    Raises:
        NotFoundError: if there is no such search space.
        PreconditionFailedError: if it is not as the caller has seen it.
        ConflictError: if it comes with the program.
    """
    record = find(session, name, for_update=True)
    seen.check(lambda: shown(record))
    if record.kind != "declared":
        raise ConflictError(f"expected a search space that was declared, got {name!r}, which comes with the program")
    record.description = body.description
    session.flush()
    return shown(record)


def sample(record: SearchSpaceRecord, count: int, seed: int | None) -> SampleOut:
    """Random architectures; the same for the same seed."""
    used = secrets.randbelow(_MAX_SEED) if seed is None else seed
    space = notations.search_space(record.name, record.definition)
    drawn = notations.sampled(space, count, used)
    architectures = [SampledArchitecture(id=one.id, genotype=one.genotype) for one in drawn]
    return SampleOut(search_space=record.name, seed=used, architectures=architectures)


def validate(record: SearchSpaceRecord, written: Sequence[object]) -> ValidationOut:
    """What each notation means in the search space, or why it means nothing."""
    space = notations.search_space(record.name, record.definition)
    parsed = notations.parse_many(space, written)
    results = [_result(index, outcome) for index, outcome in enumerate(parsed)]
    num_valid = sum(result.valid for result in results)
    return ValidationOut(search_space=record.name, num_valid=num_valid, results=results)


def _result(index: int, outcome: notations.ParsedArchitecture | AppError) -> ValidationResult:
    if isinstance(outcome, AppError):
        error = ErrorItemReply(location=["body", "architectures", index], message=outcome.detail)
        return ValidationResult(index=index, valid=False, error=error)
    return ValidationResult(index=index, valid=True, id=outcome.id, genotype=outcome.genotype)
