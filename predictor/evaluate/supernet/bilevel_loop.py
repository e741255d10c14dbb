"""Trains a supernet's weights and its architecture parameters in turn, each on its own half of the training images.

Source: Liu, Simonyan & Yang, "DARTS", ICLR 2019, algorithm 1; Xu et al., "PC-DARTS", ICLR 2020 (partial channels, edge
normalisation, epochs in which weights alone are trained); Zela et al., ICLR 2020 (early stopping by curvature).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from predictor.errors import SearchError
from predictor.evaluate.datasets import ImageDataset
from predictor.evaluate.supernet.bilevel import (
    TrainingStep,
    difference_product,
    exact_product,
    first_order_gradient,
    unrolled_gradient,
)
from predictor.evaluate.supernet.config import DartsConfig
from predictor.evaluate.supernet.curvature import dominant_eigenvalue, hessian_product
from predictor.evaluate.supernet.loop import EpochLoop, Record, accuracy_percent, checked_loss, cosine, set_rate
from predictor.evaluate.supernet.operations import MIXED
from predictor.evaluate.supernet.parameters import ArchitectureParameters, skip_share
from predictor.evaluate.supernet.shared_weights import SharedWeights
from predictor.evaluate.supernet.stack import cell_space, seeded_stack
from predictor.search_spaces.base import SearchSpace

Batch = tuple[Tensor, Tensor]
"""Images and labels."""

_TESTED_AT_ONCE = 250
Half = Literal["weights", "architecture"]


class BilevelLoop(EpochLoop):
    """The supernet of a space on a data set.

    Raises:
        SearchError: if the space has no cells or there are too few images.
    """

    def __init__(self, space: SearchSpace, dataset: ImageDataset, config: DartsConfig, device: str = "cpu") -> None:
        super().__init__(config.epochs, config.seed, device)
        self.space, self.cells, self.config = space, cell_space(space), config
        self._dataset = dataset
        self.supernet = seeded_stack(
            self.cells.cells, dataset.image_shape[0], dataset.num_classes, config.stack, MIXED, config.seed
        ).to(device)
        self.network = self.supernet
        self.parameters = ArchitectureParameters.initial(
            self.cells.cells, config.normalises_edges, self.generator, device
        )
        self.learned = {str(number): tensor for number, tensor in enumerate(self.parameters.tensors)}
        self._weights = torch.optim.SGD(
            self.network.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        self._architecture = torch.optim.Adam(
            self.parameters.tensors,
            lr=config.architecture_rate,
            betas=(0.5, 0.999),
            weight_decay=config.architecture_decay,
        )
        self.optimizers = {"weights": self._weights, "architecture": self._architecture}
        self._halves = self._split(dataset)

    def _split(self, dataset: ImageDataset) -> dict[Half, Batch]:
        order = torch.randperm(len(dataset.train_images), generator=self.generator)
        middle = len(order) // 2
        if middle < 2:
            raise SearchError(f"expected at least 4 training images, two for each half, got {len(order)}")
        images, labels = dataset.train_images, dataset.train_labels
        parts: dict[Half, Tensor] = {"weights": order[:middle], "architecture": order[middle:]}
        return {half: (images[rows].to(self.device), labels[rows].to(self.device)) for half, rows in parts.items()}

    def shared_weights(self) -> SharedWeights:
        """The supernet's weights as an evaluator of architectures."""
        return SharedWeights(self.space, self.supernet, self.config.stack, MIXED, self._dataset)

    def _train_epoch(self) -> Record:
        self.network.train()
        config = self.config
        set_rate(self._weights, cosine(self.epoch / self.num_epochs, config.learning_rate, config.least_learning_rate))
        losses = []
        for training, validation in zip(self._batches("weights"), self._batches("architecture"), strict=False):
            if self.epoch >= config.warmup_epochs:
                self._move_architecture(training, validation)
            losses.append(self._move_weights(training))
            self.on_batch()
        return self._record(sum(losses) / len(losses))

    def _batches(self, half: Half) -> list[Batch]:
        """Shuffled, without a last batch of a single image, of which there are no statistics."""
        images, labels = self._halves[half]
        order = torch.randperm(len(images), generator=self.generator).to(self.device)
        rows = [some for some in order.split(self.config.batch_size) if len(some) > 1]  # type: ignore[no-untyped-call]
        return [(images[some], labels[some]) for some in rows]

    def _move_weights(self, batch: Batch) -> float:
        images, labels = batch
        with torch.no_grad():
            mixtures = self.parameters.mixtures()
        loss = nn.functional.cross_entropy(self.network(images, mixtures), labels)
        self._weights.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_limit)
        self._weights.step()
        return checked_loss(loss.detach(), SearchError)

    def _move_architecture(self, training: Batch, validation: Batch) -> None:
        weights = list(self.network.parameters())
        if self.config.order == "first":
            gradients = first_order_gradient(self._loss_of(validation), weights, self.parameters.tensors)
        else:
            product = difference_product if self.config.order == "second" else exact_product
            losses = self._loss_of(training), self._loss_of(validation)
            gradients = unrolled_gradient(*losses, weights, self.parameters.tensors, self._next_step(), product)
        for tensor, gradient in zip(self.parameters.tensors, gradients, strict=True):
            tensor.grad = gradient
        self._architecture.step()

    def _next_step(self) -> TrainingStep:
        """The weights' own next step, without the limit on its gradient."""
        group = self._weights.param_groups[0]
        state = self._weights.state
        buffers = [state[weight]["momentum_buffer"] for weight in group["params"] if "momentum_buffer" in state[weight]]
        return TrainingStep(group["lr"], group["momentum"], group["weight_decay"], buffers)

    def _loss_of(self, batch: Batch) -> _StackLoss:
        return _StackLoss(self.network, self.parameters, batch)

    def _record(self, train_loss: float) -> Record:
        selection = self.parameters.selection()
        stopping = self.config.early_stopping
        return {
            "epoch": self.epoch + 1,
            "train_loss": train_loss,
            "validation_accuracy_percent": self._mixture_accuracy(),
            "genotype": self.cells.selected(selection).genotype,
            "skip_share": skip_share(self.cells.cells, selection),
            "eigenvalue": None if stopping is None else self.eigenvalue(stopping.iterations),
        }

    @torch.no_grad()
    def _mixture_accuracy(self) -> float:
        """Of the whole mixture on the architecture's half, normalised by the statistics of what is tested at once."""
        mixtures = self.parameters.mixtures()
        images, labels = self._halves["architecture"]
        parts = zip(images.split(_TESTED_AT_ONCE), labels.split(_TESTED_AT_ONCE), strict=True)  # type: ignore[no-untyped-call]
        return accuracy_percent(
            [self.network(some, mixtures).argmax(dim=1) == true for some, true in parts if len(true) > 1]
        )

    def eigenvalue(self, iterations: int) -> float:
        """The dominant one of the Hessian of the validation loss of one batch, in the architecture parameters."""
        validation = self._batches("architecture")[0]
        leaves = [tensor.detach().requires_grad_() for tensor in self.parameters.tensors]
        weights = [weight.detach() for weight in self.network.parameters()]
        product = hessian_product(self._loss_of(validation)(weights, leaves), leaves)
        start = torch.randn(sum(tensor.numel() for tensor in leaves), generator=self.generator).to(self.device)
        return dominant_eigenvalue(product, start, iterations)


class _StackLoss:
    """Cross-entropy of a batch as a function of weights and architecture parameters."""

    def __init__(self, network: nn.Module, parameters: ArchitectureParameters, batch: Batch) -> None:
        self._network, self._parameters, self._batch = network, parameters, batch
        self._names = [name for name, _ in network.named_parameters()]

    def __call__(self, weights: Sequence[Tensor], architecture: Sequence[Tensor]) -> Tensor:
        images, labels = self._batch
        named = dict(zip(self._names, weights, strict=True))
        mixtures = self._parameters.mixtures(architecture)
        return nn.functional.cross_entropy(functional_call(self._network, named, (images, mixtures)), labels)
