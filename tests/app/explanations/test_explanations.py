"""Explanations over HTTP and from the command line, of adaptations that were really made."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from app import cli_explanations, deadlines
from app.cli import app as command
from app.client import Client

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.usefixtures("champion")

Cells = list[dict[str, str]]
Explain = Callable[..., dict[str, Any]]
PATH = "/v1/tasks/digits/explanations"
PERCENT = {"name": "accuracy", "unit": "%", "direction": "maximize"}
SMALL = {"num_variants": 4, "num_pairs": 4, "num_steps": 16, "num_architectures": 6, "seed": 5}
DEFINITION = {
    "version": 1,
    "decisions": [
        {"name": "depth", "type": "integer", "low": 1, "high": 3},
        {"name": "op", "type": "categorical", "values": ["conv3x3", "skip_connect"], "repeat": "depth"},
        {"name": "width", "type": "ordinal", "values": [16, 32], "repeat": "depth", "when": {"op": "conv3x3"}},
    ],
}
CHAIN = {
    "nodes": [{"kind": "input"}, {"kind": "conv", "attributes": {"kernel_size": 3}}, {"kind": "max_pool"}, {"kind": "output"}],
    "edges": [[0, 1], [1, 2], [0, 2], [2, 3]],
}  # fmt: skip


@pytest.fixture
def explain(client: TestClient) -> Explain:
    def asked(*architectures: Any, **body: Any) -> dict[str, Any]:
        answer = client.post(PATH, json={"architectures": list(architectures), "options": SMALL, **body})
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    return asked


@pytest.fixture
def adapted(post_task: Any, cells: Cells, observe: Any, run_adaptations: Any) -> Cells:
    """A task that has adapted to twelve cells; the others."""
    post_task(metric=PERCENT)
    observe("digits", cells[:12], [60.0 + 3.0 * cell["genotype"].count("nor_conv_3x3") for cell in cells[:12]])
    run_adaptations()
    return cells[12:]


def test_swaps_are_forecasts_of_the_swapped(client: TestClient, adapted: Cells, explain: Explain) -> None:
    answer = explain(adapted[0]["genotype"], adapted[1]["genotype"])

    assert (answer["method"], answer["num_observations"], answer["unit"]) == ("swaps", 12, "%")
    assert [one["index"] for one in answer["explanations"]] == [0, 1]
    own = answer["explanations"][0]
    assert (own["architecture_id"], own["genotype"]) == (adapted[0]["id"], adapted[0]["genotype"])
    assert [part["name"] for part in own["parts"]][:2] == ["edge_0_1", "edge_0_2"]
    for part in own["parts"]:
        assert len(part["swaps"]) == 4
        assert part["value"] == pytest.approx(-sum(one["effect"] for one in part["swaps"]) / 4)
        assert part["sentence"].startswith(f"{part['chosen']} as {part['name']} is worth ")
    swap = own["parts"][0]["swaps"][0]
    asked = {"architectures": [own["genotype"], swap["genotype"]]}
    means = [one["mean"] for one in client.post("/v1/tasks/digits/predictions", json=asked).json()["predictions"]]
    assert [own["forecast"], swap["forecast"]] == pytest.approx(means)
    assert swap["effect"] == pytest.approx(means[1] - means[0])
    assert swap["std_error"] > 0.0


def test_shapley_values_add_up_and_have_errors(adapted: Cells, explain: Explain) -> None:
    (own,) = explain(adapted[0]["genotype"], method="shapley")["explanations"]

    assert own["is_exact"]
    assert own["base"] + sum(part["value"] for part in own["parts"]) == pytest.approx(own["forecast"])
    assert all(part["std_error"] >= 0.0 and part["swaps"] == [] for part in own["parts"])


def test_the_same_seed_gives_the_same_answer(adapted: Cells, explain: Explain) -> None:
    first = explain(adapted[0]["genotype"], method="shapley", options={"num_variants": 4})
    again = explain(adapted[0]["genotype"], method="shapley", options={"num_variants": 4, "seed": first["seed"]})

    assert again == first


def test_integrated_gradients_share_the_forecast_among_nodes_and_edges(adapted: Cells, explain: Explain) -> None:
    pytest.importorskip("captum", reason="integrated gradients are an optional extra")
    (own,) = explain(adapted[0]["genotype"], method="integrated_gradients")["explanations"]

    found = own["gradients"]
    shares = [one["share"] for one in (*found["nodes"], *found["edges"])] + list(found["decisions"].values())
    total = own["base"] + sum(shares) + found["statistics"] + found["related_tasks"] + found["completeness_error"]
    assert total == pytest.approx(own["forecast"])
    assert [one["node"] for one in found["nodes"]] == list(range(len(own["graph"]["nodes"])))
    assert [[one["source"], one["target"]] for one in found["edges"]] == own["graph"]["edges"]
    assert 0.0 <= found["coverage"] <= 1.0


def test_a_task_is_summarised_by_what_choices_are_worth(adapted: Cells, explain: Explain) -> None:
    answer = explain(task_summary=True)

    summary = answer["summary"]
    assert (answer["method"], answer["explanations"], summary["num_architectures"]) == ("task_summary", [], 6)
    spreads = summary["spreads"]
    assert set(spreads) == {"edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3"}
    assert list(spreads.values()) == sorted(spreads.values(), reverse=True)
    for decision in spreads:
        effects = [one for one in summary["effects"] if one["decision"] == decision]
        assert {one["choice"] for one in effects} == {
            "none",
            "skip_connect",
            "nor_conv_1x1",
            "nor_conv_3x3",
            "avg_pool_3x3",
        }
        assert sum(one["effect"] for one in effects) == pytest.approx(0.0, abs=1e-6)  # against the average choice
        assert all("percentage points here (standard error" in one["sentence"] for one in effects)


def test_declared_spaces_are_explained_by_their_decisions(client: TestClient, post_task: Any, explain: Explain) -> None:
    client.post("/v1/search-spaces", json={"name": "mine", "definition": DEFINITION})
    post_task(search_space="mine")

    (own,) = explain({"depth": 2, "op": ["conv3x3", "skip_connect"], "width": [32, None]})["explanations"]

    choices = {part["name"]: [one["choice"] for one in part["swaps"]] for part in own["parts"]}
    assert choices == {"depth": ["1", "3"], "op[0]": ["skip_connect"], "op[1]": ["conv3x3"], "width[0]": ["16"]}
    assert {one["std_error"] for part in own["parts"] for one in part["swaps"]} == {None}  # nothing was observed


def test_graphs_are_explained_by_operations_and_edges(post_task: Any, explain: Explain) -> None:
    post_task(search_space="graph")

    swaps = explain(CHAIN)["explanations"][0]
    summary = explain(CHAIN, {**CHAIN, "edges": [[0, 1], [1, 2], [2, 3]]}, task_summary=True)["summary"]

    parts = {tuple(part["nodes"]): part for part in swaps["parts"]}
    nodes = swaps["graph"]["nodes"]
    assert {nodes[at[0]]["kind"] for at in parts if len(at) == 1} == {"conv", "max_pool"}
    edges = [at for at in parts if len(at) == 2]
    assert [[nodes[end]["kind"] for end in at] for at in edges] == [["input", "max_pool"]]  # the only one that may go
    assert [one["choice"] for one in parts[edges[0]]["swaps"]] == ["gone"]
    assert {one["decision"] for one in summary["effects"]} == {"operation", "edge"}


def test_the_open_space_has_no_average_of_its_own(client: TestClient, post_task: Any) -> None:
    post_task(search_space="graph")

    answer = client.post(PATH, json={"task_summary": True})

    assert answer.status_code == 422
    assert "expected architectures to average over" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "1 to 20 architectures, or task_summary, got 0"),
        ({"architectures": ["x"] * 21}, "got 21"),
        ({"architectures": ["x"], "method": "guess"}, "swaps"),
        ({"task_summary": True, "method": "swaps"}, "got both"),
        ({"architectures": ["x"], "options": {"num_variants": 1}}, "num_variants"),
        ({"architectures": ["x"], "options": {"num_steps": 10_000}}, "num_steps"),
        ({"architectures": ["x"], "why": True}, "why"),
        ({"architectures": [7]}, "body.architectures.0: expected an architecture as text"),
        ({"architectures": ["nonsense"]}, "body.architectures.0"),
        ({"architectures": [{"id": "0" * 32}]}, "posted before"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    client: TestClient, post_task: Any, body: dict[str, Any], said: str
) -> None:
    post_task()

    answer = client.post(PATH, json=body)

    assert answer.status_code == 422
    assert said in answer.text


def test_an_unknown_task_is_not_found(client: TestClient, cells: Cells) -> None:
    assert client.post(PATH, json={"architectures": [cells[0]["genotype"]]}).status_code == 404


def test_an_observed_architecture_may_be_named_by_its_id(adapted: Cells, cells: Cells, explain: Explain) -> None:
    (own,) = explain({"id": cells[0]["id"]})["explanations"]

    assert own["architecture_id"] == cells[0]["id"]


def test_nothing_is_recorded(client: TestClient, adapted: Cells, explain: Explain, database: Any) -> None:
    from sqlalchemy import func, select

    from app.tables import Table

    def counts() -> dict[str, int]:
        with database.read() as session:
            return {
                one.name: session.scalar(select(func.count()).select_from(one)) for one in Table.metadata.sorted_tables
            }

    before = counts()
    explain(adapted[0]["genotype"])
    client.app.state.predictions._log.flush()  # type: ignore[attr-defined]

    assert counts() == before


def test_work_ends_with_the_request(adapted: Cells, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def over() -> None:
        raise deadlines.timed_out(30.0)

    monkeypatch.setattr("app.deadlines.check", over)

    answer = client.post(PATH, json={"architectures": [adapted[0]["genotype"]]})

    assert answer.status_code == 504


@pytest.fixture
def say(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs `archcast explain` against the service of the test."""

    def connected(url: str) -> Client:
        reached = Client(url)
        reached._http.close()
        reached._http = client
        return reached

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(command, ["explain", "digits", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    monkeypatch.setattr(Client, "close", lambda self: None)
    monkeypatch.setattr(cli_explanations, "Client", connected)
    return run


def test_the_command_explains_an_architecture_and_a_task(adapted: Cells, say: Callable[..., str]) -> None:
    swaps = say(adapted[0]["genotype"])
    shapley = say(adapted[0]["genotype"], "--method", "shapley", "--seed", "1")
    summary = say("--seed", "1")
    document = json.loads(say(adapted[0]["genotype"], "--json"))

    assert swaps.splitlines()[0] == adapted[0]["genotype"]
    assert "edge_0_1" in swaps
    assert "compared with" in shapley
    assert "as edge_0_1 is worth" in summary
    assert document["method"] == "swaps"
