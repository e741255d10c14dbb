"""Which task a name or an id in an address means to a caller, remembered: a task is never renamed, moved or deleted."""

from __future__ import annotations

from app.access import repository
from app.access.repository import TaskPlace
from app.database import Database
from app.errors import ConflictError, NotFoundError
from app.inference.caches import BoundedCache
from app.tables import DEFAULT_PROJECT_ID

_MAX_REMEMBERED = 20_000
_MAX_ID_DIGITS = 18


class TaskPlaces:
    """May be used from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: BoundedCache[tuple[int | None, str], TaskPlace] = BoundedCache(_MAX_REMEMBERED)

    def known(self, project_id: int | None, reference: str) -> TaskPlace | None:
        """The task, if it was asked for before."""
        return self._remembered.get((project_id, reference))

    def find(self, project_id: int | None, reference: str) -> TaskPlace:
        """The task that a caller of the project means; a caller of all projects (None) by a name the default project's,
        else one that belongs to nobody, else the only one.

        Raises:
            NotFoundError: if there is none that the caller may see.
            ConflictError: if several other projects have one.
        """
        found = self._found(project_id, reference)
        if not found:
            raise NotFoundError(f"expected the name or the id of a task, got {reference[:200]!r}")
        place = found[0]
        if place.project_id in (project_id, DEFAULT_PROJECT_ID, None) or reference.isdecimal():
            self._remembered.put((project_id, reference), place)
        elif len(found) > 1:
            ids = [one.id for one in found]
            raise ConflictError(f"expected a name that one project has, got {reference!r}; say the id, one of {ids}")
        return place

    def _found(self, project_id: int | None, reference: str) -> list[TaskPlace]:
        if "\0" in reference:
            return []
        with self._database.read() as session:
            if not (reference.isascii() and reference.isdecimal()):
                return repository.tasks_by_name(session, reference, project_id)
            place = None
            if len(reference) <= _MAX_ID_DIGITS:
                place = repository.task_by_id(session, int(reference), project_id)
            return [] if place is None else [place]
