"""One cell with any subset of its candidate operations: all of them in a supernet, one an edge in a decoded network.

What flows through it is a *route*: either weights of all candidates (a mixture, Liu et al. 2019) or the edges that are kept
with one candidate each (a single path, Guo et al., "Single Path One-Shot Neural Architecture Search", ECCV 2020).

With partial channels (Xu et al., "PC-DARTS", ICLR 2020) only every K-th part of the channels goes through the candidates; the
rest passes an edge by, and channels are shuffled afterwards so that all of them get their turn.

Notation: B batch, C channels, H height, W width, E edges, O candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from predictor.errors import EvaluationError
from predictor.evaluate.supernet.operations import HalvingProjection, OperationStyle, Projection, operation_module
from predictor.search_spaces.cells import CellTemplate

Kept = tuple[tuple[int, int], ...]
"""(edge, candidate) of each edge that is kept."""


@dataclass(frozen=True)
class Mixture:
    """How much each candidate counts on its edge, and each edge in the sum of its node."""

    operations: Tensor  # (E, O)
    edges: Tensor  # (E,)


Route = Mixture | Kept


@dataclass(frozen=True)
class CellInput:
    """What one of a cell's inputs looks like; `is_larger` if it has twice the resolution of the others."""

    width: int
    is_larger: bool = False


class Cell(nn.Module):
    """A template's nodes and those of its candidates that are present.

    Raises:
        EvaluationError: if a candidate cannot be built, or the width cannot be parted.
    """

    def __init__(
        self,
        template: CellTemplate,
        inputs: Sequence[CellInput],
        width: int,
        style: OperationStyle,
        present: Iterable[tuple[int, int]] | None = None,
        parts: int = 1,
    ) -> None:
        super().__init__()
        if width % parts:
            raise EvaluationError(f"expected a width that {parts} partial channels divide, got {width}")
        self.template, self.width, self.parts = template, width, parts
        self.prepared = nn.ModuleList([_prepared(template, one, width, style) for one in inputs])
        self.operations = nn.ModuleDict()
        for edge, candidate in _everything(template) if present is None else present:
            operation = template.candidates[candidate].operation
            if operation is not None:
                module = operation_module(operation, width // parts, self._stride(edge), style)
                self.operations[_key(edge, candidate)] = module

    @property
    def output_width(self) -> int:
        """Channels of what comes out."""
        return self.width * (self.template.num_nodes if self.template.concatenates else 1)

    def forward(self, inputs: Sequence[Tensor], route: Route) -> Tensor:  # (B, C_in, H, W) each -> (B, C, H', W')
        nodes = [prepare(x) for prepare, x in zip(self.prepared, inputs, strict=True)]
        flow = route if isinstance(route, Mixture) else dict(route)
        for incoming in self.template.incoming:
            values = [self._edge(edge, nodes[self.template.edges[edge][0]], flow) for edge in incoming]
            passed = [value for value in values if value is not None]
            nodes.append(torch.stack(passed).sum(0) if passed else self._nothing(nodes[0]))
        inner = nodes[self.template.num_inputs :]
        return torch.cat(inner, dim=1) if self.template.concatenates else inner[-1]

    def _edge(self, edge: int, x: Tensor, flow: Mixture | dict[int, int]) -> Tensor | None:
        """What one edge brings; None if that is nothing."""
        if not isinstance(flow, Mixture) and edge not in flow:
            return None
        terms = list(self._terms(edge, x[:, : self.width // self.parts], flow))
        mixed = torch.stack(terms).sum(0) if terms else None
        value = mixed if self.parts == 1 else self._with_the_rest(edge, x, mixed)
        return value * flow.edges[edge] if value is not None and isinstance(flow, Mixture) else value

    def _terms(self, edge: int, seen: Tensor, flow: Mixture | dict[int, int]) -> Iterator[Tensor]:
        if isinstance(flow, Mixture):
            for candidate in self.template.passing:
                yield self.operations[_key(edge, candidate)](seen) * flow.operations[edge, candidate]
        elif flow[edge] in self.template.passing:
            yield self.operations[_key(edge, flow[edge])](seen)

    def _with_the_rest(self, edge: int, x: Tensor, mixed: Tensor | None) -> Tensor:  # (B, C, H, W) -> (B, C, H', W')
        rest = x[:, self.width // self.parts :]
        if self._stride(edge) == 2:
            rest = functional.max_pool2d(rest, 2, 2, ceil_mode=True)
        if mixed is None:
            mixed = rest.new_zeros(len(rest), self.width // self.parts, *rest.shape[2:])
        return _shuffled(torch.cat([mixed, rest], dim=1), self.parts)

    def _nothing(self, x: Tensor) -> Tensor:
        stride = self.template.stride
        return x.new_zeros(len(x), self.width, -(-x.shape[2] // stride), -(-x.shape[3] // stride))

    def _stride(self, edge: int) -> int:
        return self.template.stride if self.template.edges[edge][0] < self.template.num_inputs else 1


def _everything(template: CellTemplate) -> list[tuple[int, int]]:
    return [(edge, candidate) for edge in range(len(template.edges)) for candidate in template.passing]


def _key(edge: int, candidate: int) -> str:
    return f"{edge}_{candidate}"


def _prepared(template: CellTemplate, given: CellInput, width: int, style: OperationStyle) -> nn.Module:
    if template.num_inputs == 1 and given.width == width:
        return nn.Identity()
    if given.is_larger:
        return HalvingProjection(given.width, width, style)
    return Projection(given.width, width, style)


def _shuffled(x: Tensor, groups: int) -> Tensor:  # (B, C, H, W)
    batch, width, height, across = x.shape
    grouped = x.view(batch, groups, width // groups, height, across)
    return grouped.transpose(1, 2).reshape(batch, width, height, across)
