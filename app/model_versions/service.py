"""Which surrogate answers: promotion, rollback, and the champion that comes with the program."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from app import outbox, queue
from app.access import audit
from app.database import Database
from app.errors import AppError, ConflictError, NotFoundError
from app.inference import Candidate, ShippedVersion, is_readable, shipped_version, task_ids_to_adapt, unpacked
from app.lists import Asked, Listing
from app.model_versions import repository
from app.model_versions.repository import CANDIDATE, CHAMPION
from app.model_versions.schemas import ModelVersionReply, PromotionReply
from app.pagination import Page
from app.tables import ModelVersionRecord, PromotionRecord

LISTING = Listing(
    "model versions",
    ModelVersionReply,
    ModelVersionRecord.id,
    {"id": ModelVersionRecord.id, "created_at": ModelVersionRecord.created_at},
    default="id",
)
_ROLLED_BACK = "rolled_back"
_SAYS_NOTHING_OF_TASKS = ("format", "encoding", "surrogate", "inner", "parent", "fine_tune", "device")
_logger = logging.getLogger(__name__)


def register_shipped(database: Database) -> None:
    """Stores the champion that comes with the program, which answers until something better was promoted.

    A newer program's champion takes over from an older program's, but from a version that was made here only where this program
    cannot read that any more. Without one the service starts all the same and says that it is not ready until a version is stored.
    """
    try:
        shipped = shipped_version()
    except AppError:
        _logger.exception("expected the champion that comes with the program, got an error")
        return
    with database.write() as session:
        _register(session, shipped)


def _register(session: Session, shipped: ShippedVersion) -> None:
    champion = repository.aliases(session, for_update=True).get(CHAMPION)
    current = None if champion is None else repository.find(session, champion)
    is_known = repository.find(session, shipped.id) is not None
    add(session, shipped.id, None, "shipped", shipped.manifest, shipped.weights)
    if current is not None and not is_readable(current.manifest):
        reason = "comes with the program, which does not read the encoding that the champion so far was made for"
        _make_champion(session, shipped.id, champion, reason, {})
    elif champion is None or (not is_known and current is not None and current.origin == "shipped"):
        _make_champion(session, shipped.id, champion, "comes with the program", {})


def add(
    session: Session, version: str, parent: str | None, origin: str, manifest: dict[str, Any], weights: bytes
) -> None:
    """Stores a model version; harmless if it is there already."""
    row = {"id": version, "parent_id": parent, "origin": origin, "manifest": manifest, "weights": weights}
    repository.add_new(session, row)


def upload(database: Database, content: bytes) -> tuple[ModelVersionReply, bool]:
    """Stores a version that came as an archive; as users see it, and whether it is new.

    Its parent is kept where it is known here: elsewhere it may have come from versions that never were.

    Raises:
        InvalidContentError: if it is no archive of a version, or does not fit this program.
    """
    uploaded = unpacked(content)
    with database.write() as session:
        is_new = repository.find(session, uploaded.id) is None
        if is_new:
            parent = uploaded.manifest.get("parent")
            known = repository.find(session, parent) if isinstance(parent, str) and "\0" not in parent else None
            add(session, uploaded.id, known.id if known else None, "uploaded", uploaded.manifest, uploaded.weights)
        return shown(session, [find(session, uploaded.id)])[0], is_new


def find(session: Session, version: str) -> ModelVersionRecord:
    """The model version of that id.

    Raises:
        NotFoundError: if there is none.
    """
    record = repository.find(session, version) if "\0" not in version else None
    if record is None:
        raise NotFoundError(f"expected the id of a model version, got {version[:200]!r}")
    return record


def readable(session: Session, version: str) -> ModelVersionRecord:
    """The same, which this program reads.

    Raises:
        NotFoundError: if there is none.
        ConflictError: if it was made for another encoding.
    """
    record = find(session, version)
    if not is_readable(record.manifest):
        told = record.manifest.get("encoding")
        raise ConflictError(f"expected a model version of this program's encoding, got {version}, of {told}")
    return record


def shown(
    session: Session, records: Sequence[ModelVersionRecord], project_id: int | None = None
) -> list[ModelVersionReply]:
    """Model versions as a caller of the project sees them: without what names the tasks of others (None: with all of it)."""
    aliases = repository.aliases(session)
    promotions = repository.promotions(session, [record.id for record in records])
    return [
        ModelVersionReply(
            id=record.id,
            parent_id=record.parent_id,
            origin=record.origin,  # type: ignore[arg-type]
            aliases=sorted(name for name, version in aliases.items() if version == record.id),
            created_at=record.created_at,
            manifest=record.manifest if project_id is None else _without_tasks(record),
            promotions=[
                promotion_shown(one, with_comparison=project_id is None)
                for one in promotions
                if one.model_version_id == record.id
            ],
        )
        for record in records
    ]


def _without_tasks(record: ModelVersionRecord) -> dict[str, Any]:
    """What comes with the program is the same everywhere; what was made here says what it was made from."""
    if record.origin == "shipped":
        return record.manifest
    return {name: record.manifest[name] for name in _SAYS_NOTHING_OF_TASKS if name in record.manifest}


def promotion_shown(record: PromotionRecord, *, with_comparison: bool = True) -> PromotionReply:
    """A decision as users see it; its numbers may be of single tasks."""
    return PromotionReply(
        id=record.id,
        model_version=record.model_version_id,
        previous=record.previous_id,
        is_promoted=record.promoted,
        reason=record.reason,
        comparison=record.comparison if with_comparison else {},
        created_at=record.created_at,
    )


def page(
    session: Session,
    asked: Asked,
    origin: str | None,
    since: datetime | None,
    before: datetime | None,
    project_id: int | None = None,
) -> Page[ModelVersionReply]:
    """One page of the list, as a caller of the project sees it."""
    filters = {"origin": origin, "since": since, "before": before}
    rows, next_cursor = LISTING.page(session, repository.listed(**filters), asked, filters)  # type: ignore[arg-type]
    return Page(items=shown(session, [row[0] for row in rows], project_id), next_cursor=next_cursor)


def promote(session: Session, version: str, reason: str) -> PromotionRecord:
    """Makes the version the champion and queues the adaptation of every observed task.

    Raises:
        NotFoundError: if there is no such version.
        ConflictError: if it is the champion already, or this program cannot read it.
    """
    readable(session, version)
    champion = repository.aliases(session, for_update=True).get(CHAMPION)
    if champion == version:
        raise ConflictError(f"expected a model version that is not the champion, got {version}, which is")
    return _make_champion(session, version, champion, reason, {})


def roll_back(session: Session, reason: str) -> PromotionRecord:
    """Makes the champion's predecessor the champion again; repeated, it goes further back.

    Raises:
        ConflictError: if the champion has no predecessor, or one that this program cannot read.
    """
    champion = repository.aliases(session, for_update=True).get(CHAMPION)
    history = repository.promotions(session, [champion]) if champion else []
    entered = [one for one in history if one.promoted and _ROLLED_BACK not in one.comparison]
    previous = entered[-1].previous_id if entered else None
    if previous is None:
        raise ConflictError(f"expected a champion that replaced another one, got {champion}, which replaced none")
    readable(session, previous)
    return _make_champion(session, previous, champion, reason, {_ROLLED_BACK: champion})


def decide(session: Session, candidate: Candidate, job_id: int | None = None) -> PromotionRecord:
    """Notes the decision about a candidate, and promotes it if it is better than what is champion now.

    It was compared with the champion that it started from: if another has become champion meanwhile, nothing is known of how
    the two compare. A unique key lets each job decide once.
    """
    champion = repository.aliases(session, for_update=True).get(CHAMPION)
    repository.point(session, CANDIDATE, candidate.id)
    reason, is_better = candidate.reason, candidate.is_better and champion != candidate.id
    if is_better and champion != candidate.parent_id:
        reason = f"not promoted: {champion} became champion while it was compared with {candidate.parent_id} ({reason})"
        is_better = False
    if is_better:
        return _make_champion(session, candidate.id, champion, reason, candidate.comparison, job_id)
    return repository.add_promotion(
        session,
        PromotionRecord(
            model_version_id=candidate.id,
            previous_id=champion,
            promoted=False,
            reason=reason,
            comparison=candidate.comparison,
            job_id=job_id,
        ),
    )


def _make_champion(
    session: Session,
    version: str,
    previous: str | None,
    reason: str,
    comparison: dict[str, Any],
    job_id: int | None = None,
) -> PromotionRecord:
    repository.point(session, CHAMPION, version)
    audit.note(before={"champion": previous}, after={"champion": version, "reason": reason})
    for task_id in task_ids_to_adapt(session):
        queue.enqueue_adaptation(session, task_id, queue.IN_THE_BACKGROUND)
    is_rollback = _ROLLED_BACK in comparison
    outbox.emit(
        session,
        "model_version.rolled_back" if is_rollback else "model_version.promoted",
        {"model_version": version, "previous": previous, "reason": reason},
    )
    return repository.add_promotion(
        session,
        PromotionRecord(
            model_version_id=version,
            previous_id=previous,
            promoted=True,
            reason=reason,
            comparison=comparison,
            job_id=job_id,
        ),
    )
