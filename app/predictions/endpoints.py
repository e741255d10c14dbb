"""POST /v1/tasks/{task}/predictions: the fast path, so it reads and writes JSON without pydantic."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.access import callers
from app.answering_once import creates_nothing
from app.formats import uploads
from app.guarded_routes import GuardedRoute, Role, at_least
from app.json_requests import parse_json, require_json
from app.predictions.schemas import REPLY_EXAMPLE, REQUEST_EXAMPLE, PredictionRequest, PredictionsReply
from app.predictions.service import PredictionService
from app.schemas import problems

router = APIRouter(tags=["predictions"], route_class=GuardedRoute)

_REQUEST_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": PredictionRequest.model_json_schema(), "example": REQUEST_EXAMPLE},
        "multipart/form-data": uploads.PREDICTIONS_CONTENT,
    },
}
_REPLY = {
    "model": PredictionsReply,
    "description": "Forecasts in the order of the request.",
    "content": {"application/json": {"example": REPLY_EXAMPLE}},
}


@router.post(
    "/tasks/{task}/predictions",
    summary="Forecast architectures",
    description="Forecasts up to 10,000 architectures with the task's newest adaptation. An architecture that cannot be "
    "read is reported at its place, and the rest is answered. ONNX files are taken as multipart/form-data, each in a "
    "field `file`; the task's search space is then `graph`.",
    response_model=None,
    responses={200: _REPLY, **problems(400, 404, 413, 415, 503)},
    openapi_extra={"requestBody": _REQUEST_BODY},
)
@creates_nothing
@at_least(Role.READER)
async def create_predictions(task: str, request: Request) -> Response:
    service: PredictionService = request.app.state.predictions
    if uploads.is_multipart(request):
        document: object = {"architectures": await uploads.architectures(request)}
    else:
        require_json(request)
        document = parse_json(await request.body())
    return Response(await service.answer(task, document, callers.of(request).project_id), media_type="application/json")
