"""Searches by training: what is kept, when a search is long enough, and what the tables say."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from predictor.contest.trained_report import trained_report
from predictor.contest.trained_searches import (
    Course,
    Courses,
    Spending,
    TrainedContestant,
    TrainedSearches,
    check_unseen,
    incumbent,
    measuring_contestants,
    own_contestants,
    rows_of,
    trainings_within,
)
from predictor.contest.training_journal import JournaledTraining, TrainedOnce, TrainingJournal
from predictor.errors import BenchmarkError, CheckpointError
from predictor.evaluate.examples import Examples, SplitDataset
from predictor.evaluate.network import NetworkConfig
from predictor.evaluate.recipe import Recipe
from predictor.evaluate.training_evaluator import TrainingEvaluator
from predictor.search_spaces.nasbench201 import NASBench201

SPACE = NASBench201()
CELL = SPACE.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|")


def some_examples(count: int, seed: int) -> Examples:
    """Three classes that differ in brightness."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randint(0, 60, (count, 1, 8, 8), generator=generator)
    return Examples((noise + 70 * labels[:, None, None, None]).to(torch.uint8), labels)


@pytest.fixture
def evaluator() -> TrainingEvaluator:
    dataset = SplitDataset.of("bright", some_examples(30, 0), some_examples(12, 1), some_examples(12, 2))
    sizes = {"stem_channels": 2, "cells_per_stage": 1}
    network = NetworkConfig(dataset.image_shape, dataset.num_classes, sizes)
    return TrainingEvaluator(SPACE, dataset, Recipe(epochs=1, batch_size=10), network, torch.device("cpu"))


def a_row(architecture: str, validation: float | None, test: float | None = 70.0, seed: int = 0) -> TrainedOnce:
    return TrainedOnce("r", architecture, f"cell {architecture}", seed, validation, test, 10.0, 1.0, 2.0)


def a_course(name: str, architectures: str, seconds: float = 2.0, seed: int = 0) -> Course:
    count = len(architectures)
    return Course(name, "f", "r", "here", seed, list(architectures), [seconds] * count, [0.5] * count)


def test_a_training_is_done_once_and_is_there_for_the_next_process(evaluator, tmp_path) -> None:
    path = tmp_path / "new" / "trainings.jsonl"
    first = JournaledTraining(evaluator, TrainingJournal(path))

    row = first.trained(CELL, 0)
    again = first.trained(CELL, 0)
    other_seed = first.trained(CELL, 1)
    later = JournaledTraining(evaluator, TrainingJournal(path)).trained(CELL, 0)

    assert row is again
    assert row == later
    assert (other_seed.architecture, other_seed.seed) == (row.architecture, 1)
    assert len(path.read_text().splitlines()) == 2
    assert 0.0 <= row.validation_percent <= 100.0  # type: ignore[operator]
    assert row.processor_seconds > 0.0
    assert SPACE.parse(row.genotype).hash == CELL.hash == row.architecture


def test_another_recipe_is_another_training(evaluator, tmp_path) -> None:
    journal = TrainingJournal(tmp_path / "trainings.jsonl")
    longer = TrainingEvaluator(
        SPACE, evaluator.dataset, Recipe(epochs=2, batch_size=10), evaluator.network, evaluator.device
    )

    rows = [JournaledTraining(one, journal).trained(CELL, 0) for one in (evaluator, longer)]

    assert rows[0].recipe != rows[1].recipe
    assert len(journal) == 2


def test_a_training_that_diverges_is_kept_as_a_failure(evaluator, tmp_path) -> None:
    wild = Recipe(epochs=1, batch_size=10, learning_rate=1e38, max_gradient_norm=1e38, schedule="constant")
    diverging = TrainingEvaluator(SPACE, evaluator.dataset, wild, evaluator.network, evaluator.device)

    row = JournaledTraining(diverging, TrainingJournal(tmp_path / "trainings.jsonl")).trained(CELL, 0)

    assert row.validation_percent is None
    assert "finite" in (row.failure or "")
    assert next(iter(TrainingJournal(tmp_path / "trainings.jsonl"))) == row


def test_a_line_cut_off_by_a_kill_costs_that_training_and_no_other(tmp_path) -> None:
    path = tmp_path / "trainings.jsonl"
    journal = TrainingJournal(path)
    for name in "ab":
        journal.add(a_row(name, 50.0))
    path.write_text(path.read_text()[:-20])

    restarted = TrainingJournal(path)
    assert [row.architecture for row in restarted] == ["a"]
    restarted.add(a_row("c", 60.0))

    assert [row.architecture for row in TrainingJournal(path)] == ["a", "c"]


@pytest.mark.parametrize(
    ("line", "said"),
    [("no", "expected JSON"), ("[1]", "expected a JSON object"), ('{"a": 1}', "expected a training in every line")],
)
def test_a_file_of_something_else_is_refused(tmp_path, line: str, said: str) -> None:
    path = tmp_path / "trainings.jsonl"
    path.write_text(line + "\n")

    with pytest.raises(BenchmarkError, match=said):
        TrainingJournal(path)


def test_a_search_goes_on_until_both_trainings_and_seconds_are_used() -> None:
    course = a_course("random", "abc", seconds=2.0)

    assert course.is_enough(Spending(3))
    assert course.is_enough(Spending(2, 6.0))
    assert not course.is_enough(Spending(4))
    assert not course.is_enough(Spending(2, 6.5))
    for trainings, seconds in ((0, 1.0), (1, -1.0), (1, math.inf), (1, math.nan)):
        with pytest.raises(BenchmarkError, match="at least 1 training"):
            Spending(trainings, seconds)


def test_the_best_of_the_first_counts_and_failures_do_not() -> None:
    rows = [a_row("a", None), a_row("b", 50.0), a_row("c", 60.0), a_row("d", 60.0)]

    assert incumbent(rows, 1) is None
    assert [incumbent(rows, count).architecture for count in (2, 3, 4)] == ["b", "c", "c"]  # type: ignore[union-attr]
    assert [trainings_within([2.0, 2.0, 2.0], seconds) for seconds in (1.9, 2.0, 5.9, 100.0)] == [0, 1, 2, 3]


def test_searches_share_trainings_and_what_ended_is_not_run_again(evaluator, tmp_path, tiny_meta) -> None:
    path, seen = tmp_path / "searches.jsonl", []
    journal = TrainingJournal(tmp_path / "trainings.jsonl")
    searches = TrainedSearches(JournaledTraining(evaluator, journal), Courses(path), "bright")
    everybody = [*measuring_contestants(), *own_contestants(tiny_meta, [])]

    found = [
        searches.course(one, Spending(3), 0, lambda name, seed, _row: seen.append((name, seed))) for one in everybody
    ]

    assert [one.name for one in everybody] == ["random", "evolution", "Archcast", "Archcast, tasks of the package"]
    assert all(len(set(one.architectures)) == len(one.thinking_seconds) == 3 for one in found)
    assert len(seen) == 12
    assert len(journal) == len({name for one in found for name in one.architectures}) < 12  # those who draw alike share
    trained = journal.path.read_text()

    later = TrainedSearches(JournaledTraining(evaluator, TrainingJournal(journal.path)), Courses(path), "bright")
    repeated = [later.course(one, Spending(3), 0, lambda *_: pytest.fail("run again")) for one in everybody]
    assert repeated == found
    assert journal.path.read_text() == trained

    longer = later.course(everybody[2], Spending(4), 0, lambda *_: None)
    assert longer.architectures[:3] == found[2].architectures  # it goes on where it was
    assert later.winners(longer, Spending(4))[0].hash in longer.architectures


def test_a_contestant_is_another_one_when_it_would_propose_something_else() -> None:
    same = [TrainedContestant("evolution", "evolution", {"population": 8}).fingerprint for _ in range(2)]
    others = [
        TrainedContestant("evolution", "evolution", {"population": 9}).fingerprint,
        TrainedContestant("evolution", "evolution", {"population": 8}, None, "more").fingerprint,
    ]

    assert same[0] == same[1]
    assert len({same[0], *others}) == 3


def test_a_version_does_not_search_on_images_that_it_has_seen(tiny_meta, monkeypatch) -> None:
    monkeypatch.setitem(tiny_meta.manifest, "trained_on", ["nasbench201/cifar10/accuracy"])  # type: ignore[arg-type]
    monkeypatch.setitem(tiny_meta.manifest, "kept_out", {"validation": ["nasbench201/photo/accuracy"]})  # type: ignore[arg-type]

    check_unseen(tiny_meta, "fashion_mnist")
    for seen in ("cifar10_small", "photo"):
        with pytest.raises(CheckpointError, match="has not seen"):
            check_unseen(tiny_meta, seen)


def test_winners_are_told_by_validation_and_scored_by_other_seeds(tmp_path) -> None:
    journal = TrainingJournal(tmp_path / "trainings.jsonl")
    for row in (
        *(a_row("a", 80.0, 60.0), a_row("b", 90.0, 61.0), a_row("c", 85.0, 99.0)),
        *(a_row("b", 10.0, 70.0, seed=1), a_row("b", 10.0, 72.0, seed=2)),  # other seeds are no regret's business
    ):
        journal.add(row)
    courses = [a_course("random", "ac"), a_course("Archcast", "ab"), a_course("short", "a")]

    text = trained_report(courses, journal, Spending(2, 4.0))

    assert "Best validation accuracy of any training here: 90.00 %" in text
    assert "| random | 5.00 | 99.00 | 1 |" in text
    assert "| Archcast | 0.00 | 61.00 | 1 |" in text
    # a quarter of the seconds ends before the first training; with thinking counted so does the second
    assert "| Archcast | – | 60.00 | 61.00 | 60.00 | 2.0 | 0.50 |" in text
    assert "| Archcast | 71.00 | 71.00 | ± 1.41 | 1 | 1 |" in text
    assert "short" not in text
    assert trained_report([], journal, Spending(2)) == ""


def test_searches_of_an_earlier_version_are_not_mixed_with_those_of_the_present_one(tmp_path) -> None:
    journal = TrainingJournal(tmp_path / "trainings.jsonl")
    for row in (a_row("a", 80.0, 60.0), a_row("b", 90.0, 61.0)):
        journal.add(row)
    earlier = [replace(a_course("Archcast", "a", seed=seed), fingerprint="earlier") for seed in range(3)]

    text = trained_report([*earlier, a_course("Archcast", "b")], journal, Spending(1))

    assert "| Archcast | 0.00 | 61.00 | 1 |" in text


def test_a_search_without_its_trainings_is_refused(tmp_path) -> None:
    with pytest.raises(BenchmarkError, match="lacks 2"):
        rows_of(a_course("random", "ab"), TrainingJournal(tmp_path / "none.jsonl"))
