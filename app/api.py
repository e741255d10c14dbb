"""Mounts every router, and completes what OpenAPI says of them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI

from app.access.endpoints import router as access
from app.architectures.endpoints import router as architectures
from app.bulk.endpoints import router as bulk
from app.candidates.endpoints import router as candidates
from app.explanations.endpoints import router as explanations
from app.fine_tunes.endpoints import router as fine_tunes
from app.guarded_routes import GuardedRoute, Role, check_rules, rule_of
from app.health.endpoints import router as health
from app.jobs.endpoints import router as jobs
from app.metrics.endpoints import router as metrics
from app.model_versions.endpoints import router as model_versions
from app.observations.endpoints import posts as observation_posts
from app.observations.endpoints import router as observations
from app.predictions.endpoints import router as predictions
from app.schemas import problem_schemas, problems
from app.search_spaces.endpoints import router as search_spaces
from app.searches.endpoints import router as searches
from app.tasks.endpoints import router as tasks
from app.track_records.endpoints import router as track_records
from app.trials.endpoints import router as trials
from app.webhooks.endpoints import router as webhooks

PREFIX = "/v1"
_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, or a token of the configured OpenID Connect issuer. On the loopback address none is needed "
    "unless the service is told to ask for one.",
}
ROUTERS: tuple[APIRouter, ...] = (
    predictions,  # first, since routes are tried in this order and forecasts are asked for most
    search_spaces,
    tasks,
    observation_posts,
    observations,
    candidates,
    explanations,
    trials,
    architectures,
    jobs,
    fine_tunes,
    model_versions,
    access,
    track_records,
    bulk,
    webhooks,
    searches,
)


def mount(app: FastAPI) -> None:
    """Gives `app` all operations of the service.

    Raises:
        TypeError: if one of them does not say who may call it.
    """
    check_rules(route for router in (*ROUTERS, health) for route in router.routes)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(health)
    app.include_router(metrics)
    _describe_problems(app)


def _describe_access(document: dict[str, Any]) -> None:
    """What each operation wants, from the rule that the guard goes by."""
    document["components"]["securitySchemes"] = {"key": _SCHEME}
    for router in (*ROUTERS, health):
        prefix = "" if router is health else PREFIX
        for route in router.routes:
            rule = rule_of(route.endpoint) if isinstance(route, GuardedRoute) else None
            if isinstance(route, GuardedRoute) and rule is not None and rule.least is not None:
                described = document["paths"].get(prefix + route.path_format, {})
                for method in route.methods or ():
                    _describe_role(described[method.lower()], rule.least)


def _describe_role(operation: dict[str, Any], least: Role) -> None:
    operation["x-least-role"] = least.label
    operation["security"] = [{"key": []}]
    for status, described in problems(401, 403, 429, 504).items():
        operation["responses"].setdefault(str(status), described)
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _describe_problems(app: FastAPI) -> None:
    described = app.openapi

    def with_problems() -> dict[str, Any]:
        document = described()
        document["components"]["schemas"].update(problem_schemas())
        _describe_access(document)
        return document

    app.openapi = with_problems  # type: ignore[method-assign]
