"""/metrics, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from app.schemas import problems

router = APIRouter(tags=["health"])

_EXAMPLE = 'archcast_jobs{scope="shared",kind="adapt",state="queued"} 2.0\n'


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    description='Requests of this process, and what the database says that all replicas share (label `scope="shared"`: the '
    "same on each, not to be added up). In the OpenMetrics format where it is asked for, else in Prometheus' text format.",
    response_class=Response,
    responses={
        200: {"description": "Done.", "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}}},
        **problems(),
    },
)
def metrics(request: Request) -> Response:
    registry: CollectorRegistry = request.app.state.registry
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=media_type)
