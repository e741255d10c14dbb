"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from onnx_samples import CONVOLUTION, convolution_file
from typer.testing import CliRunner, Result

from app import cli, cli_tasks, worker
from app.client import Client, ClientError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from app.settings import Settings

Cells = list[dict[str, str]]
Run = Callable[..., Result]


@pytest.fixture
def run(champion: Path, client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `archcast` against the service and its database."""

    def connected(url: str) -> Client:
        reached = Client(url)
        reached._http.close()
        reached._http = client
        return reached

    monkeypatch.setattr(Client, "close", lambda self: None)
    for module in (cli, cli_tasks):
        monkeypatch.setattr(module, "Client", connected)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    return lambda *arguments, **options: CliRunner().invoke(cli.app, list(arguments), **options)


def test_a_task_is_created_and_listed(run: Run) -> None:
    created = run(
        *("task", "create", "digits", "--space", "nasbench201", "--dataset", "digits"),
        *("--metric", "accuracy", "--unit", "fraction", "--direction", "maximize"),
    )
    listed, as_json = run("task", "list"), run("task", "list", "--json")
    shown = run("task", "show", "digits")

    assert (created.exit_code, listed.exit_code, shown.exit_code) == (0, 0, 0)
    titles, row = listed.stdout.splitlines()
    assert titles.split()[0] == "task"
    assert row.split() == [
        "digits",
        "nasbench201",
        "digits",
        "accuracy",
        "in",
        "fraction,",
        "maximize",
        "-",
        "0",
        "fresh",
    ]
    assert [task["name"] for task in json.loads(as_json.stdout)] == ["digits"]
    assert ["search", "space", "nasbench201"] in [line.split() for line in shown.stdout.splitlines()]


def test_every_command_that_answers_has_an_answer_for_machines() -> None:
    def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name, command in group.commands.items():
            yield from commands(command, (*path, name)) if hasattr(command, "commands") else [((*path, name), command)]

    every = dict(commands(typer.main.get_command(cli.app)))
    without = [
        " ".join(path)
        for path, command in every.items()
        if not any("--json" in parameter.opts for parameter in command.params)
    ]

    assert sorted(without) == [
        "convert",
        "measure",
        "serve",
        "worker",
    ]  # what `convert` prints is JSON; the others run on


@pytest.mark.parametrize("direct", [[], ["--direct"]])
def test_a_file_is_imported_once(run: Run, post_task: Any, cells: Cells, tmp_path: Path, direct: list[str]) -> None:
    post_task()
    file = tmp_path / "measured.csv"
    file.write_text(
        "architecture,value,client_key\n" + "".join(f"{cell['genotype']},0.5,{cell['id']}\n" for cell in cells)
    )

    first, second = (run("import", "digits", str(file), *direct) for _ in range(2))

    assert "40 observations recorded, 0 were there before" in first.stdout
    assert "0 observations recorded, 40 were there before" in second.stdout


@pytest.mark.parametrize("direct", [[], ["--direct"]])
def test_known_errors_are_imported_with_their_values(
    run: Run, client: TestClient, post_task: Any, cells: Cells, tmp_path: Path, direct: list[str]
) -> None:
    post_task()
    file = tmp_path / "measured.csv"
    file.write_text(f"architecture,value,std_error\n{cells[0]['genotype']},0.5,0.125\n{cells[1]['genotype']},0.6,\n")

    result = run("import", "digits", str(file), *direct)

    assert result.exit_code == 0
    listed = client.get("/v1/tasks/digits/observations").json()["items"]
    assert [one["std_error"] for one in listed] == [0.125, None]


@pytest.mark.parametrize("direct", [[], ["--direct"]])
def test_a_bad_row_ends_the_import_with_its_place(run: Run, post_task: Any, tmp_path: Path, direct: list[str]) -> None:
    post_task()
    file = tmp_path / "measured.csv"
    file.write_text("architecture,value\nno cell,0.5\n")

    result = run("import", "digits", str(file), *direct)

    assert result.exit_code == 1
    assert "expected three groups" in result.stderr


def test_forecasts_are_printed_best_first_and_bad_lines_named(run: Run, post_task: Any, cells: Cells) -> None:
    post_task()
    lines = "\n".join([cells[0]["genotype"], "no cell", cells[1]["genotype"]])

    result = run("predict", "digits", input=lines)

    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["1", "2"]
    assert result.stderr.startswith("line 2: ")


def test_an_unknown_task_is_said_in_one_line(run: Run) -> None:
    result = run("task", "show", "nobody")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "archcast: expected the name or the id of a task, got 'nobody'\n"


def test_a_fine_tune_is_started_with_its_settings(run: Run, client: TestClient) -> None:
    result = run("fine-tune", "start", "--reason", "new device", "--setting", "num_steps=3")

    assert result.stdout == "fine-tune 1 is queued\n"
    assert client.get("/v1/fine-tunes/1").json()["settings"] == {"num_steps": 3}
    listed, as_json = run("fine-tune", "list"), run("fine-tune", "list", "--json")
    assert listed.stdout.splitlines()[1].split() == ["1", "queued", "0", "new", "device"]
    assert [one["reason"] for one in json.loads(as_json.stdout)] == ["new device"]


def test_what_is_asked_for_is_told(run: Run, client: TestClient, post_task: Any) -> None:
    post_task()

    asked = run("ask", "digits", "--worker-id", "anna")
    trial_id, genotype, _, token = asked.stdout.split()
    told = run("tell", "digits", trial_id, "0.9", "--token", token, "--seed", "1")
    again = run("tell", "digits", trial_id, "0.9", "--token", token, "--seed", "1", "--json")

    (observation,) = client.get("/v1/tasks/digits/observations").json()["items"]
    assert told.stdout == f"trial {trial_id} is completed\n"
    assert json.loads(again.stdout)["state"] == "completed"
    assert (observation["genotype"], observation["value"], observation["seed"]) == (genotype, 0.9, 1)


@pytest.mark.parametrize(
    ("value", "token", "said"),
    [("0.9", "1.wrong", "expected the lease_token that came with trial 1"), ("nan", "1.x", "that JSON can hold")],
)
def test_what_cannot_be_told_is_said_in_one_line(run: Run, post_task: Any, value: str, token: str, said: str) -> None:
    post_task()
    run("ask", "digits", "--worker-id", "anna")

    told = run("tell", "digits", "1", value, "--token", token)

    assert (told.exit_code, told.stdout) == (1, "")
    assert said in told.stderr


def test_an_unknown_kind_of_work_is_wrong_usage(run: Run) -> None:
    assert run("worker", "--kinds", "sleep").exit_code == 2


def test_a_service_that_is_not_there_is_named() -> None:
    with Client("http://127.0.0.1:9") as nobody, pytest.raises(ClientError, match=r"expected a service at http://127"):
        nobody.task("digits")


def test_a_worker_learns_of_its_parents_end_from_its_closed_input() -> None:
    stopping = threading.Event()
    reading, writing = os.pipe()

    worker.stop_when_closed(reading, stopping)
    os.write(writing, b"x")
    os.close(writing)

    assert stopping.wait(timeout=30.0)
    os.close(reading)


@pytest.fixture
def worker_process(settings: Settings) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts `archcast worker` on the service's database."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "app.cli", "worker", "--kinds", "fine_tune", *arguments]
        environment = {**os.environ, **settings.as_environment()}
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_worker_process_ends_when_its_parent_closes_the_input(worker_process: Any) -> None:
    process = worker_process("--until-stdin-closes")

    process.stdin.close()

    assert process.wait(timeout=120.0) == 0


def test_a_worker_that_was_to_run_what_is_due_ends_though_its_parent_lives_on(worker_process: Any) -> None:
    process = worker_process("--once", "--until-stdin-closes")

    assert process.wait(timeout=120.0) == 0


def test_an_onnx_file_is_converted_and_forecast(run: Run, post_task: Any, tmp_path: Path) -> None:
    post_task("nets", search_space="graph")
    file = tmp_path / "network.onnx"
    file.write_bytes(convolution_file())

    converted, forecast = run("convert", str(file)), run("predict", "nets", "--onnx", str(file), "--json")

    assert json.loads(converted.stdout) == CONVOLUTION
    assert json.loads(forecast.stdout)["predictions"][0]["rank"] == 1


def test_a_file_that_is_no_model_ends_with_the_reason(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "network.onnx"
    file.write_bytes(b"\x3a\x05\x00")

    for arguments in (["convert", str(file)], ["predict", "nets", "--onnx", str(file)]):
        ended = run(*arguments)
        assert ended.exit_code == 1
        assert "expected 5 bytes of model at byte 2, got 1" in ended.stderr
