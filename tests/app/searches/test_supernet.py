"""Differentiable search as a job: real supernets on sixty digits."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from event_streams import read
from sqlalchemy import select, update

from app.tables import JobCheckpointRecord, JobRecord, WebhookDeliveryRecord, utc_now

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.database import Database
    from app.settings import Settings

both_engines = pytest.mark.both_engines

Document = dict[str, Any]

SMALL: Document = {
    "dataset": "few_digits",
    "epochs": 3,
    "batch_size": 15,
    "architecture_rate": 0.1,
    "stack": {"stem_channels": 2, "num_stages": 1},
    "retraining": {"epochs": 2, "batch_size": 30},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the operator with sixty digits to learn and forty to be tested on."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = (digits.images * 15).astype(np.uint8), digits.target.astype(np.uint8)
    made = tmp_path / "datasets"
    made.mkdir()
    arrays = {"x_train": images[:60], "y_train": labels[:60], "x_test": images[60:100], "y_test": labels[60:100]}
    np.savez(made / "few_digits.npz", **arrays)
    return made


@pytest.fixture
def settings(settings: Settings, folder: Path) -> Settings:
    return settings.model_copy(update={"datasets": folder})


@pytest.fixture
def task(post_task: Callable[..., Document]) -> Document:
    return post_task("cells", dataset="few_digits", max_fidelity=9)


@pytest.fixture
def post(client: TestClient) -> Callable[..., Any]:
    """Asks for a differentiable search; settings are replaced one by one."""

    def posted(changes: Document | None = None, **members: Any) -> Any:
        body = {
            "objectives": [{"task": "cells"}],
            "strategy": "darts",
            "settings": {**SMALL, **(changes or {})},
            "seed": 3,
            **members,
        }
        return client.post("/v1/searches", json=body)

    return posted


@pytest.fixture
def begin(post: Callable[..., Any]) -> Callable[..., int]:
    """Starts one; its id."""

    def begun(changes: Document | None = None, **members: Any) -> int:
        answer = post(changes, **members)
        assert answer.status_code == 201, answer.text
        search_id: int = answer.json()["id"]
        return search_id

    return begun


@pytest.fixture
def train(worker: Any) -> Callable[[], int]:
    """Runs what is due of supernets; how many steps there were."""

    def run() -> int:
        count = 0
        while worker.run_one(["supernet"]):
            count += 1
        return count

    return run


@pytest.fixture
def after_epoch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Does something when an epoch has been trained, before it is kept; the epochs that came, as they come."""
    from app.searches.supernet_driving import _Descent

    def arrange(number: int, work: Callable[[], object]) -> list[int]:
        seen: list[int] = []
        real = _Descent._commit

        def commit(self: _Descent, epoch: Any) -> None:
            seen.append(epoch.epoch)
            if len(seen) == number:
                work()
            real(self, epoch)

        monkeypatch.setattr(_Descent, "_commit", commit)
        return seen

    return arrange


def events(client: TestClient, search_id: int, kind: str) -> list[Document]:
    stream = client.get(f"/v1/searches/{search_id}/events").text
    return [one["data"] for one in read(stream) if one["event"] == kind]


def told(client: TestClient, search_id: int) -> list[Document]:
    """What is told of every epoch, without when and under which id."""
    return [{key: value for key, value in one.items() if key != "at"} for one in events(client, search_id, "epoch")]


def act(client: TestClient, search_id: int, action: str) -> Document:
    answer = client.post(f"/v1/searches/{search_id}:{action}")
    assert answer.status_code == 200, answer.text
    document: Document = answer.json()
    return document


def num_checkpoints(database: Database) -> int:
    with database.read() as session:
        return len(session.execute(select(JobCheckpointRecord.job_id)).all())


@both_engines
def test_a_search_trains_chooses_retrains_and_observes_what_it_found(
    client: TestClient, database: Database, task: Any, begin: Any, show: Any, train: Any
) -> None:
    client.post("/v1/webhooks", json={"url": "https://example.com/hook", "events": ["search.finished"]})
    search_id = begin()
    queued = show(search_id)
    assert (queued["state"], queued["mode"], queued["evaluator"]) == ("queued", "measured", "supernet")
    assert queued["budget"] == {"evaluations": None, "seconds": 604_800.0}
    assert client.get(f"/v1/searches/{search_id}/best").status_code == 409, "nothing was chosen yet"
    train()

    document, job = show(search_id), client.get(f"/v1/jobs/{search_id}").json()
    epochs, result = events(client, search_id, "epoch"), job["result"]
    assert (document["state"], document["percent"], document["ending"]) == ("done", 100.0, "its 3 epochs are done")
    assert [(one["stage"], one["epoch"], one["num_epochs"]) for one in epochs] == [
        *(("searching", number, 3) for number in (1, 2, 3)),
        *(("retraining", number, 2) for number in (1, 2)),
    ]
    assert [one["percent"] for one in epochs] == pytest.approx([20.0, 40.0, 60.0, 80.0, 100.0])
    assert all(one["train_loss"] > 0.0 for one in epochs)
    assert all(0.0 <= one["validation_accuracy_percent"] <= 100.0 for one in epochs[:3])
    best = document["best"]
    assert best["genotype"] == epochs[2]["genotype"] == epochs[4]["genotype"] == result["best_genotype"]
    assert (best["source"], best["values"]) == ("training", [pytest.approx(result["accuracy_percent"] / 100.0)])
    assert epochs[4]["accuracy_percent"] == result["accuracy_percent"]

    (observation,) = client.get("/v1/tasks/cells/observations").json()["items"]
    assert observation["id"] == result["observation_id"]
    assert (observation["architecture_id"], observation["value"]) == (best["architecture_id"], best["value"])
    assert (observation["seed"], observation["fidelity"]) == (3, 9.0)
    (front,) = client.get(f"/v1/searches/{search_id}/pareto").json()["items"]
    assert front["number"] == best["number"] == 4
    evaluated = client.get(f"/v1/searches/{search_id}/evaluations").json()["items"]
    assert [one["source"] for one in evaluated] == ["supernet"] * 3 + ["training"]
    assert [one["genotype"] for one in evaluated[:3]] == [one["genotype"] for one in epochs[:3]]
    assert num_checkpoints(database) == 0, "removed when the search has ended"
    with database.read() as session:
        (delivery,) = session.scalars(select(WebhookDeliveryRecord.body)).all()
    assert json.loads(delivery)["data"]["result"]["best_value"] == best["value"]


def test_a_task_about_something_else_observes_nothing(
    client: TestClient, post_task: Any, begin: Any, show: Any, train: Any
) -> None:
    latency = {"name": "latency_ms", "unit": "ms", "direction": "minimize"}
    post_task("slow", dataset="few_digits", metric=latency)
    post_task("faces", dataset="faces")
    short = {"epochs": 1, "retraining": {"epochs": 1}}
    found = [begin(short, objectives=[{"task": name}]) for name in ("slow", "faces")]
    train()

    for search_id, name in zip(found, ("slow", "faces"), strict=True):
        best = show(search_id)["best"]
        assert (best["source"], best["values"]) == ("training", None)
        assert "of the test images of few_digits, which is not what the task is about" in best["reason"]
        assert client.get(f"/v1/tasks/{name}/observations").json()["items"] == []
        assert client.get(f"/v1/searches/{search_id}/best").json()["values"] == []
        assert client.get(f"/v1/searches/{search_id}/pareto").json()["items"] == []


def test_a_search_with_guards_and_without_retraining_ends_with_what_it_has_chosen(
    client: TestClient, task: Any, begin: Any, show: Any, train: Any
) -> None:
    guarded = {
        "order": "second",
        "normalises_edges": True,
        "warmup_epochs": 1,
        "stack": {"stem_channels": 4, "num_stages": 1, "partial_channels": 2},
        "early_stopping": {"window": 1, "distance": 1, "ratio": 0.999999, "iterations": 2},
        "retraining": {"epochs": 0},
        "epochs": 6,
    }
    search_id = begin(guarded)
    train()

    document, result = show(search_id), client.get(f"/v1/jobs/{search_id}").json()["result"]
    epochs = events(client, search_id, "epoch")
    eigenvalues = [one["eigenvalue"] for one in epochs]
    grown = [after for before, after in itertools.pairwise(eigenvalues) if after > max(before, 0.0)]
    assert document["state"] == "done", document["error"]
    assert result["accuracy_percent"] is result["observation_id"] is None
    if grown:
        back = result["went_back_to_epoch"]
        assert (back, len(epochs)) == (eigenvalues.index(grown[0]), eigenvalues.index(grown[0]) + 1)
        assert f"went back to epoch {back}" in document["ending"]
        assert document["best"]["genotype"] == epochs[back - 1]["genotype"]
    else:
        assert (result["went_back_to_epoch"], len(epochs)) == (None, 6)
    assert document["best"]["source"] == "supernet"


def test_another_worker_goes_on_where_a_killed_one_was_and_finds_the_same(
    client: TestClient,
    database: Database,
    settings: Settings,
    task: Any,
    begin: Any,
    show: Any,
    train: Any,
    request: pytest.FixtureRequest,
) -> None:
    longer = {"epochs": 12}
    whole = begin(longer)
    train()
    search_id = begin(longer)
    killed = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "worker", "--kinds", "supernet", "--once"],
        env={**os.environ, **settings.as_environment(), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    request.addfinalizer(lambda: (killed.kill(), killed.wait()))
    deadline = time.monotonic() + 300.0
    while show(search_id)["num_evaluated"] == 0:
        assert killed.poll() is None, "expected the worker to be searching, got one that has ended"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    left_off = show(search_id)
    assert left_off["state"] == "running", "killed too late to show anything"
    assert client.get(f"/v1/searches/{search_id}/best").json()["genotype"] == left_off["best"]["genotype"]
    assert num_checkpoints(database) == 1
    with database.write() as session:  # its lease runs out
        session.execute(update(JobRecord).values(lease_expires_at=utc_now() - timedelta(seconds=1)))
    train()

    assert show(search_id)["state"] == show(whole)["state"] == "done", show(search_id)["error"]
    assert told(client, search_id) == told(client, whole), "as if nobody had been killed"
    assert show(search_id)["best"]["value"] == show(whole)["best"]["value"]


@both_engines
def test_a_paused_search_goes_on_from_its_epoch(
    client: TestClient, task: Any, begin: Any, show: Any, train: Any, after_epoch: Any
) -> None:
    whole = begin()
    train()
    search_id = begin()
    seen = after_epoch(2, lambda: act(client, search_id, "pause"))
    train()

    paused = show(search_id)
    assert (paused["state"], paused["percent"], seen) == ("paused", pytest.approx(40.0), [1, 2])
    assert not train()
    act(client, search_id, "resume")
    train()
    assert (show(search_id)["state"], seen) == ("done", [1, 2, 3, 1, 2])
    assert told(client, search_id) == told(client, whole)


@both_engines
def test_a_cancelled_search_keeps_what_it_had_chosen_and_no_checkpoint(
    client: TestClient, database: Database, task: Any, begin: Any, show: Any, train: Any, after_epoch: Any
) -> None:
    search_id = begin()
    seen = after_epoch(2, lambda: act(client, search_id, "cancel"))
    train()

    document = show(search_id)
    assert (document["state"], seen, document["num_evaluated"]) == ("cancelled", [1, 2], 1)
    assert client.get(f"/v1/searches/{search_id}/best?format=dag").json()["dag"]["nodes"]
    assert num_checkpoints(database) == 0
    client.post(f"/v1/jobs/{search_id}:retry")
    train()
    again = show(search_id)
    assert (again["state"], again["num_evaluated"]) == ("done", 1 + 3 + 1), "it began again"


def test_a_search_is_cancelled_in_the_middle_of_an_epoch(
    client: TestClient, task: Any, begin: Any, show: Any, train: Any, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.searches.held import HeldSearch

    search_id = begin({"batch_size": 2})
    real, num_batches = HeldSearch.check, [0]

    def check(self: HeldSearch) -> None:
        num_batches[0] += 1
        if num_batches[0] == 3:
            act(client, search_id, "cancel")
            self._progress.cancel()  # as the next heartbeat does
        real(self)

    monkeypatch.setattr(HeldSearch, "check", check)
    train()

    assert (show(search_id)["state"], num_batches, events(client, search_id, "epoch")) == ("cancelled", [3], [])


def test_a_worker_that_was_thought_dead_but_was_not_writes_nothing(
    client: TestClient, database: Database, task: Any, begin: Any, show: Any, train: Any, worker: Any, after_epoch: Any
) -> None:
    search_id = begin()

    def lose() -> None:
        with database.write() as session:
            session.execute(update(JobRecord).values(lease_expires_at=utc_now() - timedelta(seconds=1)))
        train()  # somebody else takes it over, and ends it

    seen = after_epoch(2, lose)
    worker.run_one(["supernet"])

    assert seen == [1, 2, 2, 3, 1, 2]
    assert (show(search_id)["state"], show(search_id)["num_evaluated"]) == ("done", 4)
    assert len(events(client, search_id, "epoch")) == 5
    assert len(client.get("/v1/tasks/cells/observations").json()["items"]) == 1


def test_a_search_ends_when_its_time_is_spent(task: Any, begin: Any, show: Any, train: Any) -> None:
    search_id = begin(budget={"seconds": 0.001})
    train()

    document = show(search_id)
    assert (document["state"], document["ending"]) == ("done", "its budget of 0.001 s is spent")
    assert (document["num_evaluated"], document["best"]["source"]) == (1, "supernet")


def test_searches_take_turns(task: Any, begin: Any, show: Any, train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.searches import supernet_driving

    monkeypatch.setattr(supernet_driving, "_SLICE_SECONDS", 0.0)
    alone = begin()
    assert train() == 1, "nobody waits"
    first, second = begin(), begin()
    while {show(one)["state"] for one in (first, second)} != {"done"}:
        assert train() or show(first)["state"] != "failed"

    assert show(alone)["best"]["value"] == show(first)["best"]["value"] == show(second)["best"]["value"]


def test_a_data_set_that_a_worker_does_not_have_or_that_has_changed_fails_the_search(
    folder: Path, task: Any, begin: Any, show: Any, train: Any, client: TestClient, after_epoch: Any
) -> None:
    search_id = begin()
    after_epoch(1, lambda: act(client, search_id, "pause"))
    train()
    gone = begin()
    with np.load(folder / "few_digits.npz") as file:
        arrays = {**file, "x_train": file["x_train"][::-1]}
    (folder / "few_digits.npz").unlink()
    train()
    np.savez(folder / "few_digits.npz", **arrays)
    act(client, search_id, "resume")
    train()

    assert (show(gone)["state"], "expected one of the data sets digits" in show(gone)["error"]) == ("failed", True)
    assert show(search_id)["state"] == "failed"
    assert "expected a checkpoint of the same space, data set and settings" in show(search_id)["error"]


UNSUITED: list[tuple[Document, list[Any], str]] = [
    ({"objectives": [{"task": "cells"}, {"task": "other"}]}, ["objectives"], "expected one task with the strategy"),
    ({"objectives": [{"task": "graphs"}]}, ["settings"], "expected a search space of cells"),
    (
        {"objectives": [{"task": "cells", "direction": "minimize"}]},
        ["objectives", 0, "direction"],
        "expected no direction but the task's own with darts, got minimize",
    ),
    ({"mode": "guided"}, ["mode"], "expected measured, or none, with the strategy darts, got guided"),
    ({"evaluator": "trials"}, ["evaluator"], "expected supernet, or none, with the strategy darts, got trials"),
    ({"budget": {"evaluations": 9}}, ["budget"], "for the epochs are its length, with the strategy darts"),
    ({"budget": {"seconds": 604_801}}, ["budget"], "expected at most 604800 seconds"),
    ({"constraints": ["params<=9"]}, ["constraints"], "expected no constraints with the strategy darts, got 1"),
    ({"start": ["x"]}, ["start"], "expected no architectures to begin with"),
    ({"parallel": 2}, ["parallel"], "expected nothing, for it is one training, with the strategy darts, got 2"),
    ({"strategy": "random", "evaluator": "supernet"}, ["evaluator"], "expected supernet with the strategy darts"),
    ({"strategy": "random"}, ["budget"], "expected evaluations, seconds or both, got no budget"),
    ({"strategy": "drats"}, ["strategy"], "asha, darts, got 'drats'"),
]


def test_what_makes_no_sense_for_a_supernet_is_named_and_nothing_is_stored(
    client: TestClient, task: Any, post_task: Any, post: Any, subtests: pytest.Subtests
) -> None:
    post_task("other")
    post_task("graphs", search_space="graph")
    for changes, location, message in UNSUITED:
        with subtests.test(changes=changes):
            check_refused(client, post(**changes), location, message)


WRONG_DOCUMENTS: list[tuple[Document, str]] = [
    ({"epoch": 3}, "expected settings among epochs, .* got 'epoch'"),
    ({"epochs": 0}, "expected epochs to be a whole number of at least 1, got 0"),
    ({"epochs": 601}, "expected epochs from 1 to 600, got 601"),
    ({"epochs": True}, "expected epochs to be a whole number"),
    ({"retraining": {"epochs": 601}}, "expected retraining.epochs from 0 to 600, got 601"),
    ({"retraining": None}, "expected an object with epochs"),
    ({"stack": {"stem_channels": 65}}, "expected stack.stem_channels from 1 to 64, got 65"),
    ({"stack": {"cells_per_stage": 7, "num_stages": 3}}, "expected at most 20 cells .* got 21"),
    (
        {"stack": {"stem_channels": 64, "cells_per_stage": 4, "num_stages": 5}},
        "at most 8,000,000 weights at its full",
    ),
    (
        {"stack": {"stem_channels": 64, "cells_per_stage": 4, "num_stages": 5, "partial_channels": 64}},
        "at most 8,000,000 weights at its full width, got",
    ),
    ({"stack": {"stem_channels": 8, "partial_channels": 3}}, "to be divided by partial_channels"),
    ({"order": "third"}, "expected the order to be one of first, second, second_exact, got 'third'"),
    ({"early_stopping": {"window": 1.5}}, "window of early stopping to be a whole number"),
    ({"batch_size": 513}, "expected batch_size from 2 to 512, got 513"),
    ({"learning_rate": 11}, "expected learning_rate from 0 to 10, got 11"),
    ({"normalises_edges": "yes"}, "expected normalises_edges to be true or false"),
]


def test_documents_that_ask_for_something_else_or_for_too_much_are_refused(
    client: TestClient, task: Any, post: Any, subtests: pytest.Subtests
) -> None:
    for changes, message in WRONG_DOCUMENTS:
        with subtests.test(changes=changes):
            check_refused(client, post(changes), ["settings"], message)
    check_refused(client, post({"seed": 4}), ["seed"], "got 3 beside 4 in settings")


def check_refused(client: TestClient, answer: Any, location: list[Any], message: str) -> None:
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert error["location"] == ["body", *location]
    assert message in error["message"] or re.search(message, error["message"]), error["message"]
    assert client.get("/v1/searches").json()["items"] == []
    assert client.get("/v1/jobs?kind=supernet").json()["items"] == []


NO_DATASETS: list[object] = [
    "../few_digits",
    "few_digits.npz",
    "/etc/passwd",
    "..",
    "",
    "few digits",
    "-rf",
    "x" * 65,
    "linked_out",
    "linked_nowhere",
    "linked_in_a_circle",
    "a_folder",
    "text",
    "nested/few_digits",
    None,
    7,
    ["few_digits"],
]


def test_data_sets_are_names_of_the_listing_and_nothing_else(
    client: TestClient, folder: Path, task: Any, post: Any, subtests: pytest.Subtests
) -> None:
    outside = folder.parent / "outside.npz"
    outside.write_bytes((folder / "few_digits.npz").read_bytes())
    (folder / "linked_out.npz").symlink_to(outside)
    (folder / "linked_nowhere.npz").symlink_to(folder / "gone.npz")
    (folder / "linked_in_a_circle.npz").symlink_to(folder / "linked_in_a_circle.npz")
    (folder / "a_folder.npz").mkdir()
    (folder / "text.txt").write_text("no images")
    (folder / "nested").mkdir()
    (folder / "nested" / "few_digits.npz").write_bytes(outside.read_bytes())
    (folder / "linked_inside.npz").symlink_to(folder / "few_digits.npz")

    there = "digits, photo_regions, breast_cancer, iris, wine, few_digits, linked_inside"
    for name in NO_DATASETS:
        with subtests.test(name=name):
            check_refused(client, post({"dataset": name}), ["settings", "dataset"], there)


def test_without_a_folder_there_are_only_the_data_sets_that_need_no_file() -> None:
    from app.errors import InvalidContentError, NotReadyError
    from app.inference.datasets import DatasetCatalogue

    catalogue = DatasetCatalogue(None)

    assert catalogue.names() == ["digits", "photo_regions", "breast_cancer", "iris", "wine"]
    assert catalogue.source("digits") == "digits"
    with pytest.raises(InvalidContentError, match=r"expected one of the data sets digits, .* got 'few_digits'"):
        catalogue.source("few_digits")
    gone = DatasetCatalogue(Path("/nowhere/at/all"))
    assert gone.source("digits") == "digits"
    with pytest.raises(NotReadyError, match=r"ARCHCAST_DATASETS.*: No such file or directory"):
        gone.source("few_digits")


def test_a_built_in_data_set_is_not_hidden_by_a_file(folder: Path) -> None:
    from app.inference.datasets import DatasetCatalogue

    (folder / "digits.npz").write_bytes(b"something else")

    assert DatasetCatalogue(folder).source("digits") == "digits"
    assert DatasetCatalogue(folder).source("few_digits") == str(folder.resolve() / "few_digits.npz")


def test_the_strategy_is_listed_with_settings_that_have_just_the_defaults_of_the_library(client: TestClient) -> None:
    from predictor import darts_config
    from predictor.evaluate.supernet.config import Order

    listed = {one["name"]: one for one in client.get("/v1/search-strategies").json()["items"]}
    schema = listed["darts"]["settings"]
    properties = schema["properties"]
    config = darts_config({"early_stopping": {}})

    assert "ICLR 2019" in listed["darts"]["source"]
    assert schema["required"] == ["dataset"]
    assert set(properties) == {"dataset", *vars(config)}
    assert tuple(properties["order"]["enum"]) == Order.__args__  # type: ignore[attr-defined]
    for part in ("stack", "retraining", "early_stopping"):
        own = vars(getattr(config, part))
        assert {name: one["default"] for name, one in properties[part]["properties"].items()} == own
    plain = {name: one["default"] for name, one in properties.items() if "default" in one and name != "early_stopping"}
    assert plain == {name: value for name, value in vars(config).items() if name in plain}
    assert set(vars(config)) - set(plain) == {"stack", "retraining", "early_stopping", "seed"}


def test_a_seed_among_the_settings_is_that_of_the_search(task: Any, begin: Any, show: Any) -> None:
    assert show(begin({"seed": 11}, seed=None))["seed"] == 11
    assert show(begin({"seed": 3}))["seed"] == 3
    assert "seed" not in show(begin({"seed": 3}))["settings"]
