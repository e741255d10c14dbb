"""Trains one network by a recipe, epoch by epoch, and can go on where a killed process was.

Everything random is drawn from the seed and the epoch's number, and the learning rate follows from the step's: so a training
that was interrupted ends, on the same machine, where it would have ended anyway.

Notation: B images of a batch, C channels, H height, W width.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from predictor.errors import FailedEvaluationError
from predictor.evaluate import training_state
from predictor.evaluate.base import Measured, Reporter
from predictor.evaluate.examples import Examples, SplitDataset
from predictor.evaluate.recipe import Recipe
from predictor.evaluate.training_state import Progress

_TEST_BATCH = 512
_CROP_SHARE = 8  # images are shifted by up to an eighth of their size


@dataclass(frozen=True)
class Training:
    """One training: what is trained, on what, how, and where its state is kept (None: nowhere)."""

    network: nn.Module
    dataset: SplitDataset
    recipe: Recipe
    seed: int
    device: torch.device
    name: str  # of the network: a state of another is not gone on from
    fidelity: float = 1.0
    state_file: Path | None = None
    save_every_seconds: float = 5.0

    @property
    def identity(self) -> str:
        """Of everything that decides the training."""
        parts = [self.name, self.dataset.fingerprint, dataclasses.asdict(self.recipe), self.seed]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Trained:
    """How a training ended. `went_on_from`: the epoch after which an earlier process was killed, 0 for none."""

    progress: Progress
    stopped_early: bool
    went_on_from: int
    test_accuracy_percent: float


def train(training: Training, reporter: Reporter) -> Trained:
    """Trains to the end, or until the reporter says that it is not worth it.

    Raises:
        FailedEvaluationError: if the loss is not finite, memory does not suffice, or PyTorch refuses something else.
        Interrupted: if the reporter says so; the state that was saved last remains.
    """
    try:
        return _train(training, reporter)
    except RuntimeError as error:  # PyTorch's, memory that does not suffice among them
        reason = (str(error).splitlines() or [""])[0][:300]
        raise FailedEvaluationError(
            f"expected a training that runs through, got {type(error).__name__}: {reason}"
        ) from error


def _train(training: Training, reporter: Reporter) -> Trained:
    recipe, network = training.recipe, training.network.to(training.device)
    data = training.dataset.with_fraction(recipe.data_fraction)
    optimizer = _optimizer(network, recipe)
    progress = Progress(training.identity)
    if training.state_file is not None:
        progress = training_state.load(training.state_file, training.identity, network, optimizer)
    scored = data.test if recipe.scored_on == "test" else data.validation
    went_on_from, saved_at, goes_on = progress.epoch, time.monotonic(), True
    while progress.epoch < recipe.epochs and goes_on:
        _train_epoch(training, data, optimizer, progress, reporter)
        progress.accuracies.append(accuracy_percent(network, data, scored, training.device, reporter))
        progress.seconds.append(progress.train_seconds)
        is_due = time.monotonic() - saved_at >= training.save_every_seconds or progress.epoch == recipe.epochs
        if training.state_file is not None and is_due:
            training_state.save(training.state_file, network, optimizer, progress)
            saved_at = time.monotonic()
        if progress.epoch < recipe.epochs:
            goes_on = reporter.measured(measured_after(training, progress, progress.epoch))
    tested = accuracy_percent(network, data, data.test, training.device, reporter)
    return Trained(progress, not goes_on, went_on_from, tested)


def measured_after(training: Training, progress: Progress, epoch: int) -> Measured:
    """What was known after that epoch."""
    accuracy, seconds = progress.accuracies[epoch - 1], progress.seconds[epoch - 1]
    metrics = {
        "accuracy_percent": accuracy,
        f"{training.recipe.scored_on}_accuracy_percent": accuracy,
        "train_seconds": seconds,
        "train_loss": progress.losses[epoch - 1],
    }
    return Measured(training.fidelity * epoch / training.recipe.epochs, metrics, seconds)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        network.parameters(),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0.0,
        weight_decay=recipe.weight_decay,
    )


def _train_epoch(
    training: Training, data: SplitDataset, optimizer: torch.optim.Optimizer, progress: Progress, reporter: Reporter
) -> None:
    recipe, network, device = training.recipe, training.network, training.device
    start = time.perf_counter()
    generator = torch.Generator().manual_seed(_mixed(training.seed, progress.epoch))
    batches = _batches(len(data.train), recipe.batch_size, generator)
    network.train()
    total = 0.0
    for number, rows in enumerate(batches):
        reporter.keep_alive()
        images = data.normalised(augmented(data.train.images[rows], recipe, generator).to(device))
        step = progress.epoch * len(batches) + number
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(step, recipe.epochs * len(batches))
        labels = data.train.labels[rows].to(device)
        loss = nn.functional.cross_entropy(network(images), labels, label_smoothing=recipe.label_smoothing)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.max_gradient_norm)
        total += _finite(loss.item(), norm.item(), progress.epoch + 1) * len(rows)
        optimizer.step()
    progress.epoch += 1
    progress.train_seconds += time.perf_counter() - start
    progress.losses.append(total / sum(map(len, batches)))


def _finite(loss: float, norm: float, epoch: int) -> float:
    if not math.isfinite(loss) or not math.isfinite(norm):
        raise FailedEvaluationError(f"expected a finite loss and gradient in epoch {epoch}, got {loss} and {norm}")
    return loss


def _mixed(seed: int, epoch: int) -> int:
    digest = hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "little")


def _batches(count: int, size: int, generator: torch.Generator) -> list[Tensor]:
    """All rows in random order; a last batch of one image is left out, since it has no statistics to normalise by."""
    found = torch.randperm(count, generator=generator).split(size)  # type: ignore[no-untyped-call]
    kept = [rows for rows in found if len(rows) > 1]
    if not kept:
        raise FailedEvaluationError(f"expected at least two images to train on, got {count}")
    return kept


def augmented(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:  # (B, C, H, W)
    """Each image perhaps mirrored, perhaps shifted, as the recipe says."""
    if "flip" in recipe.augmentation:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return shifted(images, generator) if "crop" in recipe.augmentation else images


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:  # (B, C, H, W)
    """Each image moved by up to an eighth of its size, zeros where nothing was."""
    batch, _, height, width = images.shape
    reach = max(min(height, width) // _CROP_SHARE, 1)
    padded = nn.functional.pad(images, (reach, reach, reach, reach))
    offsets = torch.randint(0, 2 * reach + 1, (2, batch), generator=generator)
    rows = offsets[0][:, None] + torch.arange(height)  # (B, H)
    columns = offsets[1][:, None] + torch.arange(width)  # (B, W)
    return padded[torch.arange(batch)[:, None, None], :, rows[:, :, None], columns[:, None, :]].movedim(3, 1)


def accuracy_percent(
    network: nn.Module, data: SplitDataset, part: Examples, device: torch.device, reporter: Reporter
) -> float:
    """Of one part of the data set."""
    network.eval()
    correct = 0
    with torch.inference_mode():
        for start in range(0, len(part), _TEST_BATCH):
            reporter.keep_alive()
            images = data.normalised(part.images[start : start + _TEST_BATCH].to(device))
            found = network(images).argmax(dim=1).cpu()
            correct += int((found == part.labels[start : start + _TEST_BATCH]).sum())
    return 100.0 * correct / len(part)
