"""The audit log: every change, written in the transaction that makes it.

The guard says who asks for what (`begin`); the hook on the database (`write_draft`) adds the entry to the first transaction
that this request commits; whoever changes something may say what it was before and after (`note`).
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.access.callers import Caller
from app.access.repository import AuditFilter, listed_changes
from app.access.schemas import AuditOut
from app.lists import Asked, Listing
from app.pagination import Page
from app.tables import AuditRecord

MAX_DETAIL_BYTES = 4_096
LISTING = Listing("changes", AuditOut, AuditRecord.id, {"id": AuditRecord.id}, default="-id")


@dataclass
class Draft:
    """An entry that is to be written with the change."""

    caller: Caller
    operation: str
    target: str
    address: str | None = None
    request_id: str | None = None
    details: dict[str, Any] | None = None
    is_written: bool = False

    def record(self) -> AuditRecord:
        """The entry."""
        return AuditRecord(
            caller=self.caller.id,
            caller_name=self.caller.name,
            role=self.caller.role.label,
            operation=self.operation,
            target=self.target,
            details=self.details,
            address=self.address,
            request_id=self.request_id,
        )


_draft: ContextVar[Draft | None] = ContextVar("audit-draft", default=None)


def begin(draft: Draft | None) -> None:
    """What this context changes from now on is entered under the draft."""
    _draft.set(draft)


def note(**details: Any) -> None:
    """Says what changed, such as `before` and `after`; left out where it is large. To be called inside the transaction."""
    draft = _draft.get()
    if draft is not None:
        merged = {**(draft.details or {}), **details}
        is_small = len(orjson.dumps(merged, default=str)) <= MAX_DETAIL_BYTES
        draft.details = merged if is_small else {"left_out": f"more than {MAX_DETAIL_BYTES} bytes"}


def page(session: Session, wanted: AuditFilter, asked: Asked) -> Page[AuditOut]:
    """One page of the entries that are wanted, the newest first unless asked otherwise."""
    rows, next_cursor = LISTING.page(session, listed_changes(wanted), asked, asdict(wanted))
    return Page(items=[AuditOut.model_validate(row[0]) for row in rows], next_cursor=next_cursor)


def write_draft(session: Session) -> None:
    """The hook on the database: enters the change once, with whatever commits first."""
    draft = _draft.get()
    if draft is None or draft.is_written:
        return
    session.add(draft.record())
    draft.is_written = True

    def undo(_session: Session) -> None:
        draft.is_written = False

    event.listen(session, "after_rollback", undo, once=True)
