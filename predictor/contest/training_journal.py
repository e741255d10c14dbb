"""Every training once: a file of JSON lines that knows what an architecture reached by a recipe with a seed.

A line is written when a training has ended, so a run stops and goes on anywhere. One process writes at a time; any number may read.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from predictor.architecture import Architecture
from predictor.contest.fingerprints import digest
from predictor.errors import BenchmarkError, FailedEvaluationError, UnbuildableError
from predictor.evaluate.base import Reporter
from predictor.evaluate.training_evaluator import TrainingEvaluator


def append_line(path: Path, row: Mapping[str, Any]) -> None:
    """Writes one row; what a kill cut off before stays a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_cut = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if is_cut else "") + json.dumps(row) + "\n")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """All rows; a line that a kill cut off is left out.

    Raises:
        BenchmarkError: if a whole line is no JSON object.
    """
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if not line.strip() or line.startswith("{"):
                continue
            raise BenchmarkError(f"{path}, line {number}: expected JSON, got {line[:80]!r}") from error
        if not isinstance(row, dict):
            raise BenchmarkError(f"{path}, line {number}: expected a JSON object, got {line[:80]!r}")
        yield row


@dataclass(frozen=True)
class TrainedOnce:
    """What one training reached; no accuracies where it failed, and then why."""

    recipe: str  # digest of everything but architecture and seed
    architecture: str  # hash
    genotype: str
    seed: int
    validation_percent: float | None
    test_percent: float | None  # nothing is chosen by it
    params: float
    train_seconds: float  # on the clock
    processor_seconds: float  # with validation and test
    failure: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What no two trainings share."""
        return self.recipe, self.architecture, self.seed


class TrainingJournal:
    """The trainings of one file.

    Raises:
        BenchmarkError: if it holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[tuple[str, str, int], TrainedOnce] = {}
        for row in read_lines(path):
            try:
                known = TrainedOnce(**row)
            except TypeError as error:
                raise BenchmarkError(f"{path}: expected a training in every line, got {str(row)[:120]}") from error
            self._rows[known.key] = known

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[TrainedOnce]:
        return iter(self._rows.values())

    def get(self, recipe: str, architecture: str, seed: int) -> TrainedOnce | None:
        """That training, if it has ended."""
        return self._rows.get((recipe, architecture, seed))

    def add(self, row: TrainedOnce) -> None:
        """Keeps it for good."""
        append_line(self.path, asdict(row))
        self._rows[row.key] = row


@dataclass(frozen=True)
class JournaledTraining:
    """An evaluator that trains what its journal lacks."""

    evaluator: TrainingEvaluator
    journal: TrainingJournal

    @property
    def recipe(self) -> str:
        """12 hexadecimal digits of data set, recipe and sizes."""
        one = self.evaluator
        settings = [asdict(one.recipe), sorted(one.network.sizes.items()), one.network.resolution, one.device.type]
        return digest(one.space.name, one.dataset.fingerprint, json.dumps(settings))

    def trained(self, architecture: Architecture, seed: int, reporter: Reporter | None = None) -> TrainedOnce:
        """Looked up or, where it is not there, trained; seconds are those that the training itself took.

        Raises:
            Interrupted: if the reporter says so.
            EvaluationError: if the evaluator is set up wrongly.
        """
        known = self.journal.get(self.recipe, architecture.hash, seed)
        if known is None:
            known = self._train(architecture, seed, reporter)
            self.journal.add(known)
        return known

    def _train(self, architecture: Architecture, seed: int, reporter: Reporter | None) -> TrainedOnce:
        began, start = time.process_time(), time.perf_counter()
        genotype = self.evaluator.space.format(architecture)
        row = TrainedOnce(self.recipe, architecture.hash, genotype, seed, None, None, 0.0, 0.0, 0.0)
        try:
            metrics = self.evaluator.evaluate(architecture, seed=seed, reporter=reporter).final.metrics
        except (FailedEvaluationError, UnbuildableError) as error:
            spent = time.process_time() - began
            clock = time.perf_counter() - start
            return dataclasses.replace(row, failure=str(error), train_seconds=clock, processor_seconds=spent)
        return dataclasses.replace(
            row,
            validation_percent=metrics["accuracy_percent"],
            test_percent=metrics["test_accuracy_percent"],
            params=metrics["params"],
            train_seconds=metrics["train_seconds"],
            processor_seconds=time.process_time() - began,
        )
