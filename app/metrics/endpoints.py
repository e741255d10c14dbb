"""/metrics, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from app.guarded_routes import GuardedRoute, Role, at_least

router = APIRouter(tags=["health"], route_class=GuardedRoute)


@router.get("/metrics", include_in_schema=False)  # for Prometheus: no part of the API that clients are made from
@at_least(Role.OPERATOR)  # they name tasks of all projects
def metrics(request: Request) -> Response:
    """In the OpenMetrics format where it is asked for, else in Prometheus' text format."""
    registry: CollectorRegistry = request.app.state.registry
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=media_type)
