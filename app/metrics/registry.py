"""The registry of one process: its requests, its build, its memory and processor time, and what the database says."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, start_http_server

from app.database import Database
from app.metrics.collector import SharedCollector
from app.settings import Settings


def new_registry() -> CollectorRegistry:
    """A registry with what every process says of itself."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    build = Gauge("archcast_build_info", "What runs here.", ("version", "python", "torch"), registry=registry)
    build.labels(_version_of("archcast"), platform.python_version(), _version_of("torch")).set(1.0)
    return registry


def add_shared(registry: CollectorRegistry, settings: Settings, database: Database) -> None:
    """Adds what the database says."""
    registry.register(SharedCollector(settings, database))


def serve_worker(settings: Settings) -> None:
    """Answers scrapes of a worker process on a port of its own, if the settings name one: its memory and processor time. What
    its jobs took is in the database, and each replica of the service tells it."""
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.host, new_registry())


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "0"
