"""A task goes into a file and out of it into a service, the same to the last digit, once however often."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app import exchange
from app.client import Client
from app.errors import ConflictError, InvalidContentError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

Cells = list[dict[str, str]]
KEPT = (*exchange.CONTENT, "client_key")
ENDINGS = ("jsonl", "csv", "parquet")


@pytest.fixture
def caller(client: TestClient) -> Client:
    reached = Client("http://service")
    reached.close()
    reached._http = client
    return reached


@pytest.fixture
def measured(caller: Client, post_task: Any, cells: Cells) -> str:
    """A task with every kind of observation."""
    post_task("digits", max_fidelity=9, metadata={"owner": "é", "n": [1, None]}, device="gpu")
    genotypes = [cell["genotype"] for cell in cells]
    rows = [
        {"architecture": genotypes[0], "value": 0.1 + 0.2, "std_error": 1 / 3, "seed": 2**63 - 1, "fidelity": 9.0},
        {"architecture": genotypes[0], "value": 0.1 + 0.2, "std_error": 1 / 3, "seed": 2**63 - 1, "fidelity": 9.0},
        {
            "architecture": genotypes[1],
            "value": 5e-324,
            "seed": -1,
            "fidelity": 1 / 3,
            "cost": 41.5,
            "client_key": 'a,"b"\n',
        },
        {"architecture": genotypes[2], "status": "failed", "reason": "out of memory", "client_key": "\\n"},
        {"architecture": genotypes[3], "status": "infeasible"},
        {"architecture": genotypes[4], "value": -0.0, "client_key": "#4"},
    ]
    ids = [one["id"] for one in caller.post_observations("digits", rows)["observations"]]
    corrected = caller.correct_observation("digits", ids[1], "two digits were swapped", value=0.25)
    caller.correct_observation("digits", corrected["id"], "it failed, in truth", status="failed")
    caller.retract_observation("digits", ids[5], "the wrong data set")
    return "digits"


def histories(caller: Client, task: str) -> list[list[tuple[Any, ...]]]:
    """What was observed, each with what took its place: without ids and times."""
    chains: dict[int, list[tuple[Any, ...]]] = {}
    for one in caller.observations(task, include_superseded=True, sort="id"):
        chain = chains.pop(one["supersedes_id"]) if one["supersedes_id"] else []
        chains[one["id"]] = [*chain, tuple(one[name] for name in KEPT)]
    return sorted(chains.values(), key=repr)


@pytest.mark.both_engines
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_task_comes_back_as_it_was(caller: Client, measured: str, tmp_path: Path, ending: str, engine: str) -> None:
    file = tmp_path / f"task.{ending}"

    assert exchange.export_task(caller, measured, file) == 9
    imported = exchange.import_task(caller, file, "copy")

    assert (imported.num_created, imported.num_duplicates) == (9, 0)
    assert repr(histories(caller, "copy")) == repr(histories(caller, measured))
    before, after = caller.task(measured), caller.task("copy")
    for name in ("search_space", "dataset", "metric", "device", "max_fidelity", "metadata", "num_observations"):
        assert after[name] == before[name]


@pytest.mark.both_engines
def test_importing_again_adds_nothing_there_or_where_it_came_from(
    caller: Client, measured: str, tmp_path: Path, engine: str
) -> None:
    file = tmp_path / "task.jsonl"
    exchange.export_task(caller, measured, file)
    before = histories(caller, measured)
    exchange.import_task(caller, file, "copy")

    again = exchange.import_task(caller, file, "copy")
    at_home = exchange.import_task(caller, file)

    assert (again.num_created, again.num_duplicates) == (0, 9)
    assert (at_home.task, at_home.num_created) == (measured, 0)
    assert histories(caller, "copy") == histories(caller, measured) == before


def test_a_later_export_adds_what_is_new_corrections_of_the_old_included(
    caller: Client, measured: str, cells: Cells, tmp_path: Path
) -> None:
    exchange.export_task(caller, measured, tmp_path / "monday.jsonl")
    exchange.import_task(caller, tmp_path / "monday.jsonl", "copy")
    first = next(iter(caller.observations(measured)))
    caller.correct_observation(measured, first["id"], "measured anew", value=0.5)
    caller.post_observations(measured, [{"architecture": cells[7]["genotype"], "value": 0.7}])
    exchange.export_task(caller, measured, tmp_path / "tuesday.jsonl")

    imported = exchange.import_task(caller, tmp_path / "tuesday.jsonl", "copy")
    older = exchange.import_task(caller, tmp_path / "monday.jsonl", "copy")

    assert imported.num_created == 2
    assert older.num_created == 0
    assert histories(caller, "copy") == histories(caller, measured)


def test_an_import_that_was_cut_off_goes_on(
    caller: Client, measured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange.export_task(caller, measured, tmp_path / "task.jsonl")
    with monkeypatch.context() as cut:
        cut.setattr(Client, "retract_observation", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            exchange.import_task(caller, tmp_path / "task.jsonl", "copy")

    imported = exchange.import_task(caller, tmp_path / "task.jsonl", "copy")

    assert imported.num_created == 1
    assert histories(caller, "copy") == histories(caller, measured)


def test_another_history_under_the_same_key_is_refused_and_nothing_is_written(
    caller: Client, measured: str, tmp_path: Path
) -> None:
    exchange.export_task(caller, measured, tmp_path / "task.jsonl")
    exchange.import_task(caller, tmp_path / "task.jsonl", "copy")
    (keyed,) = [one for one in caller.observations("copy") if one["client_key"] == "\\n"]
    caller.correct_observation("copy", keyed["id"], "it went well", value=0.9)
    lines = (tmp_path / "task.jsonl").read_text().splitlines()
    changed = [line.replace("out of memory", "out of time") for line in lines]
    (tmp_path / "other.jsonl").write_text("\n".join(changed))
    before = histories(caller, "copy")

    with pytest.raises(ConflictError, match="nothing was imported"):
        exchange.import_task(caller, tmp_path / "other.jsonl", "copy")

    assert histories(caller, "copy") == before


def test_a_declared_space_goes_with_its_task(caller: Client, tmp_path: Path) -> None:
    definition = {"version": 1, "decisions": [{"name": "depth", "type": "integer", "low": 1, "high": 8}]}
    caller.declare_search_space("mine", definition, "my own")
    caller.create_task("depths", "mine", "digits", {"name": "a", "unit": "1", "direction": "minimize"})
    caller.post_observations("depths", [{"architecture": {"depth": 3}, "value": 0.5}])
    exchange.export_task(caller, "depths", tmp_path / "task.csv")
    text = (tmp_path / "task.csv").read_text()
    (tmp_path / "moved.csv").write_text(text.replace('"mine"', '"theirs"'))

    imported = exchange.import_task(caller, tmp_path / "moved.csv", "moved")

    assert imported.num_created == 1
    assert caller.search_space("theirs")["definition"] == definition


def test_graphs_go_with_their_nodes(caller: Client, tmp_path: Path) -> None:
    graph = {
        "nodes": [{"kind": "input"}, {"kind": "conv", "attributes": {"kernel_size": 3}}, {"kind": "output"}],
        "edges": [[0, 1], [1, 2]],
    }
    caller.create_task("graphs", "graph", "digits", {"name": "a", "unit": "1", "direction": "minimize"})
    caller.post_observations("graphs", [{"architecture": graph, "value": 0.5}])
    exchange.export_task(caller, "graphs", tmp_path / "task.jsonl")

    exchange.import_task(caller, tmp_path / "task.jsonl", "copy")

    assert histories(caller, "copy") == histories(caller, "graphs")


def _without_header(lines: list[str]) -> list[str]:
    return lines[1:]


def _newer(lines: list[str]) -> list[str]:
    return [json.dumps({**json.loads(lines[0]), "format": 2}), *lines[1:]]


def _other_columns(lines: list[str]) -> list[str]:
    return [lines[0], json.dumps({"id": 1, "value": 2}), *lines[1:]]


def _orphan(lines: list[str]) -> list[str]:
    return [lines[0], *(line for line in lines[1:] if json.loads(line)["supersedes_id"] is not None)]


def _broken(lines: list[str]) -> list[str]:
    return [*lines, "{"]


@pytest.mark.parametrize("change", [_without_header, _newer, _other_columns, _orphan, _broken])
def test_what_is_no_export_is_refused(
    caller: Client, measured: str, tmp_path: Path, change: Callable[[list[str]], list[str]]
) -> None:
    file = tmp_path / "task.jsonl"
    exchange.export_task(caller, measured, file)
    file.write_text("\n".join(change(file.read_text().splitlines())))

    with pytest.raises(InvalidContentError, match=r"task\.jsonl.*expected"):
        exchange.import_task(caller, file, "copy")

    assert [task["name"] for task in caller.tasks()] == ["digits"]


def test_an_export_that_fails_leaves_the_old_file(caller: Client, measured: str, tmp_path: Path) -> None:
    file = tmp_path / "task.xlsx"
    file.write_text("old")

    with pytest.raises(InvalidContentError, match=r"expected a file that ends in \.jsonl, \.csv, \.parquet"):
        exchange.export_task(caller, measured, file)

    assert file.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []
