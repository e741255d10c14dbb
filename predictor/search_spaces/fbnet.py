"""FBNet (Wu et al., CVPR 2019): one of nine blocks in each of 22 layers of a fixed macro-architecture (its tables 1 and 2).

The notation is a JSON list, per layer the block's index (as published with HELP, Lee et al., NeurIPS 2021) or its name.
A skipped layer stays in the graph as `identity`; where its layer changes the shape, it still carries that layer's stride
and width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError
from predictor.search_spaces.base import Choices, Decision, DecisionSpace, Notation
from predictor.search_spaces.chain import build_chain, read_chain
from predictor.search_spaces.json_notation import shortened
from predictor.search_spaces.notation import is_whole_number, read_list
from predictor.search_spaces.skeletons import BlockChain

BLOCK_NAMES = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
STAGES = ((16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1))
"""(channels, layers, stride of the first layer) from table 1."""

LAYERS = tuple((channels, stride if n == 0 else 1) for channels, layers, stride in STAGES for n in range(layers))

_SHAPES = ((3, 1, 1), (3, 1, 2), (3, 3, 1), (3, 6, 1), (5, 1, 1), (5, 1, 2), (5, 3, 1), (5, 6, 1))
"""(kernel_size, expansion, groups) in the order of `BLOCK_NAMES`, less the skip."""

_INDICES = frozenset(range(len(BLOCK_NAMES)))
_EXPECTED = f"a JSON list of {len(LAYERS)} block indices 0 to {len(BLOCK_NAMES) - 1} or block names"


def _blocks(channels: int, stride: int) -> tuple[Operation, ...]:
    """What a layer may be, in the order of `BLOCK_NAMES`."""
    return (
        *(
            Operation.of(
                "mbconv", kernel_size=kernel, expansion=expansion, groups=groups, stride=stride, channels=channels
            )
            for kernel, expansion, groups in _SHAPES
        ),
        Operation.of("identity", stride=stride, channels=channels),
    )


_BLOCKS = tuple(_blocks(channels, stride) for channels, stride in LAYERS)


class FBNet(DecisionSpace):
    """9^22 networks."""

    skeleton = BlockChain(stem_channels=16, head_channels=1504, always_expands=True)

    def __init__(self, name: str = "fbnet") -> None:
        self.name = name
        self.decisions = tuple(
            Decision(f"layer_{layer}", BLOCK_NAMES, f"{channels} channels")
            for layer, (channels, _) in enumerate(LAYERS, start=1)
        )

    def _read(self, notation: Notation) -> Choices:
        value = self._from_text(notation) if isinstance(notation, str) else notation
        layers = read_list(value, self.name, _EXPECTED, len(LAYERS))
        if set(map(type, layers)) == {int} and _INDICES.issuperset(layers):
            return tuple(layers)  # type: ignore[arg-type]
        return tuple(self._block(number, block) for number, block in enumerate(layers, start=1))

    def _from_text(self, text: str) -> object:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NotationError(f"{self.name}: expected {_EXPECTED}, got {shortened(text)}") from error

    def _block(self, number: int, block: object) -> int:
        """The index of one entry; raises NotationError."""
        if isinstance(block, str) and block in BLOCK_NAMES:
            return BLOCK_NAMES.index(block)
        if is_whole_number(block) and 0 <= block < len(BLOCK_NAMES):
            return block
        raise NotationError(
            f"{self.name}: layer {number}: expected an index 0 to {len(BLOCK_NAMES) - 1} or one of "
            f"{', '.join(BLOCK_NAMES)}, got {shortened(block)}"
        )

    def _write(self, choices: Choices) -> str:
        return f"[{', '.join(map(str, choices))}]"

    def _build(self, choices: Choices, genotype: str) -> Architecture:
        layers = [blocks[choice] for blocks, choice in zip(_BLOCKS, choices, strict=True)]
        return build_chain(layers, genotype)

    def _recover(self, architecture: Architecture) -> Choices | None:
        layers = read_chain(architecture)
        if layers is None or len(layers) != len(LAYERS):
            return None
        try:
            choices = tuple(blocks.index(layer) for blocks, layer in zip(_BLOCKS, layers, strict=True))
        except ValueError:
            return None
        return choices if self.decode(choices) == architecture else None

    def _settled(self, choices: Choices) -> Choices:
        return choices

    def _is_valid(self, choices: Choices) -> bool:
        return True

    def _open_choices(self, place: int, known: Mapping[int, int]) -> Sequence[int]:
        return range(len(self.decisions[place].choices))
