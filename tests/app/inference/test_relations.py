"""What siblings say of a task, from the first observation of theirs to the forecast that is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import select

from app.inference import Inference, Relations, Versions, parse_architecture, records
from app.model_versions import service as model_versions
from app.tables import AdaptationRecord, JobRecord
from predictor import MIN_OBSERVATIONS, MetaPredictor, RelatedTasks

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.database import Database
    from app.settings import Settings

pytestmark = pytest.mark.usefixtures("champion")

Cells = list[dict[str, str]]
DEFINITION = {
    "version": 1,
    "decisions": [
        {"name": "depth", "type": "integer", "low": 1, "high": 4},
        {"name": "width", "type": "ordinal", "values": [16, 32, 64, 128]},
        {"name": "op", "type": "categorical", "values": ["conv3x3", "attention"], "repeat": "depth"},
    ],
}


def convolutions(cell: dict[str, str]) -> float:
    return 0.3 + 0.1 * cell["genotype"].count("nor_conv_3x3")


@pytest.fixture
def observed(post_task: Any, observe: Any, cells: Cells) -> Callable[..., None]:
    """Creates a task with observations of the first cells."""

    def create(name: str, count: int = MIN_OBSERVATIONS, **changes: Any) -> None:
        post_task(name, dataset=name, **changes)
        observe(name, cells[:count], [convolutions(cell) for cell in cells[:count]])

    return create


@pytest.fixture
def many_cells(client: TestClient) -> Cells:
    """A hundred and sixty different cells, enough for a task of sixty to be relied on and a hundred to ask about."""
    drawn = client.get("/v1/search-spaces/nasbench201/sample?count=300&seed=3").json()["architectures"]
    different = list({cell["id"]: cell for cell in drawn}.values())
    assert len(different) >= 160
    return different[:160]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Data sets of the tasks whose relations were worked out, in order."""
    found: list[str] = []
    original = MetaPredictor.related

    def related(self: MetaPredictor, task: Any, space: Any, others: Any) -> RelatedTasks | None:
        found.append(task.dataset)
        return original(self, task, space, others)

    monkeypatch.setattr(MetaPredictor, "related", related)
    return found


@pytest.fixture
def opinions(database: Database) -> Callable[[str], RelatedTasks | None]:
    """What the siblings of a task say, remembered between calls."""
    relations, versions = Relations(), Versions(database)

    def ask(task: str) -> RelatedTasks | None:
        with database.read() as session:
            context = records.task_context(session, task)
            read = relations.read(session, versions.champion(), context)
        return relations.opinions(versions.champion(), context, read)

    return ask


def forecasts(client: TestClient, task: str, architectures: list[Any]) -> dict[str, Any]:
    answer = client.post(f"/v1/tasks/{task}/predictions", json={"architectures": architectures})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def means(document: dict[str, Any]) -> np.ndarray[Any, Any]:
    return np.array([one["mean"] for one in document["predictions"]])


def queued(database: Database) -> list[int]:
    query = select(JobRecord.payload).where(JobRecord.state == "queued", JobRecord.kind == "adapt")
    with database.read() as session:
        return [payload["task_id"] for payload in session.scalars(query)]


def stored(database: Database, task_id: int) -> list[AdaptationRecord]:
    with database.read() as session:
        return list(session.scalars(select(AdaptationRecord).where(AdaptationRecord.task_id == task_id)))


def test_relations_are_worked_out_once_while_the_siblings_stay_as_they_are(
    post_task: Any, observe: Any, observed: Any, cells: Cells, opinions: Any, counted: list[str]
) -> None:
    post_task("asking", dataset="asking")
    observed("sibling")

    first = opinions("asking")
    observe("asking", cells[30:32], [0.1, 0.2])  # its own observations change nothing of what others say
    second = opinions("asking")

    assert first is not None
    assert second is first
    assert counted == ["asking"]


def test_relations_are_worked_out_again_when_a_sibling_was_observed(
    post_task: Any, observe: Any, observed: Any, cells: Cells, opinions: Any, counted: list[str]
) -> None:
    post_task("asking", dataset="asking")
    observed("sibling")
    first = opinions("asking")

    observe("sibling", cells[30:31], [0.9])
    second = opinions("asking")

    assert counted == ["asking", "asking"]
    assert set(second.hashes) == {*first.hashes, cells[30]["id"]}


def test_that_nobody_has_an_opinion_is_remembered_too(
    post_task: Any, observed: Any, opinions: Any, counted: list[str]
) -> None:
    post_task("asking", dataset="asking")
    observed("cost", metric={"name": "latency_ms", "unit": "ms", "direction": "minimize"})

    assert [opinions("asking"), opinions("asking")] == [None, None]
    assert counted == ["asking"]


def test_without_siblings_nothing_is_worked_out(post_task: Any, opinions: Any, counted: list[str]) -> None:
    post_task("asking", dataset="asking")

    assert opinions("asking") is None
    assert counted == []


def test_what_was_read_is_answered_although_it_was_forgotten_meanwhile(
    post_task: Any, observed: Any, database: Database
) -> None:
    post_task("asking", dataset="asking")
    observed("sibling")
    relations, champion = Relations(), Versions(database).champion()
    with database.read() as session:
        context = records.task_context(session, "asking")
        first = relations.opinions(champion, context, relations.read(session, champion, context))
        read = relations.read(session, champion, context)

    relations._known.clear()  # other tasks came in between

    assert relations.opinions(champion, context, read) is first is not None


def test_a_new_task_is_forecast_from_what_its_siblings_observed(
    client: TestClient,
    database: Database,
    post_task: Any,
    observe: Any,
    many_cells: Cells,
    run_adaptations: Callable[[], int],
) -> None:
    known, asked = many_cells[:60], [cell["genotype"] for cell in many_cells[60:]]
    truth = np.array([convolutions(cell) for cell in many_cells[60:]])
    post_task("alone", dataset="new")
    alone = forecasts(client, "alone", asked)
    post_task("sibling", dataset="sibling")
    observe("sibling", known, [convolutions(cell) for cell in known])
    run_adaptations()

    task = post_task("new", dataset="new")
    assert queued(database) == [task["id"]]
    at_first = forecasts(client, "new", asked)
    assert run_adaptations() == 1
    helped = forecasts(client, "new", asked)

    (record,) = stored(database, task["id"])
    assert (record.num_observations, record.task_revision, record.last_observation_id) == (0, 0, 0)
    np.testing.assert_allclose(means(at_first), means(alone), rtol=1e-5)  # the champion's own, while the job waits
    assert (helped["is_fresh"], helped["num_observations"]) == (True, 0)
    assert np.corrcoef(means(helped), truth)[0, 1] > 0.5
    assert np.corrcoef(means(helped), truth)[0, 1] > np.corrcoef(means(alone), truth)[0, 1] + 0.2
    shown = client.get("/v1/tasks/new").json()["adaptation"]
    assert (shown["num_observations"], shown["is_fresh"], shown["is_pending"]) == (0, True, False)


def test_another_process_serves_what_the_siblings_said(
    settings: Settings, client: TestClient, database: Database, post_task: Any, observed: Any, cells: Cells,
    run_adaptations: Callable[[], int],
) -> None:  # fmt: skip
    observed("sibling")
    post_task("new", dataset="new")
    run_adaptations()
    answered = means(forecasts(client, "new", [cell["genotype"] for cell in cells[20:30]]))

    served = Inference(settings, database).load("new")

    architectures = [parse_architecture(served.space, cell["genotype"]).architecture for cell in cells[20:30]]
    np.testing.assert_allclose(served.adapted.predict(architectures).mean, answered, rtol=1e-5)


def test_a_new_task_without_siblings_waits_for_no_adaptation(
    database: Database, post_task: Any, observed: Any, run_adaptations: Callable[[], int]
) -> None:
    observed("cells")
    run_adaptations()

    task = post_task("graphs", search_space="graph")

    assert queued(database) == []
    assert task["adaptation"]["is_pending"] is False


def test_creating_a_task_again_queues_nothing_more(
    client: TestClient, database: Database, post_task: Any, observed: Any, run_adaptations: Callable[[], int]
) -> None:
    observed("sibling")
    post_task("new", dataset="new")
    run_adaptations()
    body = {name: value for name, value in client.get("/v1/tasks/new").json().items()
            if name in ("name", "search_space", "dataset", "metric")}  # fmt: skip

    assert client.post("/v1/tasks", json=body).status_code == 200
    assert queued(database) == []


def test_siblings_are_heard_beside_observations_of_its_own(
    client: TestClient,
    post_task: Any,
    observe: Any,
    observed: Any,
    cells: Cells,
    run_adaptations: Callable[[], int],
) -> None:
    known, asked = cells[30:36], [cell["genotype"] for cell in cells[:20]]
    values = [convolutions(cell) for cell in known]
    post_task("alone", dataset="alone")
    observe("alone", known, values)
    run_adaptations()
    alone = means(forecasts(client, "alone", asked))
    observed("sibling")

    post_task("helped", dataset="helped")
    observe("helped", known, values)
    run_adaptations()
    helped = means(forecasts(client, "helped", asked))

    truth = np.array([convolutions(cell) for cell in cells[:20]])
    assert np.corrcoef(helped, truth)[0, 1] > np.corrcoef(alone, truth)[0, 1] + 0.1


def test_a_promotion_renews_what_rests_on_siblings_alone(
    client: TestClient,
    database: Database,
    make_champion: Any,
    post_task: Any,
    observed: Any,
    cells: Cells,
    run_adaptations: Callable[[], int],
) -> None:
    observed("sibling")
    post_task("new", dataset="new")
    run_adaptations()
    other = make_champion(2)
    with database.write() as session:
        model_versions.add(session, other.version, None, "fine_tune", dict(other.manifest), other.to_bytes())

    answer = client.post(f"/v1/model-versions/{other.version}:promote", json={"reason": "because"})
    run_adaptations()

    assert answer.status_code == 200, answer.text
    shown = client.get("/v1/tasks/new").json()["adaptation"]
    assert (shown["model_version"], shown["is_fresh"]) == (other.version, True)
    assert forecasts(client, "new", [cells[0]["genotype"]])["model_version"] == other.version


def test_siblings_in_a_declared_search_space_are_heard(
    client: TestClient, database: Database, post_task: Any, run_adaptations: Callable[[], int]
) -> None:
    declared = client.post(
        "/v1/search-spaces", json={"name": "mine", "description": "My own.", "definition": DEFINITION}
    )
    assert declared.status_code == 201, declared.text
    drawn = client.get("/v1/search-spaces/mine/sample?count=200&seed=1").json()["architectures"]
    drawn = list({one["id"]: one for one in drawn}.values())[:50]
    values = [float(one["genotype"].count("attention")) for one in drawn]
    metric = {"name": "score", "unit": "points", "direction": "maximize"}
    post_task("sibling", search_space="mine", dataset="sibling", metric=metric)
    body = [{"architecture": one["genotype"], "value": value} for one, value in zip(drawn[:30], values, strict=False)]
    assert client.post("/v1/tasks/sibling/observations", json={"observations": body}).status_code == 201
    run_adaptations()

    task = post_task("new", search_space="mine", dataset="new", metric=metric)
    run_adaptations()

    found = means(forecasts(client, "new", [one["genotype"] for one in drawn[30:]]))
    assert len(stored(database, task["id"])) == 1
    assert np.corrcoef(found, values[30:])[0, 1] > 0.6


def test_what_smaller_budgets_said_of_the_task_itself_is_heard(
    client: TestClient, post_task: Any, many_cells: Cells, run_adaptations: Callable[[], int]
) -> None:
    known, asked = many_cells[:60], many_cells[60:]
    truth = np.array([convolutions(cell) for cell in asked])
    found = []
    for name, is_told in (("untold", False), ("told", True)):
        post_task(name, dataset=name, max_fidelity=20)
        body = [{"architecture": cell["genotype"], "value": 0.5, "fidelity": 20} for cell in known[:1]]
        body += [
            {"architecture": cell["genotype"], "value": convolutions(cell) / 2, "fidelity": 5}
            for cell in known
            if is_told
        ]
        answer = client.post(f"/v1/tasks/{name}/observations", json={"observations": body})
        assert answer.status_code == 201, answer.text
        run_adaptations()
        found.append(means(forecasts(client, name, [cell["genotype"] for cell in asked])))

    untold, told = (np.corrcoef(one, truth)[0, 1] for one in found)

    assert told > 0.9
    assert 1.0 - told < (1.0 - untold) / 3.0
