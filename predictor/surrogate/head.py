"""Mean and spread from an embedding.

Notation: B architectures, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from predictor.surrogate.normalisation import LayerNormalisation


class GaussianHead(nn.Module):
    """Mean and log standard deviation in standardised units; the latter within (-4, 2), smoothly."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = LayerNormalisation(width)
        self.hidden = nn.Linear(width, width)
        self.mean = nn.Linear(width, 1)
        self.log_std = nn.Linear(width, 1)

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor]:  # (B, D) -> (B,), (B,)
        hidden = nn.functional.gelu(self.hidden(self.norm(embedding)))
        log_std = 3.0 * (self.log_std(hidden) / 3.0).tanh() - 1.0
        return self.mean(hidden).squeeze(-1), log_std.squeeze(-1)
