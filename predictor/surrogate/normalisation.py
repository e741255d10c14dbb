"""Layer normalisation (Ba et al., 2016) whose gradients of second order hold under vmap.

With weight and bias inside PyTorch's kernel, gradients of gradients are wrong by a few percent as soon as vmap runs over them
(functorch issue 534); outside of it they are right. Parameters are named as in `torch.nn.LayerNorm`.

Notation: D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerNormalisation(nn.Module):
    """Mean 0 and spread 1 over the last dimension, then a learned factor and shift for each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:  # (…, D) -> (…, D)
        return nn.functional.layer_norm(x, x.shape[-1:]) * self.weight + self.bias
