"""Trains a decoded network from scratch: what a search found is worth what it reaches without the supernet's weights.

The recipe is that of `predictor.evaluate.training`: SGD with Nesterov momentum, one-cycle learning rate (Smith & Topin, "Super-
Convergence", 2018, with the momentum cycling against it), no augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from predictor.architecture import Architecture
from predictor.errors import EvaluationError
from predictor.evaluate.datasets import ImageDataset
from predictor.evaluate.supernet.loop import (
    EpochLoop,
    Record,
    accuracy_percent,
    check_at_least,
    check_whole,
    checked_loss,
    cosine,
    set_rate,
)
from predictor.evaluate.supernet.operations import DECODED
from predictor.evaluate.supernet.stack import StackConfig, cell_space, seeded_stack
from predictor.search_spaces.base import SearchSpace

_RISING_SHARE = 0.15
_MOMENTA = (0.95, 0.85)
_TESTED_AT_ONCE = 500


@dataclass(frozen=True)
class RetrainingConfig:
    """How a decoded network is trained.

    Raises:
        EvaluationError: if a number is out of its range.
    """

    epochs: int = 9
    batch_size: int = 50
    max_learning_rate: float = 0.1
    weight_decay: float = 5e-4
    gradient_limit: float = 5.0

    def __post_init__(self) -> None:
        check_whole(EvaluationError, {"epochs": self.epochs})
        check_whole(EvaluationError, {"batch_size": self.batch_size}, 2)
        check_at_least(EvaluationError, {"weight_decay": self.weight_decay})
        positive = {"max_learning_rate": self.max_learning_rate, "gradient_limit": self.gradient_limit}
        check_at_least(EvaluationError, positive, strict=True)


class Retraining(EpochLoop):
    """A decoded network on all training images, tested on the test images after the last epoch.

    Raises:
        SearchError: if the space has no cells.
        NotInSpaceError: if it cannot express the architecture.
    """

    def __init__(
        self,
        space: SearchSpace,
        architecture: Architecture,
        dataset: ImageDataset,
        stack: StackConfig,
        config: RetrainingConfig,
        seed: int,
        device: str = "cpu",
    ) -> None:
        super().__init__(config.epochs, seed, device)
        cells = cell_space(space)
        self.config, self.dataset = config, dataset
        self.network = seeded_stack(
            cells.cells,
            dataset.image_shape[0],
            dataset.num_classes,
            stack,
            DECODED,
            seed,
            cells.selection_of(architecture),
        ).to(device)
        self._optimizer = torch.optim.SGD(
            self.network.parameters(), lr=0.1, momentum=_MOMENTA[0], nesterov=True, weight_decay=config.weight_decay
        )
        self.optimizers, self.learned = {"weights": self._optimizer}, {}
        self._images, self._labels = dataset.train_images.to(device), dataset.train_labels.to(device)

    def _train_epoch(self) -> Record:
        self.network.train()
        losses = []
        batches = torch.randperm(len(self._images), generator=self.generator).split(self.config.batch_size)  # type: ignore[no-untyped-call]
        for number, chosen in enumerate(batches):
            self._set_pace((self.epoch + number / len(batches)) / self.num_epochs)
            rows = chosen.to(self.device)
            loss = nn.functional.cross_entropy(self.network(self._images[rows]), self._labels[rows])
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_limit)
            self._optimizer.step()
            losses.append(checked_loss(loss.detach(), EvaluationError))
            self.on_batch()
        record: Record = {"epoch": self.epoch + 1, "train_loss": sum(losses) / len(losses)}
        if self.epoch + 1 == self.num_epochs:
            record["accuracy_percent"] = self.test()
        return record

    def _set_pace(self, progress: float) -> None:
        """One cycle: up to the largest rate, down to nearly nothing."""
        top, (high, low) = self.config.max_learning_rate, _MOMENTA
        if progress < _RISING_SHARE:
            rising = progress / _RISING_SHARE
            set_rate(self._optimizer, cosine(rising, top / 25.0, top), cosine(rising, high, low))
        else:
            falling = (progress - _RISING_SHARE) / (1.0 - _RISING_SHARE)
            set_rate(self._optimizer, cosine(falling, top, top / 25e4), cosine(falling, low, high))

    def test(self) -> float:
        """Accuracy on the test images, in percent."""
        return tested(self.network, self.dataset.test_images, self.dataset.test_labels, self.device)


@torch.inference_mode()
def tested(network: nn.Module, images: Tensor, labels: Tensor, device: str) -> float:
    """Accuracy in percent, with the statistics that the network has."""
    network.eval()
    correct = [
        network(some.to(device)).argmax(dim=1).cpu() == true.cpu()
        for some, true in zip(images.split(_TESTED_AT_ONCE), labels.split(_TESTED_AT_ONCE), strict=True)  # type: ignore[no-untyped-call]
    ]
    return accuracy_percent(correct)
