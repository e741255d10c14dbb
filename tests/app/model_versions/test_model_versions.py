"""Which surrogate answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from app.database import Database
from app.inference import Inference, ShippedVersion
from app.model_versions import repository, service
from app.tables import JobRecord

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from app.settings import Settings

pytestmark = [pytest.mark.both_engines, pytest.mark.usefixtures("champion")]

Cells = list[dict[str, str]]
PATH = "/v1/model-versions"


@pytest.fixture
def add_version(client: TestClient, database: Database, make_champion: Any) -> Callable[[int], str]:
    """Stores a model version made from a seed; answers its id."""

    def add(seed: int) -> str:
        made = make_champion(seed)
        with database.write() as session:
            service.add(session, made.version, None, "fine_tune", dict(made.manifest), made.to_bytes())
        version: str = made.version
        return version

    return add


def champion_of(client: TestClient) -> str:
    (champion,) = [one["id"] for one in client.get(PATH).json()["items"] if "champion" in one["aliases"]]
    return str(champion)


def promote(client: TestClient, version: str) -> Any:
    return client.post(f"{PATH}/{version}:promote", json={"reason": "because"})


def roll_back(client: TestClient) -> Any:
    return client.post(f"{PATH}:rollback", json={"reason": "worse"})


def test_the_shipped_champion_is_registered_once(client: TestClient, database: Database) -> None:
    service.register_shipped(database)

    (version,) = client.get(PATH).json()["items"]
    assert (version["origin"], version["aliases"]) == ("shipped", ["champion"])
    assert len(version["promotions"]) == 1


def test_a_newer_shipped_champion_takes_over_from_the_older_one(
    client: TestClient, database: Database, make_champion: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = make_champion(2)
    shipped = ShippedVersion(newer.version, dict(newer.manifest), newer.to_bytes())
    monkeypatch.setattr(service, "shipped_version", lambda: shipped)

    service.register_shipped(database)

    assert champion_of(client) == newer.version


def test_a_newer_shipped_champion_does_not_replace_what_was_made_here(
    client: TestClient, database: Database, add_version: Any, make_champion: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = add_version(3)
    promote(client, own)
    newer = make_champion(2)
    shipped = ShippedVersion(newer.version, dict(newer.manifest), newer.to_bytes())
    monkeypatch.setattr(service, "shipped_version", lambda: shipped)

    service.register_shipped(database)

    assert champion_of(client) == own


@pytest.fixture
def add_unreadable(database: Database, make_champion: Any) -> Callable[[], str]:
    """Stores what a program with another encoding made; answers its id."""

    def add() -> str:
        made = make_champion(7)
        manifest = {**made.manifest, "encoding": {"version": 1}}
        with database.write() as session:
            service.add(session, made.version, None, "fine_tune", manifest, made.to_bytes())
        version: str = made.version
        return version

    return add


def test_what_comes_with_the_program_takes_over_from_what_it_cannot_read(
    client: TestClient, database: Database, add_unreadable: Any
) -> None:
    shipped, older = champion_of(client), add_unreadable()
    with database.write() as session:
        repository.point(session, "champion", older)  # as the older program left it

    service.register_shipped(database)

    assert champion_of(client) == shipped
    assert "does not read the encoding" in client.get(f"{PATH}/{shipped}").json()["promotions"][-1]["reason"]
    assert client.get("/readyz").status_code == 200


def test_after_an_update_tasks_answer_without_what_an_unreadable_version_adapted(
    client: TestClient, database: Database, settings: Settings, post_task: Any, observe: Any, cells: Cells,
    run_adaptations: Callable[[], int], make_champion: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    post_task("digits")
    observe("digits", cells[:5], [0.5, 0.6, 0.7, 0.8, 0.9])
    run_adaptations()
    older, newer = champion_of(client), make_champion(2)
    with database.write() as session:  # as if another program had made it
        record = service.find(session, older)
        record.manifest = {**record.manifest, "encoding": {"version": 1}}
    shipped = ShippedVersion(newer.version, dict(newer.manifest), newer.to_bytes())
    monkeypatch.setattr(service, "shipped_version", lambda: shipped)
    service.register_shipped(database)
    updated = Inference(settings, database)

    served = updated.load("digits")

    assert (served.model_version, served.num_observations, served.is_fresh) == (newer.version, 0, False)
    run_adaptations()
    served = updated.reload("digits")
    assert (served.model_version, served.num_observations, served.is_fresh) == (newer.version, 5, True)


def test_what_cannot_be_read_is_not_promoted_and_nothing_is_pinned_to_it(
    client: TestClient, add_unreadable: Any, post_task: Any
) -> None:
    post_task("digits")
    before, version = champion_of(client), add_unreadable()

    answers = [
        promote(client, version),
        client.post("/v1/tasks/digits:pin", json={"model_version": version, "reason": "because"}),
    ]

    for answer in answers:
        assert answer.status_code == 409
        assert f"of this program's encoding, got {version}, of {{'version': 1}}" in answer.json()["detail"]
    assert champion_of(client) == before


def test_a_promotion_is_kept_with_its_reason(client: TestClient, add_version: Any) -> None:
    before, version = champion_of(client), add_version(2)

    answer = promote(client, version)

    assert answer.status_code == 200
    assert (answer.json()["previous"], answer.json()["is_promoted"]) == (before, True)
    assert client.get(f"{PATH}/{version}").json()["promotions"][0]["reason"] == "because"
    assert champion_of(client) == version


def test_the_champion_cannot_be_promoted(client: TestClient) -> None:
    assert promote(client, champion_of(client)).status_code == 409


def test_an_unknown_version_is_not_found(client: TestClient) -> None:
    assert promote(client, "0" * 32).status_code == 404
    assert client.get(f"{PATH}/none").status_code == 404


def test_rolling_back_goes_further_back_each_time(client: TestClient, add_version: Any) -> None:
    first, second, third = champion_of(client), add_version(2), add_version(3)
    promote(client, second)
    promote(client, third)

    answers = [roll_back(client) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 409]
    assert [answer.json()["model_version"] for answer in answers[:2]] == [second, first]


def test_what_was_rolled_back_may_be_promoted_again(client: TestClient, add_version: Any) -> None:
    first, second = champion_of(client), add_version(2)
    promote(client, second)
    roll_back(client)

    promote(client, second)
    roll_back(client)

    assert champion_of(client) == first


def test_a_new_champion_is_adapted_to_every_observed_task_and_answers_without_a_restart(
    app: FastAPI,
    client: TestClient,
    database: Database,
    add_version: Any,
    post_task: Any,
    cells: Cells,
    observe: Any,
    run_adaptations: Callable[[], int],
) -> None:
    body = {"architectures": [cells[30]["genotype"]]}
    post_task()
    post_task("empty")
    observe("digits", cells[:8], [0.1 * number for number in range(8)])
    run_adaptations()
    old = client.post("/v1/tasks/digits/predictions", json=body).json()
    client.post("/v1/tasks/empty/predictions", json=body)

    version = add_version(2)
    promote(client, version)
    app.state.inference.refresh()
    meanwhile = client.post("/v1/tasks/digits/predictions", json=body).json()
    with database.read() as session:
        queued = session.scalars(select(JobRecord.payload).where(JobRecord.state == "queued")).all()
    run_adaptations()
    new = client.post("/v1/tasks/digits/predictions", json=body).json()
    unobserved = client.post("/v1/tasks/empty/predictions", json=body).json()

    assert (meanwhile["model_version"], meanwhile["is_fresh"]) == (old["model_version"], False)
    assert meanwhile["predictions"] == old["predictions"]
    assert queued == [{"task_id": 1}]
    assert (new["model_version"], new["num_observations"], new["is_fresh"]) == (version, 8, True)
    assert unobserved["model_version"] == version
