"""Projects own tasks: nothing of one is seen, or felt, in another."""

from __future__ import annotations

from typing import Any

import pytest

from app import queue
from app.inference import records
from app.tables import TaskRecord
from app.tasks import repository as tasks

pytestmark = pytest.mark.both_engines

TASK = {
    "name": "digits",
    "search_space": "nasbench201",
    "dataset": "digits",
    "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
}
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"


class Two:
    """A service with two projects, and a contributor's key of each."""

    def __init__(self, service: Any) -> None:
        self.service = service
        service.project("a")
        service.project("b")
        self.admin, self.a, self.b = (
            service.key("admin"),
            service.key("contributor", "a"),
            service.key("contributor", "b"),
        )

    def call(self, key: str, method: str, path: str, body: Any = None) -> Any:
        return self.service.call(key, method, f"/v1{path}", body)

    def task(self, key: str, **changes: Any) -> Any:
        answer = self.call(key, "POST", "/tasks", {**TASK, **changes})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def cells(self, count: int) -> list[str]:
        drawn = self.call(self.a, "GET", f"/search-spaces/nasbench201/sample?count={4 * count}&seed=5").json()
        return list(dict.fromkeys(one["genotype"] for one in drawn["architectures"]))[:count]

    def observe(self, key: str, task: str, cells: list[str]) -> None:
        body = {"observations": [{"architecture": cell, "value": 0.5 + i / 100} for i, cell in enumerate(cells)]}
        answer = self.call(key, "POST", f"/tasks/{task}/observations", body)
        assert answer.status_code == 201, answer.text


@pytest.fixture
def two(service: Any) -> Two:
    return Two(service)


def test_each_project_has_its_own_task_of_one_name(two: Two) -> None:
    of_a, of_b = two.task(two.a), two.task(two.b, dataset="cifar10")

    assert (of_a["project"], of_b["project"]) == ("a", "b")
    assert two.call(two.a, "GET", "/tasks/digits").json()["id"] == of_a["id"]
    assert two.call(two.b, "GET", "/tasks/digits").json()["id"] == of_b["id"]
    assert two.call(two.b, "GET", f"/tasks/{of_a['id']}").status_code == 404
    assert two.call(two.a, "POST", "/tasks", {**TASK, "dataset": "another"}).status_code == 409


def test_lists_show_what_is_the_callers(two: Two) -> None:
    two.task(two.a)
    two.task(two.b, name="other")

    def seen(key: str, path: str) -> list[str]:
        return [one["name"] for one in two.call(key, "GET", path).json()["items"]]

    assert (seen(two.a, "/tasks"), seen(two.b, "/tasks")) == (["digits"], ["other"])
    assert seen(two.admin, "/tasks") == ["digits", "other"]
    assert (seen(two.a, "/projects"), seen(two.admin, "/projects")) == (["a"], ["default", "a", "b"])
    assert [two.call(two.a, "GET", f"/projects/{name}").status_code for name in ("a", "b", "nowhere")] == [
        200,
        404,
        404,
    ]


def test_a_name_means_to_an_admin_the_default_projects_task_or_the_only_one(two: Two) -> None:
    of_a = two.task(two.a)
    assert two.call(two.admin, "GET", "/tasks/digits").json()["id"] == of_a["id"]

    of_b = two.task(two.b)
    ambiguous = two.call(two.admin, "GET", "/tasks/digits")
    assert (ambiguous.status_code, str([of_a["id"], of_b["id"]]) in ambiguous.json()["detail"]) == (409, True)

    own = two.task(two.admin)
    assert own["project"] == "default"
    assert two.call(two.admin, "GET", "/tasks/digits").json()["id"] == own["id"]


def test_a_task_goes_where_it_is_wanted_if_the_caller_may(two: Two) -> None:
    assert two.task(two.admin, project="b")["project"] == "b"
    assert two.task(two.a, project="a")["project"] == "a"
    for foreign in ("b", "nowhere"):
        assert two.call(two.a, "POST", "/tasks", {**TASK, "name": "x", "project": foreign}).status_code == 404


def test_an_architecture_shows_what_the_caller_may_see_of_it(two: Two) -> None:
    two.task(two.a)
    two.task(two.b)
    two.observe(two.a, "digits", [CELL])
    id_ = two.call(two.a, "GET", "/tasks/digits/observations").json()["items"][0]["architecture_id"]

    assert len(two.call(two.a, "GET", f"/architectures/{id_}").json()["observations"]) == 1
    assert two.call(two.b, "GET", f"/architectures/{id_}").status_code == 404
    two.observe(two.b, "digits", [CELL])
    (shown,) = two.call(two.b, "GET", f"/architectures/{id_}").json()["observations"]
    assert shown["id"] == two.call(two.b, "GET", "/tasks/digits/observations").json()["items"][0]["id"]
    assert len(two.call(two.admin, "GET", f"/architectures/{id_}").json()["observations"]) == 2


@pytest.mark.usefixtures("champion")
def test_a_request_names_by_id_what_the_caller_may_see(service: Any) -> None:
    two = Two(service)
    for key in (two.a, two.b):
        two.task(key)
    two.observe(two.a, "digits", [CELL])
    id_ = two.call(two.a, "GET", "/tasks/digits/observations").json()["items"][0]["architecture_id"]
    asked = {"architectures": [{"id": id_}]}

    def answers(key: str) -> list[bool]:
        forecast = two.call(key, "POST", "/tasks/digits/predictions", asked).json()["predictions"][0]
        posted = two.call(key, "POST", "/tasks/digits/observations", {"architecture": {"id": id_}, "value": 0.5})
        return ["mean" in forecast, posted.status_code == 201]

    assert two.call(two.b, "POST", "/tasks/digits/trials", asked).status_code == 422
    assert (answers(two.b), answers(two.a)) == ([False, False], [True, True])


def test_jobs_are_those_of_the_callers_tasks(two: Two) -> None:
    two.task(two.a)
    two.task(two.b)
    two.observe(two.a, "digits", [CELL])
    with two.service.state.database.write() as session:
        queue.enqueue(session, queue.FINE_TUNE, {"reason": "", "settings": {}, "last_observation_id": 0})
    (job,) = two.call(two.a, "GET", "/jobs").json()["items"]

    assert two.call(two.a, "GET", f"/jobs/{job['id']}").status_code == 200
    assert two.call(two.b, "GET", f"/jobs/{job['id']}").status_code == 404
    assert two.call(two.b, "GET", "/jobs").json()["items"] == []
    assert len(two.call(two.admin, "GET", "/jobs").json()["items"]) == 2


def test_forecasts_rest_on_no_other_projects_tasks(two: Two) -> None:
    from app.tasks import service
    from app.tasks.schemas import TaskIn

    first, second, foreign = two.task(two.a), two.task(two.a, name="second"), two.task(two.b)
    with two.service.state.database.write() as session:
        shared = service.create(session, TaskIn.model_validate({**TASK, "name": "shared"}), None)[0].id
    cells = two.cells(records.MIN_RELATED)
    for key, task in ((two.a, "second"), (two.b, "digits"), (two.admin, "shared")):
        two.observe(key, task, cells)

    with two.service.state.database.read() as session:
        of = {
            one: records.observed_siblings(session, records.task_context(session, str(one)))
            for one in (first["id"], foreign["id"], shared)
        }
        siblings = {one: {task_id for task_id, _ in found} for one, found in of.items()}
        new = session.get_one(TaskRecord, foreign["id"])
        assert tasks.has_observed_sibling(session, new)

    assert siblings == {first["id"]: {second["id"], shared}, foreign["id"]: {shared}, shared: set()}


def test_a_new_task_is_not_adapted_to_what_others_observed(two: Two) -> None:
    two.task(two.a)
    two.observe(two.a, "digits", two.cells(3))

    assert two.task(two.b, name="new")["adaptation"]["is_pending"] is False
    assert two.task(two.a, name="new")["adaptation"]["is_pending"] is True


@pytest.mark.usefixtures("champion")
def test_constraints_speak_of_the_callers_tasks(service: Any) -> None:
    two = Two(service)
    two.task(two.a)
    two.task(two.b, name="secret", metric={"name": "latency_ms", "unit": "ms", "direction": "minimize"})

    refused = two.call(two.a, "GET", "/tasks/digits/candidates?constraint=latency_ms<=4")
    by_name = two.call(two.a, "GET", "/tasks/digits/candidates?constraint=secret<=4")

    assert (refused.status_code, by_name.status_code) == (422, 422)
    assert "secret" not in refused.text


def test_fine_tuning_learns_from_projects_that_allow_it(two: Two, settings: Any) -> None:
    from app.fine_tunes import repository as fine_tunes

    of_a, of_b = two.task(two.a), two.task(two.b)
    two.observe(two.a, "digits", [CELL])
    two.observe(two.b, "digits", [CELL])

    answer = two.call(two.admin, "PATCH", "/projects/b", {"is_learned_from": False})

    assert answer.json()["is_learned_from"] is False
    with two.service.state.database.read() as session:
        assert records.learned_task_ids(session) == [of_a["id"]]
        assert set(records.observed_task_ids(session)) == {of_a["id"], of_b["id"]}
        assert fine_tunes.new_observations(session, 0).count == 1


def test_a_project_is_renamed_and_stays_the_same(two: Two) -> None:
    task = two.task(two.a)

    renamed = two.call(two.admin, "PATCH", "/projects/a", {"name": "vision"})

    assert (renamed.status_code, renamed.json()["name"]) == (200, "vision")
    assert two.call(two.a, "GET", f"/tasks/{task['id']}").json()["project"] == "vision"
    assert two.call(two.admin, "PATCH", "/projects/vision", {"name": "b"}).status_code == 409
    assert two.call(two.admin, "POST", "/projects", {"name": "b"}).status_code == 409
    assert two.call(two.admin, "POST", "/projects", {"name": "a/b"}).status_code == 422
    assert two.call(two.admin, "PATCH", "/projects/nowhere", {"name": "c"}).status_code == 404


def test_who_reads_one_project_sees_of_a_model_version_nothing_that_names_tasks(two: Two) -> None:
    from app.inference import Candidate
    from app.model_versions import service as model_versions

    manifest = {"format": 1, "fine_tuned_on": ["secret"], "metrics": {"secret": 1.0}}
    with two.service.state.database.write() as session:
        model_versions.add(session, "v" * 32, None, "fine_tune", manifest, b"")
        model_versions.decide(session, Candidate("v" * 32, "p" * 32, b"", manifest, {"secret": 1}, False, "no better"))

    shown = two.call(two.a, "GET", f"/model-versions/{'v' * 32}")

    assert (shown.status_code, shown.json()["manifest"], "secret" in shown.text) == (200, {"format": 1}, False)
    assert "secret" not in two.call(two.a, "GET", "/model-versions").text
    assert two.call(two.admin, "GET", f"/model-versions/{'v' * 32}").json()["manifest"] == manifest
