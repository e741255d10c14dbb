"""Searches belong to the project of their tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Service

pytestmark = pytest.mark.both_engines

TASK = {
    "name": "digits",
    "search_space": "nasbench201",
    "dataset": "digits",
    "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
}
ASKED: dict[str, Any] = {
    "objectives": [{"task": "digits"}],
    "strategy": "random",
    "mode": "measured",
    "budget": {"evaluations": 4},
}


def keys_beside_a_task_of_all(service: Service) -> tuple[Any, Any, Any]:
    """Of two contributors and an operator; the task belongs to no project."""
    from app.tasks import service as tasks
    from app.tasks.schemas import TaskIn

    with service.state.database.write() as session:
        tasks.create(session, TaskIn.model_validate(TASK), None)
    for name in ("ours", "theirs"):
        service.project(name)
    return service.key("contributor", "ours"), service.key("contributor", "theirs"), service.key("operator")


def test_another_project_sees_nothing_of_a_search_and_changes_nothing(service: Service) -> None:
    for name in ("ours", "theirs"):
        service.project(name)
    ours, reader, theirs = (
        service.key("contributor", "ours"),
        service.key("reader", "ours"),
        service.key("contributor", "theirs"),
    )
    service.call(ours, "POST", "/v1/tasks", TASK)
    search = service.call(ours, "POST", "/v1/searches", ASKED).json()["id"]
    paths = ["", "/evaluations", "/events", "/best", "/pareto"]

    assert service.call(reader, "GET", f"/v1/searches/{search}").status_code == 200
    assert [one["id"] for one in service.call(reader, "GET", "/v1/searches").json()["items"]] == [search]
    assert service.call(reader, "GET", f"/v1/jobs/{search}").status_code == 200
    assert service.call(reader, "POST", "/v1/searches", ASKED).status_code == 403
    for path in paths:
        assert service.call(theirs, "GET", f"/v1/searches/{search}{path}").status_code == 404, path
    for action in ("pause", "resume", "cancel"):
        assert service.call(theirs, "POST", f"/v1/searches/{search}:{action}").status_code == 404, action
    assert service.call(theirs, "GET", "/v1/searches").json()["items"] == []
    assert service.call(theirs, "GET", f"/v1/jobs/{search}").status_code == 404
    answer = service.call(theirs, "POST", "/v1/searches", ASKED)
    assert (answer.status_code, answer.json()["errors"][0]["location"]) == (422, ["body", "objectives", 0, "task"])


def test_tasks_of_two_projects_are_not_searched_together(service: Service) -> None:
    admin = service.key("admin")
    for name in ("ours", "theirs"):
        service.project(name)
        service.call(service.key("contributor", name), "POST", "/v1/tasks", {**TASK, "name": name})

    answer = service.call(
        admin, "POST", "/v1/searches", {**ASKED, "objectives": [{"task": "ours"}, {"task": "theirs"}]}
    )

    assert (answer.status_code, "of one project" in answer.json()["detail"]) == (422, True)


def test_of_what_belongs_to_all_contributors_may_forecast_but_have_nothing_measured(
    champion: Any, service: Service
) -> None:
    ours, theirs, operator = keys_beside_a_task_of_all(service)

    forecast = service.call(ours, "POST", "/v1/searches", {**ASKED, "mode": "forecast"})
    refused = service.call(ours, "POST", "/v1/searches", ASKED)

    assert forecast.status_code == 201
    assert service.call(theirs, "GET", f"/v1/searches/{forecast.json()['id']}").status_code == 404
    assert (refused.status_code, refused.json()["role"]) == (403, "operator")
    assert service.call(operator, "POST", "/v1/searches", ASKED).status_code == 201


def test_what_is_asked_of_searches_is_in_the_audit_log(service: Service) -> None:
    admin = service.key("admin")
    service.call(admin, "POST", "/v1/tasks", TASK)
    search = service.call(admin, "POST", "/v1/searches", ASKED).json()["id"]
    for action in ("pause", "resume", "cancel"):
        service.call(admin, "POST", f"/v1/searches/{search}:{action}")

    entries = service.call(admin, "GET", "/v1/audit").json()["items"]

    operations = ["cancel_search", "resume_search", "pause_search", "create_search"]
    assert [one["operation"] for one in entries if "search" in one["operation"]] == operations


def test_of_what_belongs_to_all_contributors_may_search_by_gradient_but_have_nothing_observed(service: Service) -> None:
    ours, theirs, operator = keys_beside_a_task_of_all(service)
    asked: dict[str, Any] = {"objectives": ASKED["objectives"], "strategy": "darts", "settings": {"dataset": "digits"}}
    observes_nothing = {**asked, "settings": {"dataset": "digits", "retraining": {"epochs": 0}}}

    refused = service.call(ours, "POST", "/v1/searches", asked)
    search = service.call(ours, "POST", "/v1/searches", observes_nothing)

    assert (refused.status_code, refused.json()["role"]) == (403, "operator")
    assert "may have what is retrained observed in it, got contributor" in refused.json()["detail"]
    assert search.status_code == 201
    for path in ("", "/evaluations", "/events", "/best"):
        assert service.call(theirs, "GET", f"/v1/searches/{search.json()['id']}{path}").status_code == 404, path
    for action in ("pause", "resume", "cancel"):
        assert service.call(theirs, "POST", f"/v1/searches/{search.json()['id']}:{action}").status_code == 404, action
    assert service.call(theirs, "GET", f"/v1/jobs/{search.json()['id']}").status_code == 404
    assert service.call(operator, "POST", "/v1/searches", asked).status_code == 201
    assert service.call(service.key("reader", "ours"), "POST", "/v1/searches", observes_nothing).status_code == 403
