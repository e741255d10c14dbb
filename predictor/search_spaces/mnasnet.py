"""The MnasNet space (Tan et al., CVPR 2019) as Accel-NASBench measured it (Ahmad et al., 2024).

The notation is the benchmark's: seven stages such as `e6k3l1se0`, parted by spaces: expansion, kernel size, number of layers
and squeeze-excitation. Widths and strides are those of the benchmark (EfficientNet-B0's). Stem and head are fixed and no
part of the graph.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError
from predictor.search_spaces.base import Choices, Decision, DecisionSpace, Notation
from predictor.search_spaces.chain import build_chain, read_chain
from predictor.search_spaces.json_notation import shortened
from predictor.search_spaces.skeletons import BlockChain

EXPANSIONS = (1, 4, 6)
KERNEL_SIZES = (3, 5)
DEPTHS = ((1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3, 4), (1, 2, 3))
SQUEEZE_EXCITATION = (0, 1)

_CHANNELS = (16, 24, 40, 80, 112, 192, 320)
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_NUM_STAGES = len(_CHANNELS)
_PER_STAGE = 4
_TOKEN = re.compile(r"e([0-9]{1,3})k([0-9]{1,3})l([0-9]{1,3})se([0-9]{1,3})")
_EXAMPLE = "e6k3l1se0"


class MnasNet(DecisionSpace):
    """About 10^11 networks."""

    skeleton = BlockChain(activation="SiLU", squeeze_activation="SiLU", is_squeezed_from_input=True)

    def __init__(self, name: str = "mnasnet") -> None:
        self.name = name
        self.decisions = tuple(
            Decision(f"{letter}_{stage}", allowed, "" if letter == "l" else f"stage_{stage}")
            for stage in range(_NUM_STAGES)
            for letter, allowed in zip(("e", "k", "l", "se"), _alternatives(stage), strict=True)
        )

    def _read(self, notation: Notation) -> Choices:
        if not isinstance(notation, str):
            raise NotationError(f"{self.name}: expected text of seven stages, got {type(notation).__name__}")
        tokens = notation.split()
        if len(tokens) != _NUM_STAGES:
            raise NotationError(
                f"{self.name}: expected seven stages such as {_EXAMPLE}, got {len(tokens)} in {shortened(notation)}"
            )
        return tuple(choice for stage, token in enumerate(tokens) for choice in self._read_stage(stage, token))

    def _read_stage(self, stage: int, token: str) -> list[int]:
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise NotationError(
                f"{self.name}: expected stage {stage + 1} to read like {_EXAMPLE}, got {shortened(token)}"
            )
        choices = []
        for letter, number, allowed in zip(("e", "k", "l", "se"), match.groups(), _alternatives(stage), strict=True):
            if int(number) not in allowed:
                raise NotationError(
                    f"{self.name}: expected {letter} of stage {stage + 1} to be one of {', '.join(map(str, allowed))}, "
                    f"got {number}"
                )
            choices.append(allowed.index(int(number)))
        return choices

    def _write(self, choices: Choices) -> str:
        return " ".join(
            "e{}k{}l{}se{}".format(*_stage_values(choices, stage))  # the benchmark's own form
            for stage in range(_NUM_STAGES)
        )

    def _build(self, choices: Choices, genotype: str) -> Architecture:
        operations = [
            operation for stage in range(_NUM_STAGES) for operation in _stage(stage, *_stage_values(choices, stage))
        ]
        return build_chain(operations, genotype)

    def _recover(self, architecture: Architecture) -> Choices | None:
        operations = read_chain(architecture)
        if operations is None:
            return None
        stages = [list(group) for _, group in itertools.groupby(operations, key=lambda op: op.get("channels"))]
        if len(stages) != _NUM_STAGES:
            return None
        choices: list[int] = []
        for stage, layers in enumerate(stages):
            first = layers[0]
            values = (first.get("expansion"), first.get("kernel_size"), len(layers), int(first.get("se") is True))
            for value, allowed in zip(values, _alternatives(stage), strict=True):
                if value not in allowed:
                    return None
                choices.append(allowed.index(value))
        return tuple(choices) if self.decode(tuple(choices)).hash == architecture.hash else None

    def _settled(self, choices: Choices) -> Choices:
        return choices

    def _is_valid(self, choices: Choices) -> bool:
        return True

    def _open_choices(self, place: int, known: Mapping[int, int]) -> Sequence[int]:
        return range(len(self.decisions[place].choices))


def _alternatives(stage: int) -> tuple[tuple[int, ...], ...]:
    """(4,) the values of e, k, l and se."""
    return EXPANSIONS, KERNEL_SIZES, DEPTHS[stage], SQUEEZE_EXCITATION


def _stage_values(choices: Choices, stage: int) -> tuple[int, int, int, int]:
    own = choices[stage * _PER_STAGE : (stage + 1) * _PER_STAGE]
    expansion, kernel_size, depth, se = (
        allowed[choice] for choice, allowed in zip(own, _alternatives(stage), strict=True)
    )
    return expansion, kernel_size, depth, se


def _stage(stage: int, expansion: int, kernel_size: int, depth: int, se: int) -> list[Operation]:
    return [
        Operation.of(
            "mbconv",
            kernel_size=kernel_size,
            expansion=expansion,
            stride=_STRIDES[stage] if layer == 0 else 1,
            channels=_CHANNELS[stage],
            se=bool(se),
        )
        for layer in range(depth)
    ]
