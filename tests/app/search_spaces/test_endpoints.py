"""/v1/search-spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

DEFINITION = {
    "version": 1,
    "decisions": [
        {"name": "depth", "type": "integer", "low": 1, "high": 3},
        {"name": "activation", "type": "categorical", "values": ["relu", "gelu"]},
    ],
}
DECLARATION: dict[str, Any] = {"name": "mine", "description": "My own.", "definition": DEFINITION}


def test_built_in_search_spaces_are_listed_from_the_start(client: TestClient) -> None:
    kinds = {space["name"]: space["kind"] for space in client.get("/v1/search-spaces").json()["items"]}

    assert kinds["nasbench201"] == "built_in"
    assert kinds["graph"] == "graph"


@pytest.mark.both_engines
def test_the_list_can_be_read_page_by_page(client: TestClient) -> None:
    whole = [space["name"] for space in client.get("/v1/search-spaces").json()["items"]]

    found: list[str] = []
    cursor: str | None = None
    while cursor is not None or not found:
        parameters = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/search-spaces", params=parameters).json()
        found += [space["name"] for space in page["items"]]
        cursor = page["next_cursor"]

    assert found == whole == sorted(whole)


@pytest.mark.both_engines
def test_a_declared_search_space_is_shown_as_it_was_declared(client: TestClient) -> None:
    posted = client.post("/v1/search-spaces", json=DECLARATION)

    assert posted.status_code == 201
    assert posted.json() == client.get("/v1/search-spaces/mine").json()
    assert (posted.json()["kind"], posted.json()["definition"]) == ("declared", DEFINITION)
    assert posted.json()["size"] == 6


@pytest.mark.both_engines
def test_declaring_the_same_again_is_harmless(client: TestClient) -> None:
    first = client.post("/v1/search-spaces", json=DECLARATION)
    again = client.post("/v1/search-spaces", json=DECLARATION)

    assert (again.status_code, again.json()) == (200, first.json())


@pytest.mark.both_engines
@pytest.mark.parametrize("name", ["mine", "nasbench201", "graph"])
def test_another_definition_under_a_taken_name_is_a_conflict(client: TestClient, name: str) -> None:
    client.post("/v1/search-spaces", json=DECLARATION)
    other = {"version": 1, "decisions": DEFINITION["decisions"][:1]}  # type: ignore[index]

    answer = client.post("/v1/search-spaces", json={"name": name, "definition": other})

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"definition": {}}, id="empty definition"),
        pytest.param({"definition": {"decisions": [{"name": "x", "type": "colour"}]}}, id="unknown type"),
        pytest.param({"definition": [1]}, id="definition is a list"),
        pytest.param({"name": "no spaces"}, id="name with a space"),
        pytest.param({"name": "x" * 65}, id="long name"),
        pytest.param({"name": "trailing\n"}, id="name with a line break"),
        pytest.param({"name": 5}, id="name is a number"),
        pytest.param({"kind": "built_in"}, id="unknown member"),
    ],
)
def test_a_wrong_declaration_is_refused(client: TestClient, change: dict[str, Any]) -> None:
    answer = client.post("/v1/search-spaces", json={**DECLARATION, **change})

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-content")


@pytest.mark.both_engines
@pytest.mark.parametrize("name", ["unknown", "%00", "a%20b", "x" * 500])
@pytest.mark.parametrize("path", ["", "/sample"])
def test_an_unknown_search_space_is_not_found(client: TestClient, name: str, path: str) -> None:
    answer = client.get(f"/v1/search-spaces/{name}{path}")

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


@pytest.mark.parametrize("space", ["nasbench201", "graph", "mine"])
def test_a_sample_is_drawn_again_by_its_seed(client: TestClient, space: str) -> None:
    client.post("/v1/search-spaces", json=DECLARATION)

    first = client.get(f"/v1/search-spaces/{space}/sample?count=5").json()
    again = client.get(f"/v1/search-spaces/{space}/sample?count=5&seed={first['seed']}").json()

    assert len(first["architectures"]) == 5
    assert again == first


@pytest.mark.parametrize("query", ["count=0", "count=1001", "count=x", "seed=-1", "seed=9223372036854775808"])
def test_a_sample_outside_the_limits_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/v1/search-spaces/nasbench201/sample?{query}").status_code == 422


def test_every_notation_is_answered_at_its_index(client: TestClient) -> None:
    cell = client.get("/v1/search-spaces/nasbench201/sample?seed=1").json()["architectures"][0]
    written = [cell["genotype"], "nonsense", {"nodes": [], "edges": []}, 7, None, [[[]]], {"id": "unknown"}]

    answer = client.post("/v1/search-spaces/nasbench201/validate", json={"architectures": written}).json()

    assert [result["valid"] for result in answer["results"]] == [True, *[False] * 6]
    assert (answer["num_valid"], answer["results"][0]["id"]) == (1, cell["id"])
    assert [result["error"]["location"][-1] for result in answer["results"][1:]] == [1, 2, 3, 4, 5, 6]
    assert all("expected" in result["error"]["message"] for result in answer["results"][1:])


def test_validation_keeps_nothing(client: TestClient) -> None:
    cell = client.get("/v1/search-spaces/nasbench201/sample?seed=1").json()["architectures"][0]

    client.post("/v1/search-spaces/nasbench201/validate", json={"architectures": [cell["genotype"]]})

    assert client.get(f"/v1/architectures/{cell['id']}").status_code == 404


@pytest.mark.parametrize("body", [{"architectures": []}, {"architectures": "one"}, {}, []])
def test_a_validation_of_nothing_is_refused(client: TestClient, body: Any) -> None:
    assert client.post("/v1/search-spaces/nasbench201/validate", json=body).status_code == 422
