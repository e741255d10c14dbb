"""Searches in the clients and on the command line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from app import cli, cli_searches
from app.client import AsyncClient, Client, ClientError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

Run = Callable[..., Result]


class Line(httpx.BaseTransport):
    """The way to the service. What it answers is cut off after so many bytes, as often as `cuts` says."""

    def __init__(self, service: TestClient) -> None:
        self.service = service
        self.cuts: list[int] = []
        self.seen: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        headers = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
        answer = self.service.request(
            request.method, request.url.raw_path.decode(), content=request.read(), headers=headers
        )
        content = answer.content[: self.cuts.pop()] if self.cuts else answer.content
        return httpx.Response(answer.status_code, content=content, headers={"content-type": "text/event-stream"})


class AsyncLine(httpx.AsyncBaseTransport):
    """The same for asyncio."""

    def __init__(self, line: Line) -> None:
        self.line = line

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return await asyncio.to_thread(self.line.handle_request, request)


@pytest.fixture
def line(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr("app.client_searches._PAUSE_SECONDS", 0.0)
    return Line(client)


@pytest.fixture
def finished(observed: Any, start: Any, work: Any) -> int:
    search_id: int = start(evaluator="table", budget={"evaluations": 4}, parallel=2)
    work()
    return search_id


def test_what_the_client_starts_it_lists_pauses_resumes_cancels_and_shows(line: Line, tasks: Any) -> None:
    with Client("http://service", line) as caller:
        made = caller.create_search("digits", "random", evaluations=3, mode="measured", seed=5)
        both = caller.create_search(["digits", "latency"], "nsga2", seconds=9.0, mode="measured")

        assert [one["id"] for one in caller.searches()] == [both["id"], made["id"]]
        assert [one["id"] for one in caller.searches(task="latency")] == [both["id"]]
        assert caller.pause_search(made["id"])["state"] == "paused"
        assert caller.resume_search(made["id"])["state"] == "queued"
        assert caller.cancel_search(made["id"])["state"] == "cancelled"
        assert caller.search(made["id"])["seed"] == 5
        assert "random" in [one["name"] for one in caller.search_strategies()["items"]]


def test_a_stream_that_breaks_off_is_gone_on_with_after_the_last_event(line: Line, finished: int) -> None:
    with Client("http://service", line) as caller:
        whole = list(caller.search_events(finished))
        line.cuts = [900, 40, 400]
        line.seen.clear()
        pieces = list(caller.search_events(finished))
        ended = caller.finished_search(finished)

    assert pieces == whole
    assert whole[-1] == {"id": None, "event": "end", "data": {"state": "done"}}
    asked = [request.headers.get("last-event-id") for request in line.seen]
    assert asked[0] is None
    assert asked[1] in [one["id"] for one in whole]
    assert ended["state"] == "done"


def test_the_client_for_asyncio_hears_the_same(line: Line, finished: int) -> None:
    async def heard() -> list[Any]:
        async with AsyncClient("http://service", AsyncLine(line)) as caller:
            await caller.finished_search(finished)
            return [event async for event in caller.search_events(finished)]

    with Client("http://service", line) as caller:
        assert asyncio.run(heard()) == list(caller.search_events(finished))


def test_a_search_that_is_not_there_is_not_waited_for(line: Line) -> None:
    with Client("http://service", line) as caller, pytest.raises(ClientError, match="expected the id of a search"):
        list(caller.search_events(99))


@pytest.fixture
def run(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `archcast` against the service."""

    def connected(url: str) -> Client:
        reached = Client(url)
        reached._http.close()
        reached._http = client
        return reached

    monkeypatch.setattr(Client, "close", lambda self: None)
    monkeypatch.setattr(cli_searches, "Client", connected)
    return lambda *arguments: CliRunner().invoke(cli.app, ["search", *arguments])


def test_commands_start_and_stop_searches(run: Run, tasks: Any) -> None:
    started = run(
        *("start", "--task", "digits", "--strategy", "evolution", "--evaluations", "9", "--mode", "measured"),
        *("--setting", "population=5", "--seed", "7", "--description", "first"),
    )
    document = json.loads(run("show", "1", "--json").stdout)

    assert started.stdout == "search 1 is queued, with the seed 7\n"
    assert (document["settings"], document["description"]) == ({"population": 5}, "first")
    assert run("pause", "1").stdout == "search 1 is paused\n"
    assert run("resume", "1").stdout == "search 1 is queued\n"
    assert run("cancel", "1").stdout == "search 1 is cancelled\n"
    refused = run("start", "--task", "digits", "--strategy", "evolution", "--mode", "measured", "--seconds", "0")
    assert (refused.exit_code, "body.budget.seconds" in refused.stderr) == (1, True)


def test_commands_show_what_a_search_found(run: Run, finished: int, show: Any, tmp_path: Path) -> None:
    best = show(finished)["best"]
    followed = run("follow", str(finished))
    events = [json.loads(text) for text in run("follow", str(finished), "--json").stdout.splitlines()]
    rows = [one.split() for one in run("list").stdout.splitlines()]
    file = tmp_path / "best.json"

    assert followed.stdout.splitlines()[-1].endswith(best["genotype"])
    assert sum(one["event"] == "evaluated" for one in events) == 4
    assert events[-1]["event"] == "end"
    assert rows[1][:2] == [str(finished), "done"]
    assert run("best", str(finished)).stdout.strip() == best["genotype"]
    run("best", str(finished), "--format", "dag", "--out", str(file))
    assert set(json.loads(file.read_text())) >= {"nodes", "edges"}
    assert run("strategies").stdout.startswith("name")


def test_the_front_is_a_table_with_the_hypervolume(run: Run, observed: Any, start: Any, work: Any) -> None:
    search_id = start("digits", "latency", evaluator="table", budget={"evaluations": 20})
    work()
    table = run("pareto", str(search_id), "--reference", "0.4", "--reference", "30").stdout.splitlines()
    document = json.loads(run("pareto", str(search_id), "--reference", "0.4", "--reference", "30", "--json").stdout)

    assert len(table) == len(document["items"]) + 2
    assert table[-1].endswith(f"of 20; hypervolume {document['hypervolume']:.5g} of 0.4, 30")


def test_a_worker_is_told_at_which_share_of_the_final_fidelity_to_measure(
    line: Line, tasks: Any, start: Any, work: Any
) -> None:
    start(strategy="successive_halving", settings={"num_first": 9}, budget={"evaluations": 13})
    start(budget={"evaluations": 1}, seed=4)
    work()

    with Client("http://service", line) as caller:
        with caller.trial("digits", "gpu-1", only_requested=True) as trial:
            share = trial.share
            trial.report(0.5, fidelity=trial.document["fidelity"])
        shares = [share]
        for number in range(4):
            with caller.trial("digits", f"gpu-{number}", only_requested=True) as other:
                shares.append(other.share)
                other.report(0.5, fidelity=other.document["fidelity"])
        with (
            pytest.raises(ClientError, match="expected something to measure"),
            caller.trial("digits", "gpu-9", only_requested=True),
        ):
            pass

    assert sorted(shares) == pytest.approx([1 / 9] * 4 + [1.0])


def test_commands_search_by_gradient_without_a_budget(
    run: Run, post_task: Any, worker: Any, show: Any, tmp_path: Path
) -> None:
    post_task()
    started = run(
        *("start", "--task", "digits", "--strategy", "darts", "--seed", "5", "--setting", "dataset=digits"),
        *("--setting", "epochs=1", "--setting", "batch_size=125", "--setting", 'retraining={"epochs": 0}'),
        *("--setting", 'stack={"stem_channels": 2, "num_stages": 1}'),
    )
    assert started.stdout == "search 1 is queued, with the seed 5\n", started.stderr
    assert worker.run_one(["supernet"])
    genotype, file = show(1)["best"]["genotype"], tmp_path / "best.py"

    followed = run("follow", "1").stdout.splitlines()
    assert any(line.startswith("100.0%  searching, epoch 1 of 1: loss ") for line in followed), followed
    assert followed[-1] == f"found, evaluation 1: {genotype}"
    written = run("best", "1", "--format", "pytorch", "--image", "1x8x8", "--out", str(file))
    assert written.stdout == f"evaluation 1 written to {file}\n"
    assert "class" in file.read_text()
    refused = run("start", "--task", "digits", "--strategy", "darts", "--setting", "dataset=../digits")
    assert (refused.exit_code, "body.settings.dataset: expected the name of a data set" in refused.stderr) == (1, True)
    unlimited = run("start", "--task", "digits", "--strategy", "random")
    assert (unlimited.exit_code, "body.budget: expected evaluations, seconds or both" in unlimited.stderr) == (1, True)
