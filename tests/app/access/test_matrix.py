"""Every endpoint × every role × no key × another project, as the routers have them: a new endpoint is in here by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from app import api
from app.guarded_routes import GuardedRoute, Role, Rule, check_rules, rule_of
from app.health.endpoints import router as health

if TYPE_CHECKING:
    from conftest import Service
    from httpx import Response

pytestmark = pytest.mark.both_engines

OPEN = {"healthz", "readyz"}
UNREACHABLE_ID = "999999999"
TASK = {
    "name": "digits",
    "search_space": "nasbench201",
    "dataset": "digits",
    "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
}


def _endpoints() -> Iterator[tuple[str, str, GuardedRoute, Rule]]:
    for router in (*api.ROUTERS, health):
        prefix = "" if router is health else api.PREFIX
        for route in router.routes:
            assert isinstance(route, GuardedRoute)
            rule = rule_of(route.endpoint)
            assert rule is not None
            for method in sorted(route.methods or ()):
                yield method, prefix + route.path, route, rule


ENDPOINTS = list(_endpoints())
TASK_ENDPOINTS = [one for one in ENDPOINTS if "{task}" in one[1]]


def _path(path: str, task: str) -> str:
    return re.sub(r"\{\w+\}", UNREACHABLE_ID, path.replace("{task}", task))


def _call(service: Service, key: str | None, method: str, path: str) -> Response:
    return service.call(key, method, path, None if method == "GET" else {})


def _is_refused_by_role(answer: Response, least: Role) -> bool:
    return (
        answer.status_code == 403
        and answer.json().get("role") == least.label
        and least.label in answer.json()["detail"]
    )


def test_all_that_is_open_to_anybody_is_known_here() -> None:
    assert {route.name for _, _, route, rule in ENDPOINTS if rule.least is None} == OPEN


def test_whatever_is_not_read_only_says_that_it_changes_something() -> None:
    # POST, since what is asked does not fit into an address
    asked = {"create_predictions", "validate_notations", "forecast_in_bulk", "explain_forecasts"}
    silent = [
        r.name for method, _, r, rule in ENDPOINTS if method != "GET" and not rule.is_change and r.name not in asked
    ]

    assert silent == []
    assert [route.name for method, _, route, rule in ENDPOINTS if method == "GET" and rule.is_change] == []


def test_without_a_key_nothing_answers_but_what_is_open(service: Service) -> None:
    wrong = []
    for method, path, _, rule in ENDPOINTS:
        answer = _call(service, None, method, _path(path, "digits"))
        is_right = (answer.status_code == 401) == (rule.least is not None)
        if rule.least is not None:
            is_right = is_right and answer.headers["www-authenticate"].startswith("Bearer")
        if not is_right:
            wrong.append((method, path, answer.status_code))

    assert wrong == []


def test_every_endpoint_wants_its_role_and_no_more(service: Service) -> None:
    admin = service.key("admin")
    assert service.call(admin, "POST", "/v1/tasks", TASK).status_code == 201
    keys = {role: service.key(role.label) for role in Role}
    wrong = []
    for method, path, _, rule in ENDPOINTS:
        for role, key in keys.items():
            answer = _call(service, key, method, _path(path, "digits"))
            least = rule.least or Role.READER
            is_refused = _is_refused_by_role(answer, least)
            if is_refused != (role < least) or answer.status_code in (401, 500):
                wrong.append((method, path, role.label, answer.status_code))

    assert wrong == []


@pytest.mark.parametrize("by_id", [False, True])
def test_a_task_of_another_project_is_not_there(service: Service, by_id: bool) -> None:
    service.project("theirs")
    task = service.call(service.key("admin"), "POST", "/v1/tasks", {**TASK, "project": "theirs"}).json()
    reference = str(task["id"]) if by_id else "digits"
    keys = [service.key(role) for role in ("reader", "contributor")]
    wrong = []
    for method, path, _, rule in TASK_ENDPOINTS:
        for key in keys:
            answer = _call(service, key, method, _path(path, reference))
            absent = _call(service, key, method, _path(path, "88888888"))
            if answer.status_code == 403 and rule.least is not None:
                is_right = _is_refused_by_role(answer, rule.least)
            else:
                is_right = (answer.status_code, _said(answer, reference)) == (404, _said(absent, "88888888"))
            if not is_right:
                wrong.append((method, path, answer.status_code, answer.text))

    assert wrong == []


def _said(answer: Response, reference: str) -> Any:
    return answer.json()["detail"].replace(repr(reference), "…")


def test_what_belongs_to_all_is_read_by_all_and_changed_by_operators(service: Service) -> None:
    from app.tasks import service as tasks
    from app.tasks.schemas import TaskIn

    with service.state.database.write() as session:
        tasks.create(session, TaskIn.model_validate(TASK), None)
    reader, contributor, operator = (service.key(role) for role in ("reader", "contributor", "operator"))
    wrong = []
    for method, path, _, rule in TASK_ENDPOINTS:
        asked = [
            service.call(key, method, _path(path, "digits"), None if method == "GET" else {})
            for key in (reader, contributor, operator)
        ]
        refused = [answer.status_code == 403 and "role" in answer.json() for answer in asked]
        least = Role.OPERATOR if rule.is_change else rule.least or Role.READER
        expected = [role < least for role in (Role.READER, Role.CONTRIBUTOR, Role.OPERATOR)]
        if refused != expected:
            wrong.append((method, path, refused))

    assert wrong == []


def test_a_router_that_the_guard_would_not_see_is_refused() -> None:
    from fastapi import APIRouter

    unguarded, without_rule = APIRouter(), APIRouter(route_class=GuardedRoute)
    unguarded.add_api_route("/a", lambda: None, name="unguarded")
    without_rule.add_api_route("/b", lambda: None, name="without_rule")

    with pytest.raises(TypeError, match="unguarded, without_rule"):
        check_rules([*unguarded.routes, *without_rule.routes])


def test_the_documentation_says_what_each_endpoint_wants(service: Service) -> None:
    document = service.client.get("/openapi.json").json()
    wrong = []
    for method, path, _, rule in ENDPOINTS:
        operation = document["paths"][path][method.lower()]
        least = None if rule.least is None else rule.least.label
        is_described = {"401", "403", "429"} <= set(operation["responses"]) and operation.get("security") == [
            {"key": []}
        ]
        if operation.get("x-least-role") != least or is_described != (least is not None):
            wrong.append((method, path))

    assert wrong == []
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
