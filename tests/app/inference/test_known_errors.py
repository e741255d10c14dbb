"""What is known of the errors of observations, from the post to the forecast that is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import undefer

from app.tables import AdaptationRecord
from predictor.checkpoint import from_bytes

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.database import Database

pytestmark = pytest.mark.usefixtures("champion")

Cells = list[dict[str, str]]
Adapted = Callable[[str, float | None], AdaptationRecord]


def convolutions(cell: dict[str, str]) -> float:
    return 0.3 + 0.1 * cell["genotype"].count("nor_conv_3x3")


@pytest.fixture
def adapted(post_task: Any, observe: Any, run_adaptations: Any, cells: Cells, database: Database) -> Adapted:
    """Creates a task with twenty observations, half of them wrong and posted with this error; its adaptation."""

    def create(name: str, std_error: float | None) -> AdaptationRecord:
        task_id = post_task(name, dataset="digits")["id"]
        observe(name, cells[:10], [convolutions(cell) for cell in cells[:10]])
        observe(name, cells[10:20], [1.0 - convolutions(cell) for cell in cells[10:20]], std_error=std_error)
        run_adaptations()
        with database.read() as session:
            query = select(AdaptationRecord).where(AdaptationRecord.task_id == task_id)
            return session.scalars(query.options(undefer(AdaptationRecord.payload))).one()

    return create


def means(client: TestClient, task: str, cells: Cells) -> np.ndarray[Any, Any]:
    body = {"architectures": [cell["genotype"] for cell in cells]}
    answer = client.post(f"/v1/tasks/{task}/predictions", json=body)
    assert answer.status_code == 200, answer.text
    return np.array([one["mean"] for one in answer.json()["predictions"]])


def test_a_told_error_reaches_the_adaptation_and_the_forecasts(
    client: TestClient, adapted: Adapted, cells: Cells
) -> None:
    told, blind = adapted("told", 0.5), adapted("blind", None)

    assert told.support_hash != blind.support_hash
    assert "gp.known_variance" not in from_bytes(blind.payload)
    assert int((from_bytes(told.payload)["gp.known_variance"] > 0).sum()) == 10
    truth = np.array([convolutions(cell) for cell in cells[20:]])
    errors = {name: np.mean((means(client, name, cells[20:]) - truth) ** 2) for name in ("told", "blind")}
    assert errors["told"] < 0.8 * errors["blind"]


def test_an_error_of_0_is_an_error_that_nobody_told(adapted: Adapted) -> None:
    told, blind = adapted("told", 0.0), adapted("blind", None)

    assert told.support_hash == blind.support_hash
    assert "gp.known_variance" not in from_bytes(told.payload)
