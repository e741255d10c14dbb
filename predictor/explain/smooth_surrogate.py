"""The surrogate as a smooth function of how much of every edge is there: the same numbers as `Surrogate` where edges are there or not.

`Surrogate` bars attention from what is no edge by a large negative number, so that next to nothing happens until an edge is there
for 99.9 %. Here a node that may be looked at to the share a counts a times in the softmax, which is the same at 0 and at 1 and has a
derivative worth integrating in between. It computes in float64.

Notation: B architectures, N nodes, F node features, G global features, C context features, D width, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from predictor.surrogate.encoder import NUM_RELATIONS, relations


class SmoothSurrogate:
    """A surrogate at fixed parameters, through which gradients pass to its inputs. Immutable."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        """From the parameters of a `Surrogate`, by name."""
        self._parameters = {name: value.detach().cpu().double() for name, value in parameters.items()}
        self._num_blocks = len({name.split(".")[2] for name in parameters if name.startswith("encoder.blocks.")})

    def __call__(
        self, nodes: Tensor, adjacency: Tensor, mask: Tensor, whole: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor]:  # (B, N, F), (B, N, N), (B, N), (B, 2G), (B, C)
        """Mean (B,) and embedding (B, D)."""
        real = mask[..., None]
        allowed = relations(adjacency, mask)  # (B, H, N, N)
        x = self._affine("encoder.node_embedding", nodes)
        x = (x + self._affine("encoder.context_embedding", context)[:, None]) * real
        for number in range(self._num_blocks):
            x = self._block(f"encoder.blocks.{number}", x, adjacency, allowed) * real
        graph = self._pooled(self._norm("encoder.pool_norm", x) * real, mask)
        features = self._two_layers("encoder.whole", torch.cat([whole, context], -1))
        joined = self._two_layers("encoder.joined", torch.cat([graph, features], -1))
        embedding = graph + features + joined
        hidden = gelu(self._affine("head.hidden", self._norm("head.norm", embedding)))
        return self._affine("head.mean", hidden).squeeze(-1), embedding

    def _block(self, name: str, x: Tensor, adjacency: Tensor, allowed: Tensor) -> Tensor:
        mixed = self._attended(name, self._norm(f"{name}.attention_norm", x), allowed)
        x = x + self._affine(f"{name}.attention.merge", mixed)
        seen, forward = self._norm(f"{name}.feed_forward_norm", x), f"{name}.feed_forward"
        hidden = self._affine(f"{forward}.own", seen)
        hidden = hidden + adjacency.transpose(1, 2) @ self._affine(f"{forward}.sources", seen)
        hidden = hidden + adjacency @ self._affine(f"{forward}.targets", seen)
        return x + self._affine(f"{forward}.merge", gelu(hidden))

    def _attended(self, name: str, x: Tensor, allowed: Tensor) -> Tensor:  # (B, N, D), (B, H, N, N) -> (B, N, D)
        batch, num_nodes, width = x.shape
        projected = self._affine(f"{name}.attention.project", x)
        heads = projected.reshape(batch, num_nodes, 3, NUM_RELATIONS, -1).permute(2, 0, 3, 1, 4)
        query, key, value = heads[0], heads[1], heads[2]
        scores = query @ key.transpose(-1, -2) / math.sqrt(width // NUM_RELATIONS)
        weights = allowed * torch.exp(
            scores - scores.amax(-1, keepdim=True)
        )  # itself is always allowed: no row is empty
        mixed = (weights @ value) / weights.sum(-1, keepdim=True)
        return mixed.transpose(1, 2).reshape(batch, num_nodes, width)

    def _pooled(self, x: Tensor, mask: Tensor) -> Tensor:
        # what is not there is as low as the lowest, never the peak; what is there to a share is in between
        lowest = x.amin(1, keepdim=True).expand_as(x)
        total, peak = x.sum(1), torch.lerp(lowest, x, mask[..., None].expand_as(x)).amax(1)
        return self._affine("encoder.pooled", torch.cat([total / mask.sum(1, keepdim=True), total / 10.0, peak], -1))

    def _two_layers(self, name: str, x: Tensor) -> Tensor:
        return self._affine(f"{name}_merge", gelu(self._affine(name, x)))

    def _affine(self, name: str, x: Tensor) -> Tensor:
        return linear(x, self._parameters[f"{name}.weight"], self._parameters.get(f"{name}.bias"))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self._parameters[f"{name}.weight"], self._parameters[f"{name}.bias"]
        return layer_norm(x, bias.shape, weight, bias)
