"""Architecture parameters: what weighs the candidates of a supernet's edges, and how they are made into an architecture.

Source: Liu, Simonyan & Yang, "DARTS", ICLR 2019 (softmax over candidates; the two strongest predecessors of each node, none of
them empty); Xu et al., "PC-DARTS", ICLR 2020 (edge normalisation: a second softmax, over the edges that lead into a node).

Notation: T templates, E edges, O candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from predictor.evaluate.supernet.cell import Kept, Mixture
from predictor.search_spaces.cells import CellTemplate, Selection

_INITIAL_SPREAD = 1e-3


@dataclass(frozen=True)
class ArchitectureParameters:
    """Leaf tensors: for every template (E, O) of candidates, then, with edge normalisation, (E,) of edges."""

    templates: tuple[CellTemplate, ...]
    normalises_edges: bool
    tensors: tuple[Tensor, ...]

    @classmethod
    def initial(
        cls, templates: Sequence[CellTemplate], normalises_edges: bool, generator: torch.Generator, device: str = "cpu"
    ) -> ArchitectureParameters:
        """Near zero, so that all candidates count alike."""
        shapes: list[tuple[int, ...]] = [(len(one.edges), len(one.candidates)) for one in templates]
        if normalises_edges:
            shapes += [(len(one.edges),) for one in templates]
        drawn = [_INITIAL_SPREAD * torch.randn(shape, generator=generator) for shape in shapes]
        return cls(tuple(templates), normalises_edges, tuple(one.to(device).requires_grad_() for one in drawn))

    def mixtures(self, tensors: Sequence[Tensor] | None = None) -> list[Mixture]:
        """The weights that these parameters (or `tensors` in their place) stand for."""
        values = self.tensors if tensors is None else tensors
        found = []
        for place, template in enumerate(self.templates):
            operations = values[place].softmax(dim=1)
            edges = (
                _edge_weights(template, values[len(self.templates) + place])
                if self.normalises_edges
                else operations.new_ones(len(template.edges))
            )
            found.append(Mixture(operations, edges))
        return found

    @torch.no_grad()
    def selection(self) -> Selection:
        """What is left when only the strongest is kept."""
        return tuple(
            strongest(template, mixture) for template, mixture in zip(self.templates, self.mixtures(), strict=True)
        )


def _edge_weights(template: CellTemplate, values: Tensor) -> Tensor:  # (E,) -> (E,)
    parts = [values[list(edges)].softmax(dim=0) for edges in template.incoming]
    return torch.cat(parts)  # edges ascend by target


def strongest(template: CellTemplate, mixture: Mixture) -> Kept:
    """One cell of the selection: every edge's strongest candidate, or, where nodes keep a number of inputs, those of the
    edges whose strongest candidate that passes something on counts most."""
    weights = (mixture.operations * mixture.edges[:, None]).detach().cpu()
    if template.inputs_per_node is None:
        return tuple(enumerate(weights.argmax(dim=1).tolist()))
    passing = torch.tensor(template.passing)
    strength, place = weights[:, passing].max(dim=1)
    kept: list[tuple[int, int]] = []
    for incoming in template.incoming:
        ranked = sorted(incoming, key=lambda edge: (-float(strength[edge]), edge))
        kept += [(edge, int(passing[place[edge]])) for edge in sorted(ranked[: template.inputs_per_node])]
    return tuple(kept)


def skip_share(templates: Sequence[CellTemplate], selection: Selection) -> float:
    """Share of kept edges that only pass on what they get."""
    kept = [
        template.candidates[candidate]
        for template, cell in zip(templates, selection, strict=True)
        for _, candidate in cell
    ]
    return sum(one.is_skip for one in kept) / len(kept)
