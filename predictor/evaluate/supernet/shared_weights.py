"""What architectures are worth with the weights of one supernet: no training, and an answer in milliseconds.

Source: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020: one architecture drawn
uniformly for each training step, and batch statistics found anew for each architecture that is evaluated. Weights of a
differentiable search can be asked the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from predictor.architecture import Architecture
from predictor.errors import EvaluationError
from predictor.evaluate.datasets import ImageDataset
from predictor.evaluate.supernet.loop import (
    EpochLoop,
    Record,
    check_at_least,
    check_whole,
    checked_loss,
    cosine,
    set_rate,
)
from predictor.evaluate.supernet.operations import SHARED, OperationStyle
from predictor.evaluate.supernet.retraining import tested
from predictor.evaluate.supernet.stack import CellStack, StackConfig, cell_space, inherited, seeded_stack
from predictor.search_spaces.base import SearchSpace

_SEEDS = 2**31


@dataclass(frozen=True)
class SinglePathConfig:
    """How the weights that single paths share are trained.

    Raises:
        EvaluationError: if a number is out of its range.
    """

    epochs: int = 100
    batch_size: int = 50
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 3e-4
    gradient_limit: float = 5.0
    stack: StackConfig = field(default_factory=StackConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        check_whole(EvaluationError, {"epochs": self.epochs}, 1)
        check_whole(EvaluationError, {"batch_size": self.batch_size}, 2)
        check_whole(EvaluationError, {"seed": self.seed})
        positive = {"learning_rate": self.learning_rate, "gradient_limit": self.gradient_limit}
        check_at_least(EvaluationError, positive, strict=True)
        check_at_least(EvaluationError, {"momentum": self.momentum, "weight_decay": self.weight_decay})


@dataclass(frozen=True)
class SharedWeights:
    """A trained supernet that evaluates architectures of its space. May be called from any thread."""

    space: SearchSpace
    supernet: CellStack
    stack: StackConfig
    style: OperationStyle
    dataset: ImageDataset

    def network(self, architecture: Architecture) -> CellStack:
        """The decoded network with inherited weights, its batch statistics those of all training images.

        Raises:
            NotInSpaceError: if the space cannot express the architecture.
        """
        selection = cell_space(self.space).selection_of(architecture)
        data = self.dataset
        network = inherited(
            self.supernet, data.image_shape[0], data.num_classes, self.stack, self._keeping(), selection
        )
        recalibrate(network, data.train_images.to(next(self.supernet.parameters()).device))
        return network

    def accuracy_percent(self, architecture: Architecture) -> float:
        """Accuracy on the test images with inherited weights.

        Raises:
            NotInSpaceError: if the space cannot express the architecture.
        """
        device = str(next(self.supernet.parameters()).device)
        return tested(self.network(architecture), self.dataset.test_images, self.dataset.test_labels, device)

    def _keeping(self) -> OperationStyle:
        return OperationStyle(self.style.learns_scale, True, self.style.normalises_pools)


@torch.no_grad()
def recalibrate(network: nn.Module, images: Tensor, at_once: int = 250) -> None:
    """Sets the running statistics of every batch normalisation to the plain mean over these images."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches, not a decaying one
    network.train()
    for some in images.split(at_once):  # type: ignore[no-untyped-call]
        if len(some) > 1:  # a single image may have no statistics of its own
            network(some)
    network.eval()


class SinglePathTraining(EpochLoop):
    """Trains a supernet one path at a time.

    Raises:
        SearchError: if the space has no cells.
    """

    def __init__(
        self, space: SearchSpace, dataset: ImageDataset, config: SinglePathConfig, device: str = "cpu"
    ) -> None:
        super().__init__(config.epochs, config.seed, device)
        self.space, self.dataset, self.config, self._cells = space, dataset, config, cell_space(space)
        self.supernet = seeded_stack(
            self._cells.cells, dataset.image_shape[0], dataset.num_classes, config.stack, SHARED, config.seed
        ).to(device)
        self.network = self.supernet
        self._optimizer = torch.optim.SGD(
            self.network.parameters(), lr=config.learning_rate, momentum=config.momentum,
            nesterov=config.momentum > 0.0, weight_decay=config.weight_decay,
        )  # fmt: skip
        self.optimizers, self.learned = {"weights": self._optimizer}, {}
        self._images, self._labels = dataset.train_images.to(device), dataset.train_labels.to(device)

    def weights(self) -> SharedWeights:
        """What has been trained so far, as an evaluator of architectures."""
        return SharedWeights(self.space, self.supernet, self.config.stack, SHARED, self.dataset)

    def _train_epoch(self) -> Record:
        self.network.train()
        set_rate(self._optimizer, cosine(self.epoch / self.num_epochs, self.config.learning_rate, 0.0))
        order = torch.randperm(len(self._images), generator=self.generator).to(self.device)
        losses = [self._step(rows) for rows in order.split(self.config.batch_size) if len(rows) > 1]  # type: ignore[no-untyped-call]
        return {"epoch": self.epoch + 1, "train_loss": sum(losses) / len(losses)}

    def _step(self, rows: Tensor) -> float:
        path = self._cells.selection_of(self.space.sample(self._rng()))
        loss = nn.functional.cross_entropy(self.network(self._images[rows], path), self._labels[rows])
        self._optimizer.zero_grad(set_to_none=True)  # what is not on the path neither moves nor decays
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_limit)
        self._optimizer.step()
        return checked_loss(loss.detach(), EvaluationError)

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng(int(torch.randint(_SEEDS, (), generator=self.generator)))
