"""/v1/tasks/{task}/observations and /best."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from app.tables import ArchitectureRecord, JobRecord, NotationRecord, ObservationRecord

if TYPE_CHECKING:
    from fastapi.testclient import TestClient
    from httpx import Response

    from app.database import Database

both_engines = pytest.mark.both_engines

PostTask = Callable[..., dict[str, Any]]
Cells = list[dict[str, str]]
OBSERVATIONS = "/v1/tasks/digits/observations"
GRAPH = {
    "nodes": [{"kind": "input"}, {"kind": "conv", "attributes": {"kernel_size": 3, "stride": 1}}, {"kind": "output"}],
    "edges": [[0, 1], [1, 2]],
}


@pytest.fixture(autouse=True)
def task(post_task: PostTask) -> dict[str, Any]:
    return post_task("digits", max_fidelity=200)


@pytest.fixture
def post(client: TestClient, cells: Cells) -> Callable[..., Response]:
    """Posts one observation of a cell, by its number."""

    def post_one(cell: int = 0, value: float | None = 0.9, **members: Any) -> Response:
        body = {"architecture": cells[cell]["genotype"], "value": value, **members}
        return client.post(OBSERVATIONS, json={name: member for name, member in body.items() if member is not None})

    return post_one


def _listed(client: TestClient, **parameters: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(OBSERVATIONS, params={"limit": 1000, **parameters}).json()["items"]
    return items


def _count(database: Database, table: type[Any]) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@both_engines
def test_an_observation_is_listed_as_it_was_posted(client: TestClient, cells: Cells) -> None:
    body = {
        "architecture": cells[0]["genotype"], "value": 0.95, "std_error": 0.01, "seed": 3, "fidelity": 20, "cost": 1.5
    }  # fmt: skip

    posted = client.post(OBSERVATIONS, json=body)

    (listed,) = _listed(client)
    assert posted.status_code == 201
    assert posted.json()["observations"] == [
        {"id": listed["id"], "architecture_id": cells[0]["id"], "is_duplicate": False}
    ]
    assert {name: listed[name] for name in body if name != "architecture"} == {
        "value": 0.95, "std_error": 0.01, "seed": 3, "fidelity": 20.0, "cost": 1.5
    }  # fmt: skip
    assert (listed["status"], listed["genotype"]) == ("ok", cells[0]["genotype"])


@both_engines
def test_many_observations_are_answered_in_their_order(client: TestClient, cells: Cells) -> None:
    body = {"observations": [{"architecture": cell["genotype"], "value": n} for n, cell in enumerate(cells)]}

    posted = client.post(OBSERVATIONS, json=body).json()

    assert posted["num_created"] == len(cells)
    assert [one["architecture_id"] for one in posted["observations"]] == [cell["id"] for cell in cells]
    by_id = {one["id"]: one["value"] for one in _listed(client)}
    assert [by_id[one["id"]] for one in posted["observations"]] == list(range(len(cells)))


@both_engines
def test_an_architecture_may_be_written_as_a_dag_or_by_its_id(client: TestClient) -> None:
    first = client.post(OBSERVATIONS, json={"architecture": GRAPH, "value": 0.5}).json()["observations"][0]
    again = client.post(OBSERVATIONS, json={"architecture": {"id": first["architecture_id"]}, "value": 0.6}).json()

    assert again["observations"][0]["architecture_id"] == first["architecture_id"]
    assert all(one["genotype"].startswith("|") for one in _listed(client))


@both_engines
def test_an_architecture_is_stored_once_however_often_it_is_measured(
    post: Callable[..., Response], database: Database
) -> None:
    for seed in range(3):
        post(seed=seed)

    assert (_count(database, ArchitectureRecord), _count(database, NotationRecord)) == (1, 1)
    assert _count(database, ObservationRecord) == 3


@both_engines
@pytest.mark.parametrize("status", ["failed", "infeasible"])
def test_the_news_that_there_is_no_value_is_kept_with_its_reason(
    client: TestClient, post: Callable[..., Response], status: str
) -> None:
    assert post(value=None, status=status, reason="out of memory").status_code == 201

    (listed,) = _listed(client)
    assert (listed["status"], listed["value"], listed["reason"]) == (status, None, "out of memory")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        pytest.param({"value": "0.9"}, ["value"], id="value is text"),
        pytest.param({"value": True}, ["value"], id="value is a truth value"),
        pytest.param({"value": -1e31}, ["value"], id="value that overflows when it is squared"),
        pytest.param({"value": None}, [], id="ok without a value"),
        pytest.param({"status": "failed"}, [], id="failed with a value"),
        pytest.param({"std_error": "0.1"}, ["std_error"], id="error is text"),
        pytest.param({"std_error": True}, ["std_error"], id="error is a truth value"),
        pytest.param({"std_error": [0.1]}, ["std_error"], id="error is a list"),
        pytest.param({"std_error": -1e-9}, ["std_error"], id="negative error"),
        pytest.param({"std_error": 1e31}, ["std_error"], id="error that overflows when it is squared"),
        pytest.param({"value": None, "status": "failed", "std_error": 0.1}, [], id="error of no value"),
        pytest.param({"status": "retracted"}, ["status"], id="retracted cannot be posted"),
        pytest.param({"seed": 1.5}, ["seed"], id="seed is a fraction"),
        pytest.param({"seed": 2**63}, ["seed"], id="seed beyond 64 bits"),
        pytest.param({"fidelity": 0}, ["fidelity"], id="no fidelity"),
        pytest.param({"fidelity": 201}, ["fidelity"], id="beyond the final fidelity"),
        pytest.param({"cost": -1}, ["cost"], id="negative cost"),
        pytest.param({"client_key": ""}, ["client_key"], id="empty client key"),
        pytest.param({"client_key": "k" * 129}, ["client_key"], id="long client key"),
        pytest.param({"architecture": "nonsense"}, ["architecture"], id="no notation"),
        pytest.param({"architecture": 5}, ["architecture"], id="architecture is a number"),
        pytest.param({"architecture": None}, ["architecture"], id="architecture is null"),
        pytest.param({"architecture": {"id": "0" * 32}}, ["architecture"], id="unknown id"),
        pytest.param({"architecture": {"nodes": 1, "edges": 2}}, ["architecture"], id="no graph"),
        pytest.param({"accuracy": 0.9}, ["accuracy"], id="unknown member"),
    ],
)
def test_a_bad_observation_is_refused_at_its_place(
    client: TestClient, cells: Cells, database: Database, change: dict[str, Any], place: list[str]
) -> None:
    good = {"architecture": cells[0]["genotype"], "value": 0.9}
    bad = {**good, **change}

    alone = client.post(OBSERVATIONS, json=bad)
    among_good = client.post(OBSERVATIONS, json={"observations": [good, bad, good]})

    assert (alone.status_code, among_good.status_code) == (422, 422)
    assert [error["location"] for error in alone.json()["errors"]] == [["body", *place]]
    assert [error["location"] for error in among_good.json()["errors"]] == [["body", "observations", 1, *place]]
    assert _count(database, ObservationRecord) == 0


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_an_error_that_is_not_finite_is_refused_as_such_a_value_is(
    client: TestClient, cells: Cells, database: Database, number: str
) -> None:
    def posted(member: str) -> Response:
        members = {"architecture": f'"{cells[0]["genotype"]}"', "value": "0.9", member: number}
        body = ", ".join(f'"{name}": {written}' for name, written in members.items())
        return client.post(OBSERVATIONS, content=f"{{{body}}}", headers={"Content-Type": "application/json"})

    error, value = posted("std_error"), posted("value")

    assert error.status_code == value.status_code in (400, 422)
    assert error.headers["Content-Type"] == "application/problem+json"
    assert error.json()["type"] == value.json()["type"]
    assert _count(database, ObservationRecord) == 0


@pytest.mark.parametrize("std_error", [0, 0.0, 1e-12, 0.3, 7])
def test_an_error_of_any_size_from_0_on_is_kept(
    client: TestClient, post: Callable[..., Response], std_error: float
) -> None:
    assert post(std_error=std_error).status_code == 201

    assert [one["std_error"] for one in _listed(client)] == [std_error]


def test_an_error_that_was_not_told_is_shown_as_unknown(client: TestClient, post: Callable[..., Response]) -> None:
    post()

    assert [one["std_error"] for one in _listed(client)] == [None]


def test_every_bad_index_is_listed_whatever_is_wrong_with_it(client: TestClient, cells: Cells) -> None:
    good = {"architecture": cells[0]["genotype"], "value": 0.9}
    body = [
        good,
        {"value": 1},
        good,
        {**good, "architecture": "x"},
        7,
        {**good, "value": "1"},
        {**good, "fidelity": 999},
    ]

    errors = client.post(OBSERVATIONS, json={"observations": body}).json()["errors"]

    assert [error["location"][2] for error in errors] == [1, 3, 4, 5, 6]


@pytest.mark.parametrize("body", [[], {}, 5, "x", {"observations": []}, {"observations": {}}, {"observations": None}])
def test_a_body_of_another_form_is_refused(client: TestClient, body: Any) -> None:
    assert client.post(OBSERVATIONS, json=body).status_code == 422


def test_more_observations_than_the_limit_are_refused(client: TestClient, cells: Cells) -> None:
    one = {"architecture": cells[0]["genotype"], "value": 1}

    answer = client.post(OBSERVATIONS, json={"observations": [one] * 1_001})

    assert (answer.status_code, "at most 1000" in answer.json()["detail"]) == (422, True)


def test_observations_of_an_unknown_task_are_refused(client: TestClient, cells: Cells) -> None:
    answer = client.post("/v1/tasks/unknown/observations", json={"architecture": cells[0]["genotype"], "value": 1})

    assert answer.status_code == 404


@both_engines
def test_the_same_client_key_with_the_same_content_is_a_duplicate(
    post: Callable[..., Response], client: TestClient
) -> None:
    first = post(client_key="run-1", seed=1)
    again = post(client_key="run-1", seed=1)

    assert (again.status_code, again.json()["num_duplicates"]) == (200, 1)
    assert again.json()["observations"][0]["id"] == first.json()["observations"][0]["id"]
    assert again.json()["observations"][0]["is_duplicate"] is True
    assert client.get("/v1/tasks/digits").json()["revision"] == 1


@both_engines
def test_a_client_key_that_is_repeated_in_one_request_is_recorded_once(client: TestClient, cells: Cells) -> None:
    one = {"architecture": cells[0]["genotype"], "value": 1, "client_key": "k"}

    posted = client.post(OBSERVATIONS, json={"observations": [one, one]}).json()

    assert (posted["num_created"], posted["num_duplicates"]) == (1, 1)
    assert posted["observations"][0]["id"] == posted["observations"][1]["id"]


@both_engines
@pytest.mark.parametrize(
    "change", [{"value": 0.8}, {"std_error": 0.1}, {"seed": 4}, {"cell": 1}, {"reason": "another"}, {"cost": 1}]
)
def test_the_same_client_key_with_other_content_refuses_the_whole_request(
    post: Callable[..., Response], client: TestClient, cells: Cells, change: dict[str, Any]
) -> None:
    post(client_key="k")
    body = {"architecture": cells[change.get("cell", 0)]["genotype"], "value": 0.9, "client_key": "k", **change}
    body.pop("cell", None)
    fine = {"architecture": cells[5]["genotype"], "value": 0.9}

    answer = client.post(OBSERVATIONS, json={"observations": [fine, body]})

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
    assert [e["location"] for e in answer.json()["errors"]] == [["body", "observations", 1, "client_key"]]
    assert len(_listed(client)) == 1


@both_engines
def test_a_client_key_that_contradicts_itself_in_one_request_is_a_conflict(client: TestClient, cells: Cells) -> None:
    one = {"architecture": cells[0]["genotype"], "value": 1, "client_key": "k"}

    answer = client.post(OBSERVATIONS, json={"observations": [one, {**one, "value": 2}]})

    assert (answer.status_code, _listed(client)) == (409, [])


@both_engines
def test_a_client_key_is_unique_in_its_task_only(
    post: Callable[..., Response], post_task: PostTask, client: TestClient, cells: Cells
) -> None:
    post(client_key="k", value=0.1)
    post_task("other")

    body = {"architecture": cells[0]["genotype"], "value": 0.2, "client_key": "k"}

    assert client.post("/v1/tasks/other/observations", json=body).status_code == 201


@both_engines
def test_many_posts_queue_one_adaptation(post: Callable[..., Response], database: Database) -> None:
    for seed in range(5):
        post(seed=seed)

    with database.read() as session:
        jobs = session.scalars(select(JobRecord)).all()
    assert [job.kind for job in jobs] == ["adapt"]


@both_engines
def test_pages_neither_repeat_nor_skip_when_observations_are_added_meanwhile(
    client: TestClient, post: Callable[..., Response]
) -> None:
    for seed in range(5):
        post(seed=seed)

    first = client.get(f"{OBSERVATIONS}?limit=3").json()
    post(seed=5)
    second = client.get(OBSERVATIONS, params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [one["seed"] for one in first["items"] + second["items"]] == [0, 1, 2, 3, 4, 5]
    assert second["next_cursor"] is None


def test_the_list_can_be_limited_to_an_architecture_and_a_status(
    client: TestClient, post: Callable[..., Response], cells: Cells
) -> None:
    post(0)
    post(1)
    post(1, value=None, status="failed")

    assert len(_listed(client, architecture=cells[1]["id"])) == 2
    assert [one["value"] for one in _listed(client, architecture=cells[1]["id"], status="ok")] == [0.9]
    assert _listed(client, architecture="f" * 32) == []


@pytest.mark.parametrize("query", ["architecture=x", "status=unknown", "cursor=x", "limit=0", "include_superseded=x"])
def test_a_wrong_filter_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"{OBSERVATIONS}?{query}").status_code == 422


@both_engines
def test_a_correction_takes_the_place_of_its_observation(client: TestClient, post: Callable[..., Response]) -> None:
    old = post(value=0.951, seed=7, fidelity=20, client_key="k").json()["observations"][0]["id"]

    corrected = client.post(f"{OBSERVATIONS}/{old}/correction", json={"value": 0.915, "reason": "digits swapped"})

    (listed,) = _listed(client)
    assert corrected.status_code == 201
    assert corrected.json() == listed
    assert (listed["value"], listed["seed"], listed["fidelity"], listed["supersedes_id"]) == (0.915, 7, 20.0, old)
    shown = client.get("/v1/tasks/digits").json()
    assert (shown["num_observations"], shown["revision"]) == (1, 2)


@pytest.mark.parametrize(
    ("correction", "kept"),
    [
        pytest.param({"value": 0.915}, 0.02, id="not mentioned"),
        pytest.param({"value": 0.915, "std_error": 0.005}, 0.005, id="another"),
        pytest.param({"value": 0.915, "std_error": None}, None, id="not known after all"),
        pytest.param({"status": "failed"}, None, id="there is no value"),
    ],
)
def test_a_correction_keeps_the_known_error_unless_it_says_another(
    client: TestClient, post: Callable[..., Response], correction: dict[str, Any], kept: float | None
) -> None:
    old = post(value=0.951, std_error=0.02).json()["observations"][0]["id"]

    corrected = client.post(f"{OBSERVATIONS}/{old}/correction", json={**correction, "reason": "digits swapped"})

    assert corrected.status_code == 201
    assert corrected.json()["std_error"] == kept


def test_a_retraction_has_no_error(client: TestClient, post: Callable[..., Response]) -> None:
    old = post(std_error=0.02).json()["observations"][0]["id"]

    retraction = client.post(f"{OBSERVATIONS}/{old}/retraction", json={"reason": "wrong data set"})

    assert (retraction.json()["value"], retraction.json()["std_error"]) == (None, None)


@both_engines
def test_nothing_that_was_recorded_is_changed_by_a_correction(
    client: TestClient, post: Callable[..., Response]
) -> None:
    old = post(value=0.951, client_key="k").json()["observations"][0]["id"]
    before = _listed(client)[0]

    new = client.post(f"{OBSERVATIONS}/{old}/correction", json={"value": 0.915, "reason": "digits swapped"}).json()

    after = _listed(client, include_superseded=True)
    assert after == [{**before, "superseded_by_id": new["id"]}, new]


@both_engines
def test_a_retraction_hides_its_observation(client: TestClient, post: Callable[..., Response]) -> None:
    kept, hidden = (post(cell).json()["observations"][0]["id"] for cell in (0, 1))

    retraction = client.post(f"{OBSERVATIONS}/{hidden}/retraction", json={"reason": "wrong data set"})

    assert retraction.status_code == 201
    assert [one["id"] for one in _listed(client)] == [kept]
    assert [one["id"] for one in _listed(client, include_superseded=True)] == [kept, hidden, retraction.json()["id"]]
    assert client.get("/v1/tasks/digits").json()["num_observations"] == 1


@both_engines
def test_posting_what_was_corrected_again_is_still_a_duplicate(
    client: TestClient, post: Callable[..., Response]
) -> None:
    old = post(client_key="k").json()["observations"][0]["id"]
    client.post(f"{OBSERVATIONS}/{old}/correction", json={"value": 0.1, "reason": "typing error"})

    again = post(client_key="k")

    assert (again.status_code, again.json()["observations"][0]["id"]) == (200, old)


@both_engines
@pytest.mark.parametrize("then", ["correction", "retraction"])
@pytest.mark.parametrize("first", ["correction", "retraction"])
def test_only_a_current_observation_can_be_superseded(
    client: TestClient, post: Callable[..., Response], first: str, then: str
) -> None:
    bodies = {"correction": {"value": 1, "reason": "r"}, "retraction": {"reason": "r"}}
    old = post().json()["observations"][0]["id"]
    client.post(f"{OBSERVATIONS}/{old}/{first}", json=bodies[first])

    assert client.post(f"{OBSERVATIONS}/{old}/{then}", json=bodies[then]).status_code == 409


@both_engines
def test_a_retraction_itself_cannot_be_superseded(client: TestClient, post: Callable[..., Response]) -> None:
    old = post().json()["observations"][0]["id"]
    retraction = client.post(f"{OBSERVATIONS}/{old}/retraction", json={"reason": "r"}).json()["id"]

    assert client.post(f"{OBSERVATIONS}/{retraction}/correction", json={"value": 1, "reason": "r"}).status_code == 409


@pytest.mark.parametrize("observation", ["999", "0", "x", "9223372036854775808"])
def test_an_unknown_observation_cannot_be_corrected(client: TestClient, observation: str) -> None:
    answer = client.post(f"{OBSERVATIONS}/{observation}/correction", json={"value": 1, "reason": "r"})

    assert answer.status_code == (404 if observation == "999" else 422)


@both_engines
def test_an_observation_of_another_task_cannot_be_corrected(
    client: TestClient, post: Callable[..., Response], post_task: PostTask
) -> None:
    old = post().json()["observations"][0]["id"]
    post_task("other")

    answer = client.post(f"/v1/tasks/other/observations/{old}/correction", json={"value": 1, "reason": "r"})

    assert answer.status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"value": 1},
        {"reason": "r"},
        {"value": 1, "reason": ""},
        {"value": "1", "reason": "r"},
        {"value": 1, "std_error": -1, "reason": "r"},
        {"status": "failed", "std_error": 1, "reason": "r"},
    ],
)
def test_a_wrong_correction_is_refused(client: TestClient, post: Callable[..., Response], body: dict[str, Any]) -> None:
    old = post().json()["observations"][0]["id"]

    assert client.post(f"{OBSERVATIONS}/{old}/correction", json=body).status_code == 422


@both_engines
def test_the_leaderboard_averages_repeated_measurements_at_the_final_fidelity(
    client: TestClient, post: Callable[..., Response], cells: Cells
) -> None:
    for seed, value in enumerate([0.90, 0.94, 0.98]):
        post(0, value, seed=seed, fidelity=200)
    post(1, 0.95)  # no fidelity: the full one
    post(2, 0.99, fidelity=20)  # not final
    post(3, value=None, status="failed")

    board = client.get("/v1/tasks/digits/best?k=5").json()

    assert [place["architecture_id"] for place in board["items"]] == [cells[1]["id"], cells[0]["id"]]
    assert [place["rank"] for place in board["items"]] == [1, 2]
    assert (board["fidelity"], board["direction"]) == (200.0, "maximize")
    averaged = board["items"][1]
    assert (averaged["mean"], averaged["count"]) == (pytest.approx(0.94, abs=1e-12), 3)
    assert averaged["std"] == pytest.approx(statistics.stdev([0.90, 0.94, 0.98]), abs=1e-12)
    assert board["items"][0]["std"] is None


@both_engines
def test_the_leaderboard_counts_corrections_and_leaves_retractions_out(
    client: TestClient, post: Callable[..., Response], cells: Cells
) -> None:
    corrected, retracted = (post(cell, 0.5).json()["observations"][0]["id"] for cell in (0, 1))
    client.post(f"{OBSERVATIONS}/{corrected}/correction", json={"value": 0.7, "reason": "r"})
    client.post(f"{OBSERVATIONS}/{retracted}/retraction", json={"reason": "r"})

    (only,) = client.get("/v1/tasks/digits/best").json()["items"]

    assert (only["architecture_id"], only["mean"], only["count"]) == (cells[0]["id"], 0.7, 1)


@both_engines
def test_smaller_is_better_where_the_metric_is_minimized_and_the_largest_fidelity_seen_is_final(
    client: TestClient, post_task: PostTask, cells: Cells
) -> None:
    post_task("latency", metric={"name": "latency_ms", "unit": "ms", "direction": "minimize"})
    measured = [(0, 9.0, 10), (1, 5.0, 10), (2, 1.0, 3)]
    body = [{"architecture": cells[n]["genotype"], "value": value, "fidelity": f} for n, value, f in measured]
    client.post("/v1/tasks/latency/observations", json={"observations": body})

    board = client.get("/v1/tasks/latency/best").json()

    assert [place["mean"] for place in board["items"]] == [5.0, 9.0]
    assert board["fidelity"] == 10.0


@both_engines
def test_the_leaderboard_of_a_task_without_observations_is_empty(client: TestClient) -> None:
    assert client.get("/v1/tasks/digits/best").json()["items"] == []


@pytest.mark.parametrize(("path", "status"), [("digits/best?k=0", 422), ("digits/best?k=1001", 422), ("no/best", 404)])
def test_a_wrong_question_for_the_leaderboard_is_refused(client: TestClient, path: str, status: int) -> None:
    assert client.get(f"/v1/tasks/{path}").status_code == status
