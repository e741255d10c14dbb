"""What surrounds the architectures of a search space in the network that is really trained: facts, no modules.

Every search space names the skeleton that its architectures belong in (`SearchSpace.skeleton`); `predictor.evaluate` builds it.
The numbers are the published ones. They are what may be changed for a smaller proxy (`Skeleton.resized`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from predictor.errors import EvaluationError


@dataclass(frozen=True)
class Skeleton:
    """Base of all skeletons."""

    def resized(self, changes: Mapping[str, int]) -> Self:
        """The same with other numbers, such as fewer cells.

        Raises:
            EvaluationError: if there is no such number, or it is not positive.
        """
        known = {field.name for field in dataclasses.fields(self) if type(getattr(self, field.name)) is int}
        for name, value in changes.items():
            if name not in known:
                raise EvaluationError(
                    f"expected sizes of {type(self).__name__} among {', '.join(sorted(known)) or 'none'}, got {name!r:.80}"
                )
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100_000:
                raise EvaluationError(f"expected {name} to be a whole number from 1 to 100,000, got {value!r:.80}")
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class WholeGraph(Skeleton):
    """The graph is the network, less a classifier; operations that tell no width have that of what feeds them.

    `told_elsewhere`: attributes of `decision` nodes that the rest of the graph tells too, such as the number of its layers.
    """

    stem_channels: int = 16
    told_elsewhere: frozenset[str] = frozenset()


@dataclass(frozen=True)
class NoNetwork(Skeleton):
    """There is no image classifier to build."""

    reason: str = ""


@dataclass(frozen=True)
class CellStages(Skeleton):
    """Stages of equal cells that keep their width, a residual block of half the resolution and twice the width between them."""

    stem_channels: int = 16
    num_stages: int = 3
    cells_per_stage: int = 5


@dataclass(frozen=True)
class ReducingCells(Skeleton):
    """Stages of cells of which the first may itself halve the resolution and double the width, as the code's digits say."""

    stem_channels: int = 64
    stem_stride: int = 2  # of each of its two convolutions
    cells_per_stage: int = 2
    code: str = "41414"  # 1 as before, 2 twice the width, 3 half the resolution, 4 both


@dataclass(frozen=True)
class ConcatenatingCells(Skeleton):
    """Stacks of cells whose width is shared out among what is concatenated, max pooling and twice the width between them."""

    stem_channels: int = 128
    num_stages: int = 3
    cells_per_stage: int = 3


@dataclass(frozen=True)
class CellPairs(Skeleton):
    """Cells that are fed by the two before them; the second kind stands after one third and two thirds of the way."""

    channels: int = 36
    num_cells: int = 20
    stem_multiplier: int = 3


@dataclass(frozen=True)
class BlockChain(Skeleton):
    """A chain of inverted residual blocks between a stem and a head."""

    stem_channels: int = 32
    stem_stride: int = 2
    head_channels: int = 1280
    feature_channels: int = 0  # of a second layer of the head, after pooling; 0: none
    first_channels: int = 0  # of a fixed first block without expansion; 0: none
    activation: str = "ReLU"  # by its name in torch.nn
    wide_activation: str = ""  # of blocks at least as wide as `wide_channels`, stem and head; empty: the same
    wide_channels: int = 0
    squeeze_activation: str = "ReLU"
    gate: str = "Sigmoid"  # of squeeze and excitation
    is_squeezed_from_input: bool = False  # its width follows the block's input, not the expanded one
    always_expands: bool = False  # also by a factor of 1


@dataclass(frozen=True)
class TokenChain(Skeleton):
    """A vision transformer: patches, a class token, positions, and the chain of attention and perceptrons."""

    patch_size: int = 16
    head_channels: int = 64
    max_relative_position: int = 14
