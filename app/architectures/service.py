"""Everything that is known about one architecture, measured and forecast."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.architectures import repository
from app.architectures.schemas import ArchitectureOut, ForecastOut, NotationOut
from app.errors import NotFoundError, NotReadyError
from app.inference import Inference, parse_architecture
from app.observations import service as observations

_MAX_OBSERVATIONS = 1_000
_MAX_TASKS = 50
_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Known:
    """What the database says, and the tasks that forecasts are wanted of."""

    members: dict[str, Any]
    genotypes: dict[str, str]  # by search space
    task_ids: list[int]


def read(session: Session, architecture_id: str, project_id: int | None) -> Known:
    """What the database says about an architecture to a caller of the project (None: of all).

    Raises:
        NotFoundError: if it is not known, or only to other projects.
    """
    record = repository.find(session, architecture_id) if _ID.fullmatch(architecture_id) else None
    if record is None or (project_id is not None and not repository.is_known_to(session, record.id, project_id)):
        raise NotFoundError(f"expected the id of an architecture that was observed, got {architecture_id[:200]!r}")
    notations = repository.notations(session, record.id)
    genotypes = {notation.search_space: notation.genotype for notation in notations}
    members = {
        "id": record.id,
        "hash_algorithm": record.hash_algorithm,
        "graph": record.graph,
        "notations": [NotationOut.model_validate(notation) for notation in notations],
        "observations": observations.of_architecture(session, record.id, project_id, _MAX_OBSERVATIONS),
        "created_at": record.created_at,
    }
    return Known(members, genotypes, list(repository.task_ids(session, genotypes, project_id, _MAX_TASKS)))


def described(inference: Inference, known: Known) -> ArchitectureOut:
    """The same with the forecasts of every task; opens transactions of its own."""
    return ArchitectureOut(**known.members, forecasts=_forecasts(inference, known))


def _forecasts(inference: Inference, known: Known) -> list[ForecastOut]:
    try:
        return [_forecast(inference, task_id, known.genotypes) for task_id in known.task_ids]
    except NotReadyError:  # what was measured can be shown without a champion
        return []


def _forecast(inference: Inference, task_id: int, genotypes: dict[str, str]) -> ForecastOut:
    served = inference.load(str(task_id))
    parsed = parse_architecture(served.space, genotypes[served.space.name])
    forecast = inference.forecaster.forecast(served, [parsed])[0]
    metric = served.task.metric
    return ForecastOut(
        task=served.name,
        metric=metric.name,
        unit=metric.unit,
        direction=metric.direction,
        model_version=served.model_version,
        num_observations=served.num_observations,
        is_fresh=served.is_fresh,
        **forecast.shown,
    )
