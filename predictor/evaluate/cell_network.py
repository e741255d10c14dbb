"""The NAS-Bench-201 cell as a PyTorch network, small enough to be trained in seconds on a CPU.

Source: Dong & Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020. The
skeleton follows theirs (stem, three stages of cells, reductions between them, global average pooling) with two changes, so
that a laptop finishes a training in seconds and the cell decides the result: stem width and cells per stage are small,
and stem and reductions are a 1 × 1 convolution (with average pooling) where the benchmark has 3 × 3 and residual ones.

Notation: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

NODE_PAIRS = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(source, target) of the six edges, in the order in which the cell string lists them."""


@dataclass(frozen=True)
class CellNetworkConfig:
    """Everything outside the cell that fixes the network."""

    input_channels: int
    num_classes: int
    stem_channels: int = 8
    cells_per_stage: int = 1
    num_stages: int = 3


class _ActivatedConvolution(nn.Sequential):
    """ReLU, convolution, batch normalisation: the benchmark's order."""

    def __init__(self, input_channels: int, output_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(input_channels, output_channels, kernel_size, stride, kernel_size // 2, bias=False),
            nn.BatchNorm2d(output_channels),
        )


def _edge_operation(name: str, channels: int) -> nn.Module | None:
    """The module on one edge; None for the operation that passes nothing on."""
    match name:
        case "none":
            return None
        case "skip_connect":
            return nn.Identity()
        case "nor_conv_1x1":
            return _ActivatedConvolution(channels, channels, 1)
        case "nor_conv_3x3":
            return _ActivatedConvolution(channels, channels, 3)
        case "avg_pool_3x3":
            return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    raise ValueError(
        f"expected one of none, skip_connect, nor_conv_1x1, nor_conv_3x3, avg_pool_3x3 as edge operation, got {name!r}"
    )


class _Cell(nn.Module):
    """Four nodes, each the sum of its incoming edges."""

    def __init__(self, edge_operations: Sequence[str], channels: int) -> None:
        super().__init__()
        self._incoming: list[list[tuple[int, nn.Module]]] = [[] for _ in range(4)]
        self.edges = nn.ModuleList()
        for (source, target), name in zip(NODE_PAIRS, edge_operations, strict=True):
            operation = _edge_operation(name, channels)
            if operation is not None:
                self.edges.append(operation)
                self._incoming[target].append((source, operation))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C, H, W)
        nodes = [x]
        for incoming in self._incoming[1:]:
            values = [operation(nodes[source]) for source, operation in incoming]
            nodes.append(torch.stack(values).sum(0) if values else torch.zeros_like(x))
        return nodes[3]


class _Reduction(nn.Sequential):
    """Halves the resolution and changes the width, and nothing else: spatial features are the cells' work."""

    def __init__(self, input_channels: int, output_channels: int) -> None:
        super().__init__(
            nn.AvgPool2d(2, stride=2, ceil_mode=True),
            nn.Conv2d(input_channels, output_channels, 1, bias=False),
            nn.BatchNorm2d(output_channels),
        )


class CellNetwork(nn.Module):
    """An image classifier built from one NAS-Bench-201 cell.

    Args:
        edge_operations: six operation names in the order of `NODE_PAIRS`.
        config: stem, depth and interface of the network around the cell.

    Raises:
        ValueError: if there are not six operations or one of them is unknown.
    """

    def __init__(self, edge_operations: Sequence[str], config: CellNetworkConfig) -> None:
        super().__init__()
        if len(edge_operations) != len(NODE_PAIRS):
            raise ValueError(f"expected {len(NODE_PAIRS)} edge operations, got {len(edge_operations)}")
        channels = config.stem_channels
        layers: list[nn.Module] = [
            nn.Conv2d(config.input_channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        ]
        for stage in range(config.num_stages):
            if stage:
                layers.append(_Reduction(channels, 2 * channels))
                channels *= 2
            layers += [_Cell(edge_operations, channels) for _ in range(config.cells_per_stage)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:  # (B, input_channels, H, W) -> (B, num_classes)
        return self.classifier(self.features(images))  # type: ignore[no-any-return]


def count_parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def count_flops(network: nn.Module, image_shape: tuple[int, int, int]) -> int:  # (C, H, W)
    """Multiply-accumulates of one forward pass of one image, convolutions and linear layers only."""
    total = 0

    def add(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            per_position = module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
            total += per_position * output[0].numel()
        elif isinstance(module, nn.Linear):
            total += module.in_features * module.out_features

    handles = [module.register_forward_hook(add) for module in network.modules()]
    training = network.training
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, *image_shape))
    network.train(training)
    for handle in handles:
        handle.remove()
    return total
