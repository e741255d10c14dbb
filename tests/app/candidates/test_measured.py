"""What was tried is read again only where something changed: the short way and the long way must agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from app.candidates import repository

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.candidates.repository import Measured
    from app.database import Database

pytestmark = pytest.mark.both_engines

OBSERVATIONS = "/v1/tasks/digits/observations"


def _read(database: Database, task_id: int, before: Measured | None = None) -> Measured:
    with database.read() as session:
        return repository.measured(session, task_id, before)


class Poster:
    """Posts, corrects and retracts at random."""

    def __init__(self, client: TestClient, cells: list[dict[str, str]], seed: int) -> None:
        self._client, self._cells, self._rng = client, cells, np.random.default_rng(seed)
        self._current: list[int] = []

    def change(self, fidelities: tuple[float | None, ...]) -> None:
        if self._current and self._rng.random() < 0.3:
            one = self._current.pop(int(self._rng.integers(len(self._current))))
            if self._rng.random() < 0.5:
                self._sent(f"{OBSERVATIONS}/{one}/retraction", {"reason": "a mistake"})
            else:
                body = {"status": "ok", "value": self._value(), "reason": "a typing error"}
                self._current.append(self._sent(f"{OBSERVATIONS}/{one}/correction", body)["id"])
            return
        posted = self._sent(OBSERVATIONS, {"observations": [self._drawn(fidelities) for _ in range(3)]})
        self._current += [one["id"] for one in posted["observations"]]

    def _drawn(self, fidelities: tuple[float | None, ...]) -> dict[str, Any]:
        cell = self._cells[int(self._rng.integers(len(self._cells)))]
        if self._rng.random() < 0.2:
            return {"architecture": cell["genotype"], "status": "failed", "reason": "out of memory"}
        fidelity = fidelities[int(self._rng.integers(len(fidelities)))]
        return {"architecture": cell["genotype"], "value": self._value(), "fidelity": fidelity}

    def _value(self) -> float:
        return float(self._rng.uniform(0.1, 0.9))

    def _sent(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        document: dict[str, Any] = answer.json()
        return document


@pytest.mark.parametrize("max_fidelity", [None, 20])
@pytest.mark.parametrize("fidelities", [(None,), (None, 5.0, 20.0), (1.0, 2.0, 4.0, 8.0, 16.0)])
def test_reading_what_is_new_agrees_with_reading_everything(
    client: TestClient,
    database: Database,
    post_task: Any,
    cells: Any,
    max_fidelity: float | None,
    fidelities: tuple[float | None, ...],
) -> None:
    task_id = post_task(search_space="nasbench201", max_fidelity=max_fidelity)["id"]
    poster = Poster(client, cells[:12], seed=len(fidelities))
    step_by_step = _read(database, task_id)

    for _ in range(15):
        poster.change(fidelities)
        step_by_step = _read(database, task_id, step_by_step)
        whole = _read(database, task_id)

        assert step_by_step.tried == whole.tried
        assert step_by_step.values == pytest.approx(whole.values)
        assert (step_by_step.final_fidelity, step_by_step.last_id) == (whole.final_fidelity, whole.last_id)


def test_what_only_adds_is_not_read_as_a_whole_again(
    client: TestClient, database: Database, post_task: Any, cells: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = post_task(search_space="nasbench201")["id"]
    body = {"observations": [{"architecture": cells[0]["genotype"], "value": 0.5}]}
    client.post(OBSERVATIONS, json=body)
    before = _read(database, task_id)
    client.post(OBSERVATIONS, json={"observations": [{"architecture": cells[1]["genotype"], "value": 0.7}]})

    def refuse(*_: object) -> None:
        raise AssertionError("everything was read again")

    monkeypatch.setattr(repository, "_measured", refuse)
    after = _read(database, task_id, before)

    assert after.values == {cells[0]["id"]: 0.5, cells[1]["id"]: 0.7}
    assert after.best_ids(is_maximized=True, count=1) == [cells[1]["id"]]
    assert after.best_ids(is_maximized=False, count=5) == [cells[0]["id"], cells[1]["id"]]
