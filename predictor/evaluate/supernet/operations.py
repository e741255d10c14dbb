"""Operations on an edge of a cell as PyTorch modules, built from what the operation is.

Source: Liu, Simonyan & Yang, "DARTS: Differentiable Architecture Search", ICLR 2019 (separable and dilated convolutions, the
strided skip connection); Dong & Yang, "NAS-Bench-201", ICLR 2020 (plain convolutions, the same order of layers). Odd
resolutions are halved upwards everywhere.

Notation: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from predictor.architecture import Operation
from predictor.errors import EvaluationError


@dataclass(frozen=True)
class OperationStyle:
    """How modules are normalised: `learns_scale` gives batch normalisation weights of its own, `keeps_statistics` lets it
    average what it sees for use in evaluation, `normalises_pools` puts one behind pooling, so that mixtures weigh
    alternatives of equal size (DARTS does so while it searches, not in the decoded network)."""

    learns_scale: bool = True
    keeps_statistics: bool = True
    normalises_pools: bool = False

    def norm(self, width: int) -> nn.BatchNorm2d:
        """Batch normalisation of this style."""
        return nn.BatchNorm2d(width, affine=self.learns_scale, track_running_stats=self.keeps_statistics)


DECODED = OperationStyle()
SHARED = OperationStyle(keeps_statistics=False)
"""Of weights that single paths share: a path's statistics are its own and are found when it is evaluated."""

MIXED = OperationStyle(learns_scale=False, keeps_statistics=False, normalises_pools=True)
"""Of a mixture: a learned scale would do over again what architecture parameters do."""


class HalvingProjection(nn.Module):
    """ReLU, two 1 × 1 convolutions of stride 2, the second shifted by one pixel, beside each other; batch normalisation."""

    def __init__(self, input_width: int, width: int, style: OperationStyle) -> None:
        super().__init__()
        self.first = nn.Conv2d(input_width, width // 2, 1, 2, bias=False)
        self.second = nn.Conv2d(input_width, width - width // 2, 1, 2, bias=False)
        self.norm = style.norm(width)

    def forward(self, x: Tensor) -> Tensor:  # (B, C_in, H, W) -> (B, C, ⌈H/2⌉, ⌈W/2⌉)
        x = functional.relu(x)
        shifted = functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.first(x), self.second(shifted)], dim=1))  # type: ignore[no-any-return]


class Projection(nn.Sequential):
    """ReLU, 1 × 1 convolution, batch normalisation: what prepares the input of a cell."""

    def __init__(self, input_width: int, width: int, style: OperationStyle) -> None:
        super().__init__(nn.ReLU(), nn.Conv2d(input_width, width, 1, bias=False), style.norm(width))


def operation_module(operation: Operation, width: int, stride: int, style: OperationStyle) -> nn.Module:
    """The module of one candidate operation, which keeps the width.

    Raises:
        EvaluationError: if there is no module for operations of this kind.
    """
    build = _BUILDERS.get(operation.kind)
    if build is None:
        raise EvaluationError(
            f"expected an edge operation of kind {', '.join(_BUILDERS)}, got {operation.kind!r}, which cannot be built"
        )
    return build(operation, width, stride, style)


def _identity(_operation: Operation, width: int, stride: int, style: OperationStyle) -> nn.Module:
    return nn.Identity() if stride == 1 else HalvingProjection(width, width, style)


def _number(operation: Operation, name: str, default: int) -> int:
    return int(operation.get(name, default) or default)


def _convolution(operation: Operation, width: int, stride: int, style: OperationStyle) -> nn.Module:
    size = _number(operation, "kernel_size", 1)
    return nn.Sequential(nn.ReLU(), nn.Conv2d(width, width, size, stride, size // 2, bias=False), style.norm(width))


def _separable(operation: Operation, width: int, stride: int, style: OperationStyle) -> nn.Module:
    size, dilation = _number(operation, "kernel_size", 3), _number(operation, "dilation", 1)
    layers: list[nn.Module] = []
    for repeat in range(_number(operation, "repeats", 1)):
        steps = stride if repeat == 0 else 1
        padding = dilation * (size - 1) // 2
        layers += [
            nn.ReLU(),
            nn.Conv2d(width, width, size, steps, padding, dilation, groups=width, bias=False),
            nn.Conv2d(width, width, 1, bias=False),
            style.norm(width),
        ]
    return nn.Sequential(*layers)


def _pool(operation: Operation, width: int, stride: int, style: OperationStyle) -> nn.Module:
    size = _number(operation, "kernel_size", 3)
    pool: nn.Module = (
        nn.MaxPool2d(size, stride, size // 2)
        if operation.kind == "max_pool"
        else nn.AvgPool2d(size, stride, size // 2, count_include_pad=False)
    )
    return nn.Sequential(pool, style.norm(width)) if style.normalises_pools else pool


_Builder = Callable[[Operation, int, int, OperationStyle], nn.Module]
_BUILDERS: Mapping[str, _Builder] = {
    "identity": _identity,
    "conv": _convolution,
    "separable_conv": _separable,
    "max_pool": _pool,
    "avg_pool": _pool,
}
