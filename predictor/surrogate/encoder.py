"""Graph network over typed DAGs.

Attention that follows the edges (forward, backward, and between nodes that share a target or a source) and a feed-forward
over both edge directions, after Xu et al., "NN-Former", CVPR 2025, and Ning et al., "TA-GATES", NeurIPS 2022; attention is
written out because PyTorch's fused kernels have no second-order gradient on the CPU and do not run under vmap.

Notation: B architectures, N nodes, F node features, G global features, C context features, D width, H heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from predictor.encoding import NUM_GLOBAL_FEATURES, NUM_NODE_FEATURES
from predictor.surrogate.normalisation import LayerNormalisation

NUM_RELATIONS = 4


@dataclass(frozen=True)
class EncoderConfig:
    """Size of the graph network."""

    width: int = 64
    num_blocks: int = 3
    num_context: int = 12


def relations(adjacency: Tensor, mask: Tensor) -> Tensor:  # (B, N, N), (B, N) -> (B, 4, N, N)
    """Which node may look at which, by head: its sources, its targets, those with a common target, with a common source.

    Every node may look at itself, padded ones too, so that no row of the softmax is empty.
    """
    backward = adjacency.transpose(-1, -2)
    common_target = (adjacency @ backward).clamp(max=1.0)
    common_source = (backward @ adjacency).clamp(max=1.0)
    itself = torch.eye(adjacency.shape[-1], device=adjacency.device, dtype=adjacency.dtype)
    return torch.stack([backward, adjacency, common_target, common_source], dim=-3).maximum(itself)


class EdgeAttention(nn.Module):
    """Four heads, each masked by one relation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:  # (B, N, D), (B, H, N, N) -> (B, N, D)
        batch, num_nodes, width = x.shape
        size = width // NUM_RELATIONS
        heads = self.project(x).reshape(batch, num_nodes, 3, NUM_RELATIONS, size).permute(2, 0, 3, 1, 4)
        query, key, value = heads[0], heads[1], heads[2]  # (B, H, N, D/H)
        scores = query @ key.transpose(-1, -2) / math.sqrt(size)  # (B, H, N, N)
        weights = torch.softmax(scores + (allowed - 1.0) * 1e4, dim=-1)
        mixed = (weights @ value).transpose(1, 2).reshape(batch, num_nodes, width)
        return self.merge(mixed)  # type: ignore[no-any-return]


class EdgeFeedForward(nn.Module):
    """Feed-forward over a node, the sum of its sources and the sum of its targets."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(width, 2 * width)
        self.sources = nn.Linear(width, 2 * width, bias=False)
        self.targets = nn.Linear(width, 2 * width, bias=False)
        self.merge = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:  # (B, N, D), (B, N, N) -> (B, N, D)
        hidden = self.own(x) + adjacency.transpose(-1, -2) @ self.sources(x) + adjacency @ self.targets(x)
        return self.merge(nn.functional.gelu(hidden))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each on a normalised copy and added back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention_norm = LayerNormalisation(width)
        self.attention = EdgeAttention(width)
        self.feed_forward_norm = LayerNormalisation(width)
        self.feed_forward = EdgeFeedForward(width)

    def forward(self, x: Tensor, adjacency: Tensor, allowed: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), allowed)
        return x + self.feed_forward(self.feed_forward_norm(x), adjacency)  # type: ignore[no-any-return]


class GraphEncoder(nn.Module):
    """Embeds architectures: blocks over the graph, pooled, joined with features of the whole and of the task."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, num_whole = config.width, 2 * NUM_GLOBAL_FEATURES + config.num_context
        self.node_embedding = nn.Linear(NUM_NODE_FEATURES, width)
        self.context_embedding = nn.Linear(config.num_context, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(config.num_blocks))
        self.pool_norm = LayerNormalisation(width)
        self.pooled = nn.Linear(3 * width, width)
        self.whole = nn.Linear(num_whole, 2 * width)
        self.whole_merge = nn.Linear(2 * width, width)
        self.joined = nn.Linear(2 * width, 2 * width)
        self.joined_merge = nn.Linear(2 * width, width)

    def forward(
        self, nodes: Tensor, adjacency: Tensor, mask: Tensor, whole: Tensor, context: Tensor
    ) -> Tensor:  # (B, N, F), (B, N, N), (B, N), (B, 2G), (B, C) -> (B, D)
        allowed = relations(adjacency, mask)
        x = (self.node_embedding(nodes) + self.context_embedding(context)[:, None, :]) * mask[..., None]
        for block in self.blocks:
            x = block(x, adjacency, allowed) * mask[..., None]
        x = self.pool_norm(x) * mask[..., None]
        count = mask.sum(-1, keepdim=True)
        total = x.sum(-2)
        peak = (x + (mask[..., None] - 1.0) * 1e4).amax(-2)
        graph = self.pooled(torch.cat([total / count, total / 10.0, peak], dim=-1))  # (B, D)
        features = self.whole_merge(nn.functional.gelu(self.whole(torch.cat([whole, context], dim=-1))))
        joined = torch.cat([graph, features], dim=-1)
        return graph + features + self.joined_merge(nn.functional.gelu(self.joined(joined)))  # type: ignore[no-any-return]
