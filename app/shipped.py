"""Loads the evaluated architectures that come with the program, once per database, so that a new service has something to
show. A task that exists already is left as it is."""

from __future__ import annotations

from app.database import Database
from app.inference import ShippedContents, shipped_contents
from app.observations import intake
from app.observations import service as observations
from app.observations.schemas import ObservationBatch
from app.tasks import repository as task_repository
from app.tasks import service as tasks
from app.tasks.schemas import TaskIn


def load(database: Database) -> int:
    """Adds the tasks that are missing with all their observations, each in one transaction; answers how many."""
    loaded = 0
    for contents in shipped_contents():
        with database.read() as session:
            is_there = task_repository.by_name(session, contents.task["name"]) is not None
        if not is_there:
            _load_task(database, contents)
            loaded += 1
    return loaded


def _load_task(database: Database, contents: ShippedContents) -> None:
    body = ObservationBatch.model_validate({"observations": contents.observations})
    with database.write() as session:
        task, _ = tasks.create(session, TaskIn.model_validate(contents.task))
        taken = intake.take(session, task.name, body, len(contents.observations))
        observations.record(session, taken, taken.read())
