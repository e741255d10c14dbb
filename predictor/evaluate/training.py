"""Really trains one cell network and reports what it measured at every fidelity.

The recipe is fixed and short: SGD with Nesterov momentum, one-cycle learning rate, no augmentation.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from predictor.evaluate.cell_network import CellNetwork, CellNetworkConfig, count_flops, count_parameters
from predictor.evaluate.datasets import ImageDataset


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how an architecture is trained; `fidelities` are the epochs after which it is tested."""

    fidelities: tuple[int, ...] = (1, 3, 9)
    batch_size: int = 50
    max_learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    latency_batch_size: int = 64
    latency_repeats: int = 11


@dataclass(frozen=True)
class Measurement:
    """What one training run measured.

    `accuracy_percent` holds the test accuracy after each of `fidelities` (epochs); `train_seconds` the seconds spent
    training (testing not counted) until that epoch; `latency_ms` the median of the forward passes of one batch.
    """

    fidelities: tuple[int, ...]
    accuracy_percent: tuple[float, ...]
    train_seconds: tuple[float, ...]
    latency_ms: float
    params: int
    flops: int


def _accuracy_percent(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    network.eval()
    with torch.inference_mode():
        correct = (network(images).argmax(dim=1) == labels).float().mean()
    return 100.0 * float(correct)


def latency_ms(network: nn.Module, images: Tensor, repeats: int) -> float:
    """Median of that many forward passes of one batch, after one that does not count."""
    network.eval()
    seconds = []
    with torch.inference_mode():
        network(images)
        for _ in range(repeats):
            start = time.perf_counter()
            network(images)
            seconds.append(time.perf_counter() - start)
    return 1000.0 * sorted(seconds)[repeats // 2]


def train_and_measure(
    edge_operations: Sequence[str],
    dataset: ImageDataset,
    seed: int,
    config: TrainingConfig = TrainingConfig(),
    stem_channels: int = 8,
    cells_per_stage: int = 1,
) -> Measurement:
    """Trains the cell network on `dataset` and measures it; the same arguments give the same accuracies on one machine.

    Raises:
        ValueError: if the edge operations are not six known names.
    """
    channels, _, _ = dataset.image_shape
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # layers draw their initial weights from the global generator
        torch.manual_seed(seed)
        network = CellNetwork(
            edge_operations, CellNetworkConfig(channels, dataset.num_classes, stem_channels, cells_per_stage)
        )
    num_images = len(dataset.train_images)
    steps_per_epoch = -(-num_images // config.batch_size)
    epochs = max(config.fidelities)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=config.momentum, nesterov=True, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.max_learning_rate, total_steps=epochs * steps_per_epoch, pct_start=0.15
    )
    accuracies, elapsed, spent = [], [], 0.0
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        network.train()
        order = torch.randperm(num_images, generator=generator)
        for chosen in order.split(config.batch_size):  # type: ignore[no-untyped-call]
            loss = nn.functional.cross_entropy(network(dataset.train_images[chosen]), dataset.train_labels[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        spent += time.perf_counter() - start
        if epoch in config.fidelities:
            accuracies.append(_accuracy_percent(network, dataset.test_images, dataset.test_labels))
            elapsed.append(spent)
    return Measurement(
        fidelities=config.fidelities,
        accuracy_percent=tuple(accuracies),
        train_seconds=tuple(elapsed),
        latency_ms=latency_ms(network, dataset.test_images[: config.latency_batch_size], config.latency_repeats),
        params=count_parameters(network),
        flops=count_flops(network, dataset.image_shape),
    )
