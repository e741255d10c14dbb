"""Who looks at whom in a batch of graphs, for inference alone: attention along the relations, sums over sources and targets.

Graphs that differ are multiplied by their adjacency, each by its own. In spaces of chains all graphs have the same edges, and
few: there, nodes come first and architectures second, and what a node looks at is found by its place.

Notation: B architectures, N nodes, M = B * N, D width, H heads, L longest list of places.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from predictor.surrogate.encoder import NUM_RELATIONS, relations

_FAR = 1e4  # as in the encoder
_LEAST = -80.0  # lower than any score that matters; where exp underflows, it takes ten times as long
_DENSE = 4  # times as many nodes as places in a list: with fewer, products of whole matrices are faster


class Connectivity(ABC):
    """The edges of a batch. Nodes of all graphs lie below each other in an order that is its own."""

    @abstractmethod
    def flattened(self, x: Tensor) -> Tensor:  # (B, N, D) -> (M, D)
        """Into that order."""

    @abstractmethod
    def unflattened(self, x: Tensor) -> Tensor:  # (M, D) -> (B, N, D)
        """Back from it."""

    @abstractmethod
    def attended(self, projected: Tensor) -> Tensor:  # (M, 3D) -> (M, D)
        """Attention by queries, keys and values, each head along its own relation."""

    @abstractmethod
    def gathered(self, x: Tensor) -> Tensor:  # (M, D) -> (M, 3D)
        """Every node's own state, the sum over its sources, the sum over its targets."""


def connectivity_of(adjacency: Tensor, mask: Tensor) -> Connectivity:  # (B, N, N), (B, N)
    """Whichever is faster for these graphs."""
    if len(adjacency) > 1 and bool((adjacency == adjacency[0]).all()):
        lists = [_places(allowed) for allowed in relations(adjacency[:1], mask[:1])[0]]
        if max(map(len, lists)) * _DENSE <= adjacency.shape[-1]:
            return _SameEdges(len(adjacency), adjacency[0], lists)
    return _OwnEdges(adjacency, mask)


class _OwnEdges(Connectivity):
    """Graph by graph, the nodes of each."""

    def __init__(self, adjacency: Tensor, mask: Tensor) -> None:
        self._size = batch, num_nodes, _ = adjacency.shape
        self._allowed = relations(adjacency, mask).sub_(1.0).mul_(_FAR).view(-1, num_nodes, num_nodes)  # (B * H, N, N)
        itself = torch.eye(num_nodes, device=adjacency.device, dtype=adjacency.dtype).expand(batch, -1, -1)
        around = torch.stack([itself, adjacency.transpose(1, 2), adjacency], 2)
        self._around = around.view(batch, -1, num_nodes)  # (B, 3 * N, N)

    def flattened(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[-1])

    def unflattened(self, x: Tensor) -> Tensor:
        return x.view(*self._size[:2], -1)

    def attended(self, projected: Tensor) -> Tensor:
        """With the softmax written out: PyTorch's is slow on rows as short as these."""
        batch, num_nodes, _ = self._size
        heads = projected.view(batch, num_nodes, 3, NUM_RELATIONS, -1)
        query, key, value = heads.permute(2, 0, 3, 1, 4).reshape(3, batch * NUM_RELATIONS, num_nodes, -1).unbind()
        scores = torch.baddbmm(self._allowed, query, key.transpose(1, 2), alpha=query.shape[-1] ** -0.5)
        weights = scores.sub_(scores.amax(-1, keepdim=True)).clamp_(min=_LEAST).exp_()
        mixed = torch.bmm(weights, value).div_(weights.sum(-1, keepdim=True))
        return mixed.view(batch, NUM_RELATIONS, num_nodes, -1).transpose(1, 2).reshape(batch * num_nodes, -1)

    def gathered(self, x: Tensor) -> Tensor:
        return torch.bmm(self._around, self.unflattened(x)).view(len(x), -1)


@dataclass(frozen=True)
class _Places:
    """For every node a list of nodes, written column by column."""

    index: Tensor  # (L, N)
    blocked: Tensor  # (L, N, 1), very negative where the list is over

    def __len__(self) -> int:
        return len(self.index)


def _places(allowed: Tensor) -> _Places:  # (N, N), 1 where a node may look
    longest = max(int(allowed.sum(1).max()), 1)
    order = torch.argsort(allowed, dim=1, descending=True, stable=True)[:, :longest].T.contiguous()
    return _Places(order, (allowed.gather(1, order.T).T[..., None] - 1.0) * _FAR)


class _SameEdges(Connectivity):
    """Node by node, that of every graph."""

    def __init__(self, batch: int, adjacency: Tensor, lists: list[_Places]) -> None:
        self._batch, self._num_nodes, self._lists = batch, len(adjacency), lists
        self._sums = _places(adjacency.T), _places(adjacency)

    def flattened(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1).reshape(-1, x.shape[-1])

    def unflattened(self, x: Tensor) -> Tensor:
        return x.view(self._num_nodes, self._batch, -1).transpose(0, 1)

    def attended(self, projected: Tensor) -> Tensor:
        heads = projected.view(self._num_nodes, self._batch, 3, NUM_RELATIONS, -1)
        mixed = torch.empty_like(heads[:, :, 0], memory_format=torch.contiguous_format)  # (N, B, H, D / H)
        for number, places in enumerate(self._lists):
            query, key, value = heads[:, :, :, number].unbind(2)
            _attend(query, key, value, places, mixed[:, :, number])
        return mixed.view(len(projected), -1)

    def gathered(self, x: Tensor) -> Tensor:
        own = x.view(self._num_nodes, self._batch, -1)
        return torch.cat([own, *(_total(own, places) for places in self._sums)], -1).view(len(x), -1)


def _attend(query: Tensor, key: Tensor, value: Tensor, places: _Places, out: Tensor) -> None:  # (N, B, D / H) each
    if len(places) == 1:  # itself
        out.copy_(value)
        return
    scores = torch.stack([(query * key.index_select(0, index)).sum(-1) for index in places.index])  # (L, N, B)
    weights = torch.softmax(scores * query.shape[-1] ** -0.5 + places.blocked, 0)[..., None]
    torch.mul(value.index_select(0, places.index[0]), weights[0], out=out)
    for index, weight in zip(places.index[1:], weights[1:], strict=True):
        out.addcmul_(value.index_select(0, index), weight)


def _total(x: Tensor, places: _Places) -> Tensor:  # (N, B, D) -> (N, B, D)
    present = (places.blocked == 0.0).to(x.dtype)[..., None]  # (L, N, 1, 1)
    total = x.index_select(0, places.index[0]) * present[0]
    for index, is_there in zip(places.index[1:], present[1:], strict=True):
        total.addcmul_(x.index_select(0, index), is_there)
    return total
