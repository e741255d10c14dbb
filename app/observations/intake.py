"""From a posted body to rows: every architecture parsed once, every bad one reported at its index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.orm import Session

from app.errors import AppError, ErrorItem
from app.inference import notations, records
from app.inference.notations import ParsedArchitecture, SearchSpace
from app.observations.schemas import ObservationBatch, ObservationIn
from app.search_spaces import service as search_spaces
from app.tables import TaskRecord
from app.tasks import service as tasks
from app.validation import error_items, invalid_content

CONTENT = ("architecture_id", "status", "value", "std_error", "seed", "fidelity", "cost", "reason")
"""What makes two observations of one client key the same."""


@dataclass(frozen=True)
class Draft:
    """An observation that is ready to be recorded."""

    index: int
    parsed: ParsedArchitecture
    row: dict[str, Any]

    @property
    def client_key(self) -> str | None:
        """The caller's key."""
        key: str | None = self.row["client_key"]
        return key

    @property
    def content(self) -> tuple[Any, ...]:
        """What makes two observations of one client key the same."""
        return tuple(self.row[name] for name in CONTENT)


@dataclass(frozen=True)
class Intake:
    """A posted body with what has to be known to read it. `read` opens no transaction."""

    task: TaskRecord
    space: SearchSpace
    stored: Mapping[str, Any]
    items: Sequence[object]  # ObservationIn, or what should become one
    is_batch: bool

    def read(self) -> list[Draft]:
        """All observations as drafts.

        Raises:
            InvalidContentError: if any is bad; lists every bad one.
        """
        outcomes = [self._draft(index, item) for index, item in enumerate(self.items)]
        errors = [error for outcome in outcomes if isinstance(outcome, list) for error in outcome]
        if errors:
            raise invalid_content(errors)
        return [outcome for outcome in outcomes if isinstance(outcome, Draft)]

    def location(self, index: int, *field: str) -> list[str | int]:
        """Where in the body the observation stands."""
        return ["body", "observations", index, *field] if self.is_batch else ["body", *field]

    def _draft(self, index: int, item: object) -> Draft | list[ErrorItem]:
        try:
            one = item if isinstance(item, ObservationIn) else ObservationIn.model_validate(item)
        except ValidationError as error:
            return error_items(error.errors(include_url=False), self.location(index))
        parsed = notations.parse_or_error(self.space, one.architecture, self.stored)
        if isinstance(parsed, AppError):
            return [{"location": self.location(index, "architecture"), "message": parsed.detail}]
        limit = self.task.max_fidelity
        if limit is not None and one.fidelity is not None and one.fidelity > limit:
            message = f"expected a fidelity of at most {limit}, which is final in this task, got {one.fidelity}"
            return [{"location": self.location(index, "fidelity"), "message": message}]
        row = one.model_dump(exclude={"architecture"})
        return Draft(index, parsed, {**row, "task_id": self.task.id, "architecture_id": parsed.id})


def take(session: Session, task_name: str, body: ObservationIn | ObservationBatch, limit: int) -> Intake:
    """The body with the task, its search space and the stored architectures that it refers to.

    Raises:
        NotFoundError: if there is no such task.
        InvalidContentError: if there are more observations than `limit`.
    """
    task = tasks.find(session, task_name)
    is_batch = isinstance(body, ObservationBatch)
    items: Sequence[object] = body.observations if isinstance(body, ObservationBatch) else [body]
    if len(items) > limit:
        message = f"expected at most {limit} observations in one request, got {len(items)}"
        raise invalid_content([{"location": ["body", "observations"], "message": message}])
    record = search_spaces.find(session, task.search_space)
    space = notations.search_space(record.name, record.definition)
    ids = notations.referenced_ids(map(_architecture, items))
    stored = records.referred_architectures(session, space, ids, task.project_id)
    return Intake(task, space, stored, items, is_batch)


def _architecture(item: object) -> object:
    return item.get("architecture") if isinstance(item, Mapping) else getattr(item, "architecture", None)
