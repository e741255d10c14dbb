"""The skeleton around cells: stem, stages of cells, a halving of the resolution between stages, classifier.

The halving is the space's reducing cell where it has one (DARTS), and a fixed module where it has none (NAS-Bench-201). As in
`cell_network`, stem and fixed reduction are 1 × 1 convolutions, so that spatial features are the cells' work and the cell
decides the result (decision 0008). A supernet, a single path of it and a decoded network are the same class with different
candidates present, and their weights have the same names.

Notation: B batch, C channels, H height, W width, T templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from predictor.errors import EvaluationError, SearchError
from predictor.evaluate.supernet.cell import Cell, CellInput, Route
from predictor.evaluate.supernet.operations import DECODED, OperationStyle
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.cells import CellSpace, CellTemplate, Selection


@dataclass(frozen=True)
class StackConfig:
    """How large the network around the cells is. `partial_channels` K lets one K-th of the channels through candidates.

    Raises:
        EvaluationError: if a number is not a positive integer, or the width cannot be parted.
    """

    stem_channels: int = 8
    cells_per_stage: int = 1
    num_stages: int = 3
    partial_channels: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise EvaluationError(f"expected {field.name} to be a positive integer, got {value!r:.80}")
        if self.stem_channels % self.partial_channels:
            raise EvaluationError(
                f"expected stem_channels to be divided by partial_channels, got {self.stem_channels} and {self.partial_channels}"
            )


class Reduction(nn.Sequential):
    """Halves the resolution and changes the width, and nothing else."""

    def __init__(self, input_width: int, width: int, style: OperationStyle) -> None:
        super().__init__(
            nn.AvgPool2d(2, stride=2, ceil_mode=True), nn.Conv2d(input_width, width, 1, bias=False), style.norm(width)
        )


class CellStack(nn.Module):
    """An image classifier of cells, with all their candidates or with a selection of them.

    Raises:
        EvaluationError: if a candidate cannot be built.
    """

    def __init__(
        self,
        templates: Sequence[CellTemplate],
        image_channels: int,
        num_classes: int,
        config: StackConfig,
        style: OperationStyle = DECODED,
        selection: Selection | None = None,
    ) -> None:
        super().__init__()
        self.templates, self.selection = tuple(templates), selection
        builder = _StackBuilder(self.templates, config, style, selection)
        self.stem = nn.Sequential(
            nn.Conv2d(image_channels, config.stem_channels, 1, bias=False), style.norm(config.stem_channels)
        )
        self.layers, self.template_of_layer = builder.layers()
        self.end = nn.Sequential(style.norm(builder.width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(builder.width, num_classes)

    def forward(  # (B, C, H, W) -> (B, classes)
        self, images: Tensor, routes: Sequence[Route] | None = None
    ) -> Tensor:
        """Logits; without routes through what was selected when the network was built."""
        chosen = self.selection if routes is None else routes
        if chosen is None:
            raise EvaluationError("expected a route through each kind of cell of a supernet, got none")
        outputs = [self.stem(images)] * 2
        for layer, place in zip(self.layers, self.template_of_layer, strict=True):
            if place is None:
                outputs = [layer(outputs[-1])] * 2
            else:
                given = outputs[-self.templates[place].num_inputs :]
                outputs = [outputs[-1], layer(given, chosen[place])]
        return self.classifier(self.end(outputs[-1]))  # type: ignore[no-any-return]


@dataclass
class _StackBuilder:
    templates: tuple[CellTemplate, ...]
    config: StackConfig
    style: OperationStyle
    selection: Selection | None
    width: int = 0  # of the last output

    def layers(self) -> tuple[nn.ModuleList, list[int | None]]:
        """The layers and for each the number of its template, None for a fixed reduction."""
        strides = [template.stride for template in self.templates]
        plain = strides.index(1)
        reducing = strides.index(2) if 2 in strides else None
        layers, places = nn.ModuleList(), []
        width = self.config.stem_channels
        ends = [CellInput(width), CellInput(width)]
        for stage in range(self.config.num_stages):
            if stage:
                width *= 2
                layers.append(self._halving(reducing, ends, width))
                places.append(reducing)
                ends = self._ends_of_halving(layers[-1], ends[-1].width, width)
            for _ in range(self.config.cells_per_stage):
                cell = self._cell(plain, ends, width)
                layers.append(cell)
                places.append(plain)
                ends = [ends[-1], CellInput(cell.output_width)]
        self.width = ends[-1].width
        return layers, places

    def _halving(self, reducing: int | None, ends: list[CellInput], width: int) -> nn.Module:
        if reducing is None:
            return Reduction(ends[-1].width, width, self.style)
        return self._cell(reducing, ends, width)

    def _ends_of_halving(self, layer: nn.Module, width_before: int, width: int) -> list[CellInput]:
        if isinstance(layer, Cell):
            return [CellInput(width_before, is_larger=True), CellInput(layer.output_width)]
        return [CellInput(width)] * 2

    def _cell(self, place: int, ends: list[CellInput], width: int) -> Cell:
        template = self.templates[place]
        present = None if self.selection is None else self.selection[place]
        given = ends[-template.num_inputs :]
        return Cell(template, given, width, self.style, present, self.config.partial_channels)


def cell_space(space: SearchSpace) -> CellSpace:
    """The space as one of cells.

    Raises:
        SearchError: if it has none.
    """
    if not isinstance(space, CellSpace):
        raise SearchError(f"expected a search space of cells, whose edges a supernet can mix, got {space.name!r}")
    return space


def seeded_stack(
    templates: Sequence[CellTemplate],
    image_channels: int,
    num_classes: int,
    config: StackConfig,
    style: OperationStyle,
    seed: int,
    selection: Selection | None = None,
) -> CellStack:
    """A network whose first weights depend on the seed alone; PyTorch's global generator is left as it was.

    Raises:
        EvaluationError: see `CellStack`.
    """
    with torch.random.fork_rng(devices=[]):  # layers draw their initial weights from the global generator
        torch.manual_seed(seed)
        return CellStack(templates, image_channels, num_classes, config, style, selection)


def inherited(
    supernet: CellStack, image_channels: int, num_classes: int, config: StackConfig, style: OperationStyle,
    selection: Selection,
) -> CellStack:  # fmt: skip
    """The decoded network of a selection with the supernet's weights; running statistics are yet to be found."""
    network = seeded_stack(supernet.templates, image_channels, num_classes, config, style, 0, selection)
    shared = supernet.state_dict()
    network.load_state_dict({name: shared.get(name, own) for name, own in network.state_dict().items()})
    return network.to(next(supernet.parameters()).device)
