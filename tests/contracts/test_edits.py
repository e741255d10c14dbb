"""What one has seen is not sent again, and not changed by two who have seen the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.both_engines

Cells = list[dict[str, str]]
Together = Callable[[Callable[[int], Any], int], list[Any]]
TASK, SPACE = "/v1/tasks/digits", "/v1/search-spaces/mine"
OTHER_TAG = '"0123456789abcdef0123456789abcdef"'


@pytest.fixture
def observation(client: TestClient, post_task: Any, cells: Cells, observe: Any) -> str:
    """The address of an observation; there is a declared search space too."""
    post_task()
    definition = {"version": 1, "decisions": [{"name": "width", "type": "ordinal", "values": [1, 2]}]}
    client.post("/v1/search-spaces", json={"name": "mine", "definition": definition})
    (posted,) = observe("digits", cells[:1], [0.5])["observations"]
    return f"{TASK}/observations/{posted['id']}"


@pytest.fixture
def edits(client: TestClient, observation: str) -> dict[str, tuple[str, Callable[..., Any]]]:
    """What is seen, and a way to change it, by name."""
    return {
        "correction": (
            observation,
            lambda **more: client.post(f"{observation}/correction", json={"value": 0.1, "reason": "typo"}, **more),
        ),
        "retraction": (
            observation,
            lambda **more: client.post(f"{observation}/retraction", json={"reason": "wrong split"}, **more),
        ),
        "task": (TASK, lambda **more: client.patch(TASK, json={"metadata": {"owner": "anna"}}, **more)),
        "search space": (SPACE, lambda **more: client.patch(SPACE, json={"description": "new"}, **more)),
    }


def tag(client: TestClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["ETag"])


def seen(value: str) -> dict[str, dict[str, str]]:
    return {"headers": {"If-Match": value}}


@pytest.mark.parametrize("name", ["correction", "retraction", "task", "search space"])
def test_what_was_seen_can_be_changed_once(
    client: TestClient, edits: dict[str, tuple[str, Callable[..., Any]]], name: str
) -> None:
    path, change = edits[name]
    before = tag(client, path)

    first = change(**seen(f'{OTHER_TAG}, {before}, W/"x"'))
    again = change(**seen(before))

    assert first.status_code in (200, 201), first.text
    assert (again.status_code, again.json()["type"]) == (412, "/problems/precondition-failed")
    assert again.json()["etag"] == tag(client, path) != before
    assert before in again.json()["detail"]


@pytest.mark.parametrize("name", ["correction", "retraction", "task", "search space"])
@pytest.mark.parametrize("wrong", [OTHER_TAG, "weak", "x", '"', '"*"', " "])
def test_nothing_is_changed_that_was_not_seen(
    client: TestClient, edits: dict[str, tuple[str, Callable[..., Any]]], name: str, wrong: str
) -> None:
    path, change = edits[name]
    before = tag(client, path)

    refused = change(**seen(f"W/{before}" if wrong == "weak" else wrong))

    assert refused.status_code == (400 if wrong == " " else 412)
    assert tag(client, path) == before


@pytest.mark.parametrize("name", ["correction", "retraction", "task", "search space"])
@pytest.mark.parametrize("header", [{}, seen("*"), seen(" * ")])
def test_without_a_tag_or_with_any_it_is_changed_as_it_is(
    edits: dict[str, tuple[str, Callable[..., Any]]], name: str, header: dict[str, Any]
) -> None:
    assert edits[name][1](**header).status_code in (200, 201)


def test_any_tag_matches_nothing_where_there_is_nothing(client: TestClient) -> None:
    for path in (f"{TASK}/observations/1/retraction", "/v1/tasks/unknown/observations/1/retraction"):
        assert client.post(path, json={"reason": "x"}, **seen("*")).status_code == 404
    assert client.patch("/v1/tasks/unknown", json={"metadata": {}}, **seen("*")).status_code == 404
    assert client.patch("/v1/search-spaces/unknown", json={"description": ""}, **seen("*")).status_code == 404


def test_of_many_who_saw_the_same_one_changes_it(
    client: TestClient, edits: dict[str, tuple[str, Callable[..., Any]]], together: Together
) -> None:
    before = tag(client, TASK)

    answers = together(lambda n: client.patch(TASK, json={"metadata": {"n": n}}, **seen(before)), 6)

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 5
    (kept,) = (answer for answer in answers if answer.status_code == 200)
    assert client.get(TASK).json()["metadata"] == kept.json()["metadata"]


def test_a_retry_of_an_edit_is_answered_though_the_tag_is_old_by_then(
    client: TestClient, edits: dict[str, tuple[str, Callable[..., Any]]]
) -> None:
    path, change = edits["correction"]
    headers = {"If-Match": tag(client, path), "Idempotency-Key": "k"}

    first, again = change(headers=headers), change(headers=headers)

    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)


def test_an_edit_answers_with_the_tag_to_go_on_with(client: TestClient, observation: str) -> None:
    for path, body in ((TASK, {"metadata": {"a": 1}}), (SPACE, {"description": "x"})):
        edited = client.patch(path, json=body)
        assert (edited.status_code, edited.headers["ETag"]) == (200, tag(client, path))
        assert edited.json() == client.get(path).json()


def test_a_wrong_edit_is_refused(client: TestClient, observation: str) -> None:
    for path, body in ((TASK, {"name": "x"}), (TASK, {}), (SPACE, {"description": 5}), (SPACE, {"definition": {}})):
        assert client.patch(path, json=body).status_code == 422
    built_in = client.patch("/v1/search-spaces/nasbench201", json={"description": "x"})
    assert (built_in.status_code, "comes with the program" in built_in.json()["detail"]) == (409, True)


def test_an_observation_is_shown_with_what_became_of_it(client: TestClient, observation: str) -> None:
    before = client.get(observation).json()
    corrected = client.post(f"{observation}/correction", json={"value": 0.1, "reason": "typo"}).json()

    assert client.get(observation).json() == {**before, "superseded_by_id": corrected["id"]}
    assert client.get(f"{TASK}/observations/{corrected['id']}").json() == corrected
    assert client.get(f"{TASK}/observations/999").status_code == 404
    assert client.get(f"{TASK}/observations/x").status_code == 422


def test_what_was_seen_is_not_sent_again_until_it_changes(client: TestClient, observation: str) -> None:
    for path in (TASK, SPACE, observation, f"{TASK}/observations", "/v1/tasks?fields=id"):
        before = tag(client, path)
        for named in (before, f"W/{before}", f"{OTHER_TAG}, {before}", "*"):
            answer = client.get(path, headers={"If-None-Match": named})
            assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", before), path
            assert answer.headers["X-Request-ID"]
        assert client.get(path, headers={"If-None-Match": OTHER_TAG}).status_code == 200

    before = tag(client, TASK)
    client.post(f"{observation}/retraction", json={"reason": "wrong split"})
    assert client.get(TASK, headers={"If-None-Match": before}).status_code == 200


def test_every_edit_takes_a_tag_and_says_what_is_refused(app: FastAPI) -> None:
    operations = [
        (method, operation)
        for methods in app.openapi()["paths"].values()
        for method, operation in methods.items()
        if method in ("patch", "put", "delete")
        or operation["operationId"] in ("correct_observation", "retract_observation")
    ]

    assert len(operations) >= 4
    for _, operation in operations:
        assert "if-match" in {one["name"].lower() for one in operation["parameters"]}, operation["operationId"]
        assert "412" in operation["responses"], operation["operationId"]
