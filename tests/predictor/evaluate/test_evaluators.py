"""Looking up in tables, asking commands, and evaluators from documents."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from predictor.architecture import Architecture
from predictor.errors import EvaluationError, FailedEvaluationError, UnbuildableError
from predictor.evaluate.base import Interrupted, Measured, Reporter
from predictor.evaluate.command_evaluator import CommandEvaluator
from predictor.evaluate.registry import evaluator_from_json
from predictor.evaluate.table_evaluator import TableColumns, TableEvaluator
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.tasks import Observation

Answer = Callable[..., CommandEvaluator]


class Watching(Reporter):
    """Stops after so many results; interrupts once that file is there."""

    def __init__(self, stops_after: int | None = None, interrupts_at: Path | None = None) -> None:
        self.seen: list[Measured] = []
        self._stops_after, self._interrupts_at = stops_after, interrupts_at

    def measured(self, measured: Measured) -> bool:
        self.seen.append(measured)
        return len(self.seen) != self._stops_after

    def keep_alive(self) -> None:
        if self._interrupts_at is not None and self._interrupts_at.exists():
            raise Interrupted


@pytest.fixture
def answer(space: NASBench201) -> Answer:
    """A command that runs a line of Python; `asked` is what it was asked."""

    def build(line: str, **limits: Any) -> CommandEvaluator:
        program = f"import json, os, pathlib, sys, time\nasked = json.load(sys.stdin)\n{line}"
        return CommandEvaluator(space, (sys.executable, "-S", "-c", program), **limits)

    return build


def test_a_command_is_asked_in_json_and_answers_in_json(answer: Answer, cells: list[Architecture]) -> None:
    command = answer(
        "graph = asked['architecture']\n"
        "print(json.dumps({'metrics': {'accuracy_percent': len(graph['nodes']), 'seed': asked['seed']}, 'cost_seconds': 2}))\n"
        "assert asked['genotype'] and asked['search_space'] == 'nasbench201' and len(asked['id']) == 32"
    )

    result = command.evaluate(cells[0], fidelity=0.5, seed=7)

    assert result.final == Measured(0.5, {"accuracy_percent": cells[0].num_nodes, "seed": 7}, 2.0)
    assert result.curve == ()


def test_lines_before_the_last_are_intermediate_results(answer: Answer, cells: list[Architecture]) -> None:
    watching = Watching()
    command = answer(
        "for n in (1, 2, 4): print(json.dumps({'metrics': {'accuracy_percent': 10 * n}, 'fidelity': n / 4}), flush=True)"
    )

    result = command.evaluate(cells[0], reporter=watching)

    assert [(one.fidelity, one.metrics["accuracy_percent"]) for one in watching.seen] == [(0.25, 10), (0.5, 20)]
    assert result.final.metrics == {"accuracy_percent": 40}


def test_a_command_that_is_not_worth_it_is_ended(answer: Answer, cells: list[Architecture], tmp_path: Path) -> None:
    done = tmp_path / "done"
    command = answer(
        "for n in (1, 2): print(json.dumps({'metrics': {'loss': n}, 'fidelity': n / 9}), flush=True)\n"
        f"time.sleep(60); pathlib.Path({str(done)!r}).touch()"
    )

    result = command.evaluate(cells[0], reporter=Watching(stops_after=1))

    assert (result.stopped_early, result.final.metrics) == (True, {"loss": 1})
    assert not done.exists()


@pytest.mark.parametrize(
    ("line", "error", "message", "later"),
    [
        ("print('accuracy: 93 %')", FailedEvaluationError, "lines of JSON from the command, got b'accuracy", False),
        ("print('[' * 100000)", FailedEvaluationError, "lines of JSON", False),
        ("print('{}')", FailedEvaluationError, "expected {\"metrics\"", False),
        ("print(json.dumps({'metrics': {'accuracy_percent': 'high'}}))", FailedEvaluationError, "finite number, got 'high'", False),
        ("print('{\"metrics\": {\"accuracy_percent\": NaN}}')", FailedEvaluationError, "finite number, got nan", False),
        ("print(json.dumps({'metrics': {'a': 1}, 'fidelity': 3}))", FailedEvaluationError, r"fidelity in \(0, 1\]", False),
        ("pass", FailedEvaluationError, "a line with metrics from the command, got none", True),
        ("sys.exit('no more memory')", FailedEvaluationError, "end with 0, got 1: no more memory", True),
        ("os.kill(os.getpid(), 9)", FailedEvaluationError, "end with 0, got -9", True),
        ("print(json.dumps({'infeasible': 'too wide'}))", UnbuildableError, "the command says: too wide", None),
    ],
)  # fmt: skip
def test_commands_that_give_no_value_fail_with_the_reason(
    line: str, error: type[EvaluationError], message: str, later: bool | None, answer: Answer, cells: list[Architecture]
) -> None:
    with pytest.raises(error, match=message) as failed:
        answer(line).evaluate(cells[0])

    assert getattr(failed.value, "may_succeed_later", None) is later


def test_a_command_that_hangs_is_ended_with_its_children(
    answer: Answer, cells: list[Architecture], tmp_path: Path
) -> None:
    pid = tmp_path / "child"
    command = answer(
        "import subprocess, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"child = subprocess.Popen(['sleep', '60']); pathlib.Path({str(pid)!r}).write_text(str(child.pid)); child.wait()\n"
        "time.sleep(60)",
        timeout_seconds=1.5,
    )

    with pytest.raises(FailedEvaluationError, match=r"to end within 1.5 s, got no end"):
        command.evaluate(cells[0])

    ended = Path("/proc") / pid.read_text() / "stat"
    deadline = time.monotonic() + 10
    while ended.exists() and ended.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not ended.exists() or ended.read_text().split()[2] == "Z"


def test_a_command_that_prints_without_end_is_ended(answer: Answer, cells: list[Architecture]) -> None:
    line = json.dumps({"metrics": {"loss": 1}, "fidelity": 0.5, "note": "x" * 900})

    with pytest.raises(FailedEvaluationError, match="at most 10000 bytes from the command, got more"):
        answer(f"while True: print({line!r})", max_output_bytes=10_000).evaluate(cells[0])


def test_a_command_that_never_reads_is_no_obstacle(space: NASBench201, cells: list[Architecture]) -> None:
    command = CommandEvaluator(space, ("/bin/echo", '{"metrics": {"loss": 1}}'))

    assert command.evaluate(cells[0]).final.metrics == {"loss": 1}


def test_an_interrupt_ends_the_command(answer: Answer, cells: list[Architecture], tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    command = answer(f"pathlib.Path({str(begun)!r}).touch(); time.sleep(60)")

    with pytest.raises(Interrupted):
        command.evaluate(cells[0], reporter=Watching(interrupts_at=begun))


def test_a_command_that_is_not_there_is_refused(space: NASBench201, cells: list[Architecture]) -> None:
    with pytest.raises(EvaluationError, match="a command that can be run, got '/no/such/thing'") as refused:
        CommandEvaluator(space, ("/no/such/thing",)).evaluate(cells[0])

    assert not isinstance(refused.value, FailedEvaluationError)


def test_no_shell_reads_the_command(space: NASBench201, cells: list[Architecture], tmp_path: Path) -> None:
    command = CommandEvaluator(space, ("/bin/echo", f"$(touch {shlex.quote(str(tmp_path / 'made'))})"))

    with pytest.raises(FailedEvaluationError, match=r"got b'\$\(touch"):
        command.evaluate(cells[0])
    assert not (tmp_path / "made").exists()


def test_a_table_answers_with_the_noise_of_its_seeds(cells: list[Architecture]) -> None:
    first, other = cells[:2]
    table = TableEvaluator(
        {
            "accuracy_percent": [
                Observation(first, 91.0, 0), Observation(first, 92.0, 1), Observation(first, 50.0, 0, 0.1), Observation(other, 80.0)
            ],
            "latency_ms": [Observation(first, 3.0)],
        }
    )  # fmt: skip

    by_seed = [table.evaluate(first, seed=seed).final.metrics for seed in (0, 1, 2, 3)]

    assert [one["accuracy_percent"] for one in by_seed] == [91.0, 92.0, 91.0, 92.0]
    assert by_seed[0]["latency_ms"] == 3.0
    assert table.evaluate(first).curve == (Measured(0.1, {"accuracy_percent": 50.0}),)
    assert table.evaluate(first, fidelity=0.5).final == Measured(0.1, {"accuracy_percent": 50.0})
    assert table.evaluate(first, reporter=Watching(stops_after=1)).stopped_early
    assert table.evaluate(other).final.metrics == {"accuracy_percent": 80.0}


def test_what_a_table_lacks_fails(cells: list[Architecture]) -> None:
    table = TableEvaluator({"accuracy_percent": [Observation(cells[0], 91.0)]})

    with pytest.raises(FailedEvaluationError, match="an architecture of the table, which has 1, got"):
        table.evaluate(cells[1])
    with pytest.raises(FailedEvaluationError, match=r"a fidelity that the table has, got 0.5, which is below all"):
        table.evaluate(cells[0], fidelity=0.5)
    with pytest.raises(EvaluationError, match="at least one value"):
        TableEvaluator({})


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_tables_are_read_from_files(suffix: str, space: NASBench201, cells: list[Architecture], tmp_path: Path) -> None:
    columns = {
        "cell": [one.genotype for one in cells[:5]],
        "s0": [1.0, 2, 3, 4, 5],
        "s1": [2.0, 3, 4, 5, 6],
        "early": [0.5] * 5,
    }
    path = tmp_path / f"table{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        lines = [
            ",".join(columns),
            *(",".join([f'"{cell}"', *map(str, rest)]) for cell, *rest in zip(*columns.values(), strict=True)),
        ]
        path.write_text("\n".join(lines))
    named = TableColumns("cell", {"accuracy_percent": ["s0", "s1"]}, {"accuracy_percent": {0.1: ["early"]}})

    table = TableEvaluator.read(space, path, named)

    assert len(table) == 5
    assert table.evaluate(cells[2], seed=1).final.metrics == {"accuracy_percent": 4.0}
    assert table.evaluate(cells[2], fidelity=0.1).final.metrics == {"accuracy_percent": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cell,other\n", "expected a column 's0', got cell, other"),
        ("cell,s0\nno cell,1\n", "row 1: nasbench201: expected"),
        ("cell,s0\n|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|,high\n", "row 1: could not convert"),
        ("cell,s0\n", "at least one value"),
    ],
)
def test_tables_of_another_form_are_refused(text: str, message: str, space: NASBench201, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)

    with pytest.raises(EvaluationError, match=message):
        TableEvaluator.read(space, path, TableColumns("cell", {"accuracy_percent": ["s0"]}))


def test_evaluators_are_made_from_documents(space: NASBench201, cells: list[Architecture], striped_file: Any) -> None:
    document = {
        "kind": "train", "dataset": str(striped_file()), "device": "cpu", "latency": {"batch_sizes": [2], "repeats": 3, "warm_up": 1},
        "recipe": {"epochs": 1, "batch_size": 32}, "sizes": {"stem_channels": 4, "cells_per_stage": 1, "num_stages": 1},
    }  # fmt: skip
    trained = evaluator_from_json(json.loads(json.dumps(document)), space).evaluate(cells[0])
    told = evaluator_from_json({"kind": "command", "command": ["/bin/echo", '{"metrics": {"a": 1}}']}, space)

    assert trained.facts["dataset"] == "striped"
    assert trained.final.metrics["latency_ms_batch_2"] > 0.0
    assert told.evaluate(cells[0]).final.metrics == {"a": 1}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "kind of an evaluator among train, table, command, one_shot, got None"),
        ({"kind": "train"}, "KeyError: 'dataset'"),
        ({"kind": "train", "dataset": "digits", "epochs": 3}, "got 'epochs'"),
        ({"kind": "train", "dataset": "digits", "recipe": {"epochs": -1}}, "epochs to be positive"),
        ({"kind": "train", "dataset": "digits", "latency": {"repeats": 1}}, "repeats from 3"),
        ({"kind": "command", "command": "rm -rf"}, "a list of words"),
        ({"kind": "command", "command": []}, "a command to run, got none"),
        ({"kind": "table", "file": "x.parquet", "architecture": "a", "metrics": 3}, "AttributeError"),
        (
            {"kind": "table", "file": "x.parquet", "architecture": "a", "metrics": {"m": "c"}},
            "readable table, got x.parquet",
        ),
        ({"kind": "table", "file": "x.txt", "architecture": "a", "metrics": {"m": "c"}}, "readable table|csv file"),
    ],
)
def test_documents_of_another_form_are_refused(document: dict[str, Any], message: str, space: NASBench201) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluator_from_json(document, space)
