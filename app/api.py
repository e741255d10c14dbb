"""Mounts every router, and completes what OpenAPI says of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI

from app.architectures.endpoints import router as architectures
from app.candidates.endpoints import router as candidates
from app.fine_tunes.endpoints import router as fine_tunes
from app.health.endpoints import router as health
from app.jobs.endpoints import router as jobs
from app.metrics.endpoints import router as metrics
from app.model_versions.endpoints import router as model_versions
from app.observations.endpoints import router as observations
from app.predictions.endpoints import router as predictions
from app.schemas import problem_schemas
from app.search_spaces.endpoints import router as search_spaces
from app.tasks.endpoints import router as tasks
from app.trials.endpoints import router as trials
from app.webhooks.endpoints import router as webhooks

PREFIX = "/v1"
ROUTERS: tuple[APIRouter, ...] = (
    predictions,  # first, since routes are tried in this order and forecasts are asked for most
    search_spaces,
    tasks,
    observations,
    candidates,
    trials,
    architectures,
    jobs,
    fine_tunes,
    model_versions,
    webhooks,
)


def mount(app: FastAPI) -> None:
    """Gives `app` all operations of the service."""
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(health)
    app.include_router(metrics)
    _describe_problems(app)


def _describe_problems(app: FastAPI) -> None:
    described = app.openapi

    def with_problems() -> dict[str, Any]:
        document = described()
        document["components"]["schemas"].update(problem_schemas())
        return document

    app.openapi = with_problems  # type: ignore[method-assign]
