"""Loads the evaluated architectures that come with the program, once per database, so that a new service has something to
show. A task that exists already is left as it is."""

from __future__ import annotations

from collections.abc import Sequence

from app import queue
from app.database import Database
from app.inference import ShippedContents, shipped_contents, shipped_task_names
from app.observations import intake
from app.observations import service as observations
from app.observations.schemas import ObservationBatch
from app.tasks import repository as task_repository
from app.tasks import service as tasks
from app.tasks.schemas import TaskIn


def missing(database: Database) -> list[ShippedContents]:
    """The tasks that come with the program and are not in the database."""
    with database.read() as session:
        names = {name for name in shipped_task_names() if task_repository.taken(session, name, None) is None}
    return [one for one in shipped_contents() if one.task["name"] in names] if names else []


def load(database: Database, contents: Sequence[ShippedContents]) -> int:
    """Adds tasks with all their observations, each in one transaction; answers how many observations."""
    for one in contents:
        _load_task(database, one)
    return sum(len(one.observations) for one in contents)


def _load_task(database: Database, contents: ShippedContents) -> None:
    body = ObservationBatch.model_validate({"observations": contents.observations})
    with database.write() as session:
        task, _ = tasks.create(session, TaskIn.model_validate(contents.task), None)
        taken = intake.take(session, str(task.id), body, len(contents.observations))
        observations.record(session, taken, taken.read(), queue.IN_THE_BACKGROUND)
