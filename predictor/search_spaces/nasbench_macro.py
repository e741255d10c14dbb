"""NAS-Bench-Macro (Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree Search", CVPR 2021): eight layers in a chain.

The notation is the benchmark's: eight digits, per layer 0 (identity), 1 (inverted residual, kernel 3, expansion 3) or
2 (kernel 5, expansion 6). The layers form stages of 2, 3 and 3; the first of each halves the resolution and doubles the
width, where the benchmark's identity is a strided 1x1 convolution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError
from predictor.search_spaces.base import Choices, Decision, DecisionSpace, Notation
from predictor.search_spaces.chain import build_chain, read_chain
from predictor.search_spaces.json_notation import shortened
from predictor.search_spaces.skeletons import BlockChain

BLOCK_NAMES = ("identity", "mbconv_k3_e3", "mbconv_k5_e6")
LAYERS = ((64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))  # (channels, stride)

_EXPECTED = f"{len(LAYERS)} digits 0, 1 or 2, one a layer"
_CODE = re.compile(rf"[0-2]{{{len(LAYERS)}}}", re.ASCII)


def _blocks(channels: int, stride: int) -> tuple[Operation, ...]:
    """What a layer may be, in the order of `BLOCK_NAMES`."""
    skip = (
        Operation.of("identity", channels=channels, stride=stride)
        if stride == 1
        else Operation.of("conv", kernel_size=1, channels=channels, stride=stride)
    )
    return (
        skip,
        Operation.of("mbconv", kernel_size=3, expansion=3, channels=channels, stride=stride),
        Operation.of("mbconv", kernel_size=5, expansion=6, channels=channels, stride=stride),
    )


_BLOCKS = tuple(_blocks(channels, stride) for channels, stride in LAYERS)


class NASBenchMacro(DecisionSpace):
    """6,561 networks."""

    skeleton = BlockChain(stem_channels=32, stem_stride=1)

    def __init__(self, name: str = "nasbench_macro") -> None:
        self.name = name
        self.decisions = tuple(
            Decision(f"layer_{layer}", BLOCK_NAMES, f"{channels} channels")
            for layer, (channels, _) in enumerate(LAYERS, start=1)
        )

    def _read(self, notation: Notation) -> Choices:
        if not isinstance(notation, str):
            raise NotationError(
                f"{self.name}: expected {_EXPECTED}, got {type(notation).__name__} {shortened(notation)}"
            )
        text = notation.strip()
        if not _CODE.fullmatch(text):
            raise NotationError(f"{self.name}: expected {_EXPECTED}, got {shortened(text)}")
        return tuple(map(int, text))

    def _write(self, choices: Choices) -> str:
        return "".join(map(str, choices))

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
