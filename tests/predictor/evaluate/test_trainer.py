"""Trainings by a recipe: what they measure, how they end early, and how they go on after they were killed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from predictor.architecture import Architecture
from predictor.errors import EvaluationError, FailedEvaluationError, UnbuildableError
from predictor.evaluate.base import EvaluationResult, Interrupted, Measured, Reporter, value_of
from predictor.evaluate.costs import LatencyConfig, measure_latency
from predictor.evaluate.network import NetworkConfig, build_network
from predictor.evaluate.recipe import Recipe
from predictor.evaluate.trainer import augmented, shifted
from predictor.evaluate.training_evaluator import TrainingEvaluator, chosen_device
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.search_spaces.registry import search_space

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
Build = Callable[..., TrainingEvaluator]


@pytest.fixture(scope="session")
def cell(space: NASBench201) -> Architecture:
    return space.parse(CELL)


class Watching(Reporter):
    """Keeps what it is told; stops, or ends the process's part, after so many results."""

    def __init__(self, stops_after: int | None = None, interrupts_after: int | None = None) -> None:
        self.seen: list[Measured] = []
        self._stops_after, self._interrupts_after = stops_after, interrupts_after

    def measured(self, measured: Measured) -> bool:
        self.seen.append(measured)
        return len(self.seen) != self._stops_after

    def keep_alive(self) -> None:
        if len(self.seen) == self._interrupts_after:
            raise Interrupted


def accuracies(result: EvaluationResult) -> list[float]:
    return [one.metrics["accuracy_percent"] for one in (*result.curve, result.final)]


def test_a_training_learns_and_measures_every_epoch(training: Build, cell: Architecture) -> None:
    watching = Watching()

    result = training().evaluate(cell, seed=1, reporter=watching)

    assert result.final.metrics["accuracy_percent"] > 70.0  # chance: 33
    assert result.final.metrics["test_accuracy_percent"] > 70.0
    assert [one.fidelity for one in watching.seen] == pytest.approx([1 / 3, 2 / 3])
    assert result.curve == tuple(watching.seen)
    seconds = [one.metrics["train_seconds"] for one in (*result.curve, result.final)]
    assert seconds == sorted(seconds)
    assert result.final.metrics["params"] == sum(
        p.numel() for p in build_network(cell, training().space, training().network).parameters()
    )
    assert not result.stopped_early


def test_the_same_seed_trains_the_same_and_another_one_does_not(training: Build, cell: Architecture) -> None:
    before = torch.random.get_rng_state()

    first, again, other = (training().evaluate(cell, seed=seed) for seed in (1, 1, 2))

    assert accuracies(first) == accuracies(again)
    assert first.final.metrics["train_loss"] == again.final.metrics["train_loss"]
    assert first.final.metrics["train_loss"] != other.final.metrics["train_loss"]
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_interrupted_training_ends_where_it_would_have_ended_anyway(
    training: Build, cell: Architecture, tmp_path: Path, optimizer: str
) -> None:
    settings = {"optimizer": optimizer, "learning_rate": 0.01, "augmentation": "flip_crop"}
    whole = training(**settings).evaluate(cell)
    with pytest.raises(Interrupted):
        training(tmp_path, **settings).evaluate(cell, reporter=Watching(interrupts_after=2))

    rest = Watching()
    gone_on = training(tmp_path, **settings).evaluate(cell, reporter=rest)

    assert gone_on.facts["went_on_from_epoch"] == 2
    assert rest.seen == []  # nothing is told twice
    assert accuracies(gone_on) == accuracies(whole)
    assert gone_on.final.metrics["train_loss"] == pytest.approx(whole.final.metrics["train_loss"], rel=1e-6)


def test_a_finished_training_is_not_done_again(training: Build, cell: Architecture, tmp_path: Path) -> None:
    first = training(tmp_path).evaluate(cell)

    again = training(tmp_path).evaluate(cell)

    assert again.facts["went_on_from_epoch"] == 3
    assert accuracies(again) == accuracies(first)
    assert again.final.metrics["train_seconds"] == first.final.metrics["train_seconds"]


@pytest.mark.parametrize("damage", [b"", b"no safetensors", b"\xff" * 100])
def test_a_damaged_state_begins_anew(training: Build, cell: Architecture, tmp_path: Path, damage: bytes) -> None:
    first = training(tmp_path, epochs=1).evaluate(cell)
    (state,) = tmp_path.iterdir()
    state.write_bytes(damage)

    again = training(tmp_path, epochs=1).evaluate(cell)

    assert again.facts["went_on_from_epoch"] == 0
    assert accuracies(again) == accuracies(first)


def test_the_state_of_another_recipe_is_not_gone_on_from(training: Build, cell: Architecture, tmp_path: Path) -> None:
    training(tmp_path, epochs=1).evaluate(cell)

    changed = training(tmp_path, epochs=1, weight_decay=0.0).evaluate(cell)

    assert changed.facts["went_on_from_epoch"] == 0


def test_a_training_that_is_not_worth_it_ends_early_and_says_how_far_it_came(
    training: Build, cell: Architecture
) -> None:
    result = training(epochs=5).evaluate(cell, reporter=Watching(stops_after=2))

    assert result.stopped_early
    assert result.final.fidelity == pytest.approx(2 / 5)
    assert len(result.curve) == 1


def test_a_lower_fidelity_has_fewer_epochs_or_fewer_images(training: Build, cell: Architecture) -> None:
    by_epochs = training(epochs=4).evaluate(cell, fidelity=0.5)
    by_images = training(epochs=1, budget="data").evaluate(cell, fidelity=0.1)

    assert (by_epochs.facts["epochs"], by_epochs.final.fidelity) == (2, 0.5)
    assert (by_images.facts["epochs"], by_images.final.fidelity) == (1, 0.1)


def test_the_test_part_counts_where_the_recipe_says_so(training: Build, cell: Architecture) -> None:
    metrics = training(epochs=1, scored_on="test").evaluate(cell).final.metrics

    assert metrics["accuracy_percent"] == metrics["test_accuracy_percent"]
    assert "validation_accuracy_percent" not in metrics


def test_a_loss_that_is_not_finite_fails_the_evaluation_with_the_reason(training: Build, cell: Architecture) -> None:
    with pytest.raises(FailedEvaluationError, match="finite loss and gradient in epoch 1, got") as failed:
        training(learning_rate=1e30, max_gradient_norm=1e30, schedule="constant").evaluate(cell)

    assert not failed.value.may_succeed_later


def test_what_pytorch_refuses_fails_the_evaluation_too(
    training: Build, cell: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore text")

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", refuse)

    with pytest.raises(
        FailedEvaluationError, match=r"runs through, got OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB$"
    ):
        training().evaluate(cell)


def test_spaces_without_image_classifiers_are_refused_at_once(training: Build) -> None:
    with pytest.raises(EvaluationError, match="networks on graphs") as refused:
        dataclasses.replace(training(), space=search_space("nasbench_graph"), network=NetworkConfig((1, 8, 8), 3))

    assert not isinstance(refused.value, UnbuildableError)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs to be positive, got 0"),
        ({"epochs": 2.5}, "epochs to be a finite number of type int, got 2.5"),
        ({"epochs": True}, "epochs to be a finite number"),
        ({"learning_rate": float("nan")}, "learning_rate to be a finite number"),
        ({"optimizer": "lion"}, "optimizer to be one of sgd, adamw, got 'lion'"),
        ({"data_fraction": 1.5}, r"data_fraction in \(0, 1\]"),
        ({"augmentation": "mixup"}, "augmentation to be one of none, flip, crop, flip_crop"),
        ({"lr": 0.1}, "expected settings among .*learning_rate.*, got 'lr'"),
    ],
)
def test_recipes_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        Recipe.from_json(settings)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_learning_rates_stay_between_nothing_and_the_highest(schedule: str) -> None:
    recipe = Recipe.from_json({"schedule": schedule, "learning_rate": 0.5})
    rates = [recipe.learning_rate_at(step, 100) for step in range(100)]

    assert all(0.0 < rate <= 0.5 for rate in rates)
    assert max(rates) > 0.45
    assert schedule == "constant" or rates[-1] < 0.01


def test_shifted_images_are_windows_of_the_padded_ones() -> None:
    images = torch.arange(1.0, 65.0).reshape(1, 1, 8, 8).repeat(50, 2, 1, 1)

    moved = shifted(images, torch.Generator().manual_seed(0))

    padded = torch.nn.functional.pad(images[0], (1, 1, 1, 1))
    windows = [padded[:, row : row + 8, column : column + 8] for row in range(3) for column in range(3)]
    found = {next(n for n, window in enumerate(windows) if torch.equal(window, image)) for image in moved}
    assert found == set(range(9))


def test_flips_mirror_about_half_of_the_images() -> None:
    images = torch.arange(8.0).expand(400, 1, 8, 8)

    flipped = augmented(images, Recipe(augmentation="flip"), torch.Generator().manual_seed(0))

    mirrored = int((flipped[:, 0, 0, 0] == 7.0).sum())
    assert 150 < mirrored < 250
    assert torch.equal(flipped.sort(dim=3).values, images)


def test_latency_is_the_median_of_many_passes_after_warm_up_and_leaves_the_threads_alone(
    training: Build, cell: Architecture
) -> None:
    network = build_network(cell, training().space, training().network)
    passes: list[tuple[int, int]] = []
    network.register_forward_pre_hook(lambda _, given: passes.append((len(given[0]), torch.get_num_threads())))
    config = LatencyConfig(batch_sizes=(2, 4), warm_up=3, repeats=5, threads=2)
    before = torch.get_num_threads()

    found = measure_latency(network, (1, 8, 8), torch.device("cpu"), config)

    assert passes == [(2, 2)] * 8 + [(4, 2)] * 8
    assert torch.get_num_threads() == before
    assert [one.batch_size for one in found] == [2, 4]
    assert all(one.median_ms > 0.0 and one.spread_ms >= 0.0 for one in found)
    assert not network.training


def test_an_evaluation_tells_latency_for_every_batch_size(training: Build, cell: Architecture) -> None:
    latency = LatencyConfig(batch_sizes=(4, 1), warm_up=1, repeats=3)

    metrics = dataclasses.replace(training(epochs=1), latency=latency).evaluate(cell).final.metrics

    assert metrics["latency_ms"] == metrics["latency_ms_batch_4"] > 0.0
    assert {"latency_ms_batch_1", "latency_spread_ms", "flops"} <= set(metrics)


@pytest.mark.parametrize("name", ["tpu", "gpu7", "cuda:99", "meta"])
def test_devices_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(EvaluationError, match=f"got '{name}'"):
        chosen_device(name)


def test_metrics_are_told_in_the_unit_of_the_task() -> None:
    measured = Measured(1.0, {"accuracy_percent": 91.5, "latency_ms": 2.5, "params": 1_500_000, "own": 3.0})

    assert value_of(measured, "accuracy", "%") == 91.5
    assert value_of(measured, "accuracy", "fraction") == pytest.approx(0.915)
    assert value_of(measured, "error", "fraction") == pytest.approx(0.085)
    assert value_of(measured, "latency", "s") == pytest.approx(0.0025)
    assert value_of(measured, "params", "M") == pytest.approx(1.5)
    assert value_of(measured, "own", "furlongs") == 3.0
    with pytest.raises(EvaluationError, match="expected 'energy' among what was measured, got accuracy_percent"):
        value_of(measured, "energy", "mJ")
    with pytest.raises(EvaluationError, match="unit of 'accuracy' to be one of %"):
        value_of(measured, "accuracy", "stars")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "high"])
def test_values_that_are_no_finite_numbers_fail(value: Any) -> None:
    with pytest.raises(FailedEvaluationError, match="expected accuracy_percent to be a finite number"):
        Measured(1.0, {"accuracy_percent": value})
