"""The surrogate as it answers: the same numbers as `Surrogate`, in fewer and larger steps.

`Surrogate` is written for gradients of gradients under vmap. Where none is asked for, a node's own state and the sums over
its sources and targets lie beside each other for one product, and padded nodes are left alone until nodes are pooled, since no
real node looks at them. Who looks at whom is in `connectivity`.

Notation: B architectures, N nodes, M = B * N, K different ones of them, F node features, G global features, C context features, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

from predictor.surrogate.connectivity import Connectivity, connectivity_of
from predictor.surrogate.distinct import distinct_rows

_FAR = 1e4  # as in the encoder


class _Affine:
    """A linear layer's parameters."""

    def __init__(self, parameters: Mapping[str, Tensor], name: str) -> None:
        self.weight, self.bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]

    def __call__(self, x: Tensor) -> Tensor:  # (…, in) -> (…, out)
        return linear(x, self.weight, self.bias)

    def added_to(self, total: Tensor, x: Tensor) -> Tensor:  # (M, out), (M, in) -> (M, out)
        return torch.addmm(total, x, self.weight.T).add_(self.bias)


class _Norm:
    """A layer normalisation's parameters."""

    def __init__(self, parameters: Mapping[str, Tensor], name: str) -> None:
        self.weight, self.bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]

    def __call__(self, x: Tensor) -> Tensor:  # (…, D) -> (…, D)
        return layer_norm(x, self.bias.shape, self.weight, self.bias)


class _Block:
    """Attention along the edges, then a feed-forward over them."""

    def __init__(self, parameters: Mapping[str, Tensor], name: str) -> None:
        self._attention_norm = _Norm(parameters, f"{name}.attention_norm")
        self._project = _Affine(parameters, f"{name}.attention.project")
        self._merge = _Affine(parameters, f"{name}.attention.merge")
        forward = f"{name}.feed_forward"
        self._feed_forward_norm = _Norm(parameters, f"{name}.feed_forward_norm")
        self._hidden = torch.cat([parameters[f"{forward}.{part}.weight"] for part in ("own", "sources", "targets")], 1)
        self._hidden_bias = parameters[f"{forward}.own.bias"]
        self._feed_forward_merge = _Affine(parameters, f"{forward}.merge")

    def __call__(self, x: Tensor, connectivity: Connectivity) -> Tensor:
        """(M, D) -> (M, D), nodes in the order of the connectivity."""
        return self._mixed(x, self.projected(x), connectivity)

    def of_distinct(self, rows: Tensor, places: Tensor, connectivity: Connectivity) -> Tensor:
        """(K, D), (M,) -> (M, D): the same where every node's state is one of K."""
        return self._mixed(rows.index_select(0, places), self.projected(rows).index_select(0, places), connectivity)

    def projected(self, x: Tensor) -> Tensor:  # (M, D) -> (M, 3D)
        """Queries, keys and values."""
        return self._project(self._attention_norm(x))

    def _mixed(self, x: Tensor, projected: Tensor, connectivity: Connectivity) -> Tensor:
        x = self._merge.added_to(x, connectivity.attended(projected))
        seen = connectivity.gathered(self._feed_forward_norm(x))
        return self._feed_forward_merge.added_to(x, gelu(linear(seen, self._hidden, self._hidden_bias)))


class FastSurrogate:
    """A surrogate at fixed parameters, for inference alone. Immutable; may be called from any thread."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        """From the parameters of a `Surrogate`, by name."""
        names = {name.split(".")[2] for name in parameters if name.startswith("encoder.blocks.")}
        self._blocks = [_Block(parameters, f"encoder.blocks.{number}") for number in range(len(names))]
        self._node_embedding = _Affine(parameters, "encoder.node_embedding")
        self._context_embedding = _Affine(parameters, "encoder.context_embedding")
        self._pool_norm = _Norm(parameters, "encoder.pool_norm")
        self._pooled = _Affine(parameters, "encoder.pooled")
        self._whole = _Affine(parameters, "encoder.whole")
        self._whole_merge = _Affine(parameters, "encoder.whole_merge")
        self._joined = _Affine(parameters, "encoder.joined")
        self._joined_merge = _Affine(parameters, "encoder.joined_merge")
        self._head_norm = _Norm(parameters, "head.norm")
        self._head_hidden = _Affine(parameters, "head.hidden")
        self._mean = _Affine(parameters, "head.mean")
        self._log_std = _Affine(parameters, "head.log_std")

    def __call__(
        self, nodes: Tensor, adjacency: Tensor, mask: Tensor, whole: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:  # (B, N, F), (B, N, N), (B, N), (B, G), (C,)
        """As `Surrogate.forward` in one context: mean (B,), log standard deviation (B,), embedding (B, D)."""
        with torch.inference_mode():
            embedding = self._embedding(nodes, adjacency, mask, whole, context)
            hidden = gelu(self._head_hidden(self._head_norm(embedding)))
            log_std = 3.0 * (self._log_std(hidden) / 3.0).tanh() - 1.0
            return self._mean(hidden).squeeze(-1), log_std.squeeze(-1), embedding

    def _embedding(self, nodes: Tensor, adjacency: Tensor, mask: Tensor, whole: Tensor, context: Tensor) -> Tensor:
        connectivity = connectivity_of(adjacency, mask)
        rows, places = distinct_rows(connectivity.flattened(nodes))
        first, *others = self._blocks
        embedded = self._node_embedding(rows) + self._context_embedding(context)
        x = first.of_distinct(embedded, places, connectivity)
        for block in others:
            x = block(x, connectivity)
        graph = self._pooled(_pooled(connectivity.unflattened(self._pool_norm(x)), mask))
        features = self._whole_merge(gelu(self._whole(torch.cat([whole, context.expand(len(whole), -1)], -1))))
        joined = gelu(self._joined(torch.cat([graph, features], -1)))
        return graph + features + self._joined_merge(joined)


def _pooled(x: Tensor, mask: Tensor) -> Tensor:  # (B, N, D), (B, N) -> (B, 3D)
    """Mean, sum and largest over the real nodes."""
    real = mask[..., None]
    total = (x * real).sum(1)
    peak = x.masked_fill(real == 0.0, -_FAR).amax(1)
    return torch.cat([total / mask.sum(1, keepdim=True), total / 10.0, peak], -1)
