"""What does the work of each kind of job: a new kind is one more entry here, and one in `app.queue.KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app import queue
from app.bulk import importing, scoring
from app.database import Database
from app.fine_tunes import service as fine_tunes
from app.inference import Relations, Versions, adapt_task
from app.jobs.progress import Conclusion, Progress, Work
from app.model_versions import comparing
from app.searches.driving import SearchDriver
from app.searches.supernet_driving import SupernetDriver
from app.settings import Settings


def services(settings: Settings, database: Database, versions: Versions) -> dict[str, Work]:
    """The work of every kind."""
    relations = Relations()
    searches = SearchDriver(settings, database, relations)
    supernets = SupernetDriver(settings, database)

    def adapt(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        return adapt_task(database, versions, relations, payload["task_id"]).keep

    def fine_tune(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        candidate = fine_tunes.run(database, versions, payload, progress)
        return lambda session: fine_tunes.conclude(session, candidate, progress.job_id)

    def score(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        return scoring.run(settings, database, payload, progress)

    def import_file(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        return importing.run(settings, database, payload, progress)

    def compare(payload: Mapping[str, Any], progress: Progress) -> Conclusion:
        return comparing.run(database, versions, payload, progress)

    return {
        queue.ADAPT: adapt,
        queue.FINE_TUNE: fine_tune,
        queue.SCORE: score,
        queue.IMPORT: import_file,
        queue.COMPARE: compare,
        queue.SEARCH: searches.run,
        queue.SUPERNET: supernets.run,
    }
