"""What the database that all replicas share says to Prometheus. Read when somebody scrapes, and then kept for a few seconds.

Each replica answers the same, with the label `scope="shared"`, so that nobody adds them up over replicas.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.orm import Session

from app import clock, migration, tallies
from app.database import Database
from app.metrics import repository
from app.metrics.accuracy import AccuracyWatch
from app.settings import Settings

SHARED = "shared"
_logger = logging.getLogger(__name__)


class SharedCollector(Collector):
    """Reads the database for a scrape. May be called from any thread; who comes while another reads waits for it."""

    def __init__(self, settings: Settings, database: Database, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._database, self._monotonic = settings, database, monotonic
        self._lock = threading.Lock()
        self._accuracy = AccuracyWatch()
        self._kept: list[Metric] = []
        self._read_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: the database is not asked when the service is made."""
        return []

    def collect(self) -> Iterable[Metric]:
        """All families; without a database only that there is none."""
        with self._lock:
            if self._monotonic() - self._read_at >= self._settings.metrics_cache_seconds:
                self._kept = self._read()
                self._read_at = self._monotonic()
            return list(self._kept)

    def _read(self) -> list[Metric]:
        up = GaugeMetricFamily("archcast_database_up", "Whether this process can read the database.")
        began = self._monotonic()
        families: list[Metric] = []
        try:
            if migration.is_current(self._database):
                with self._database.read() as session:
                    families = list(self._families(session))
            up.add_metric([], 1.0)
        except Exception:  # a scrape tells of a database that is away instead of failing with it
            _logger.exception("expected to read metrics from the database, got an error")
            up.add_metric([], 0.0)
        seconds = GaugeMetricFamily("archcast_database_scrape_seconds", "What reading these metrics took.")
        seconds.add_metric([], self._monotonic() - began)
        return [up, seconds, *families]

    def _families(self, session: Session) -> Iterable[Metric]:
        counted = tallies.read(session)
        yield from _of_queue(session)
        yield from _of_trials(session, counted.get(tallies.LEASE_EXPIRIES, {}))
        yield _of_jobs(counted.get(tallies.JOB_BUCKETS, {}), counted.get(tallies.JOB_SECONDS, {}))
        yield from _of_versions_and_totals(session)
        yield from self._of_tasks(session)

    def _of_tasks(self, session: Session) -> Iterable[Metric]:
        tasks = repository.watched_tasks(session, self._settings.metrics_max_tasks)
        known = self._accuracy.look(session, tasks)
        window = "over the newest pairs of an answered forecast and the value that came later"
        observations = _gauge("task_observations", "Current observations of a task.", "task")
        tau = _gauge("task_kendall_tau", f"Rank correlation of forecasts and values, {window}.", "task")
        coverage = _gauge("task_interval_coverage", f"Share of values inside their 90 % interval, {window}.", "task")
        count = _gauge("task_pairs", "How many pairs these figures are of.", "task")
        for task in tasks:
            observations.add_metric([SHARED, task.name], task.num_observations)
            found = known.get(task.id)
            if found is not None:
                coverage.add_metric([SHARED, task.name], found.coverage)
                count.add_metric([SHARED, task.name], found.num_pairs)
            if found is not None and found.kendall_tau is not None:
                tau.add_metric([SHARED, task.name], found.kendall_tau)
        return [observations, tau, coverage, count]


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"archcast_{name}", text, labels=["scope", *labels])


def _of_queue(session: Session) -> Iterable[Metric]:
    now = clock.now(session)
    depth = _gauge("jobs", "Jobs that have not ended.", "kind", "state")
    oldest = _gauge("oldest_waiting_job_seconds", "Age of the oldest job that waits.", "kind")
    for one in repository.queue_depths(session):
        depth.add_metric([SHARED, one.kind, one.state], one.count)
        if one.state == "queued":
            oldest.add_metric([SHARED, one.kind], max(0.0, (now - one.oldest_at).total_seconds()))
    waiting = _gauge("webhook_deliveries_waiting", "Deliveries of webhooks that wait.")
    waiting.add_metric([SHARED], repository.waiting_deliveries(session))
    return [depth, oldest, waiting]


def _of_trials(session: Session, expiries: Mapping[str, float]) -> Iterable[Metric]:
    trials = _gauge("trials_open", "Trials that have not ended.", "state")
    for state, count in repository.open_trials(session).items():
        trials.add_metric([SHARED, state], count)
    total = CounterMetricFamily("archcast_trial_lease_expiries", "Leases of trials that ran out.", labels=["scope"])
    total.add_metric([SHARED], sum(expiries.values()))
    return [trials, total]


def _of_jobs(counts: Mapping[str, float], seconds: Mapping[str, float]) -> Metric:
    family = HistogramMetricFamily(
        "archcast_job_duration_seconds",
        "Time that jobs took that have ended, from their last start.",
        labels=["scope", "kind", "state"],
    )
    ends = [*map(str, tallies.SECONDS), "+Inf"]
    for label, total in sorted(seconds.items()):
        kind, state = label.split("/")
        buckets, below = [], 0.0
        for end in ends:
            below += counts.get(f"{label}/{end}", 0.0)
            buckets.append((end, below))
        family.add_metric([SHARED, kind, state], buckets, total)
    return family


def _of_versions_and_totals(session: Session) -> Iterable[Metric]:
    version = _gauge("model_version_info", "The model version that an alias means.", "alias", "version")
    for alias, meant in repository.aliases(session).items():
        version.add_metric([SHARED, alias, meant], 1.0)
    num_tasks, num_observations = repository.totals(session)
    tasks = _gauge("tasks", "Tasks, those without figures of their own here included.")
    tasks.add_metric([SHARED], num_tasks)
    observations = _gauge("observations", "Current observations of all tasks.")
    observations.add_metric([SHARED], num_observations)
    return [version, tasks, observations]
