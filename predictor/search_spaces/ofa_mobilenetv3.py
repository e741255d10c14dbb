"""Once-for-all MobileNetV3 (Cai et al., ICLR 2020; Howard et al., ICCV 2019) at width 1.0.

The notation is the published configuration, `{"ks": [20], "e": [20], "d": [5], "r": resolution}`: kernel size and expansion
of every layer of five stages with room for four layers each, the stages' depths and the input size. Numbers of layers
beyond a stage's depth are read and dropped; the canonical text shows the first alternative there. The fixed stem, first
block and head are the same in every architecture and so no part of the graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError
from predictor.search_spaces.base import Choices, Decision, DecisionSpace, Notation
from predictor.search_spaces.chain import build_chain, read_chain
from predictor.search_spaces.json_notation import is_number, read_json_object, shortened
from predictor.search_spaces.skeletons import BlockChain

KERNEL_SIZES = (3, 5, 7)
EXPANSIONS = (3, 4, 6)
DEPTHS = (2, 3, 4)
RESOLUTIONS = tuple(range(128, 225, 4))

_NUM_STAGES, _MAX_DEPTH = 5, 4
_NUM_LAYERS = _NUM_STAGES * _MAX_DEPTH
_CHANNELS = (24, 40, 80, 112, 160)
_STRIDES = (2, 2, 2, 1, 2)
_SQUEEZE_EXCITATION = (False, True, False, True, True)
_KEYS = {"ks": _NUM_LAYERS, "e": _NUM_LAYERS, "d": _NUM_STAGES}


class OFAMobileNetV3(DecisionSpace):
    """About 5 × 10^20 networks."""

    skeleton = BlockChain(
        stem_channels=16,
        head_channels=960,
        feature_channels=1280,
        first_channels=16,
        wide_activation="Hardswish",
        wide_channels=80,
        gate="Hardsigmoid",
    )

    def __init__(self, name: str = "ofa_mobilenetv3") -> None:
        self.name = name
        self.decisions = (
            *(Decision(f"ks_{layer}", KERNEL_SIZES, f"stage_{layer // _MAX_DEPTH}") for layer in range(_NUM_LAYERS)),
            *(Decision(f"e_{layer}", EXPANSIONS, f"stage_{layer // _MAX_DEPTH}") for layer in range(_NUM_LAYERS)),
            *(Decision(f"d_{stage}", DEPTHS) for stage in range(_NUM_STAGES)),
            Decision("r", RESOLUTIONS),
        )

    def _read(self, notation: Notation) -> Choices:
        document = read_json_object(notation, self.name)
        if set(document) != {*_KEYS, "r"}:
            raise NotationError(f"{self.name}: expected the keys ks, e, d and r, got {shortened(sorted(document))}")
        for key, length in _KEYS.items():
            if not isinstance(document[key], list | tuple) or len(document[key]) != length:
                raise NotationError(
                    f"{self.name}: expected {key} to be a list of {length} numbers, got {shortened(document[key])}"
                )
        depths = [self._index(f"d[{stage}]", value, DEPTHS) for stage, value in enumerate(document["d"])]
        return (
            *self._read_layers("ks", document["ks"], KERNEL_SIZES, depths),
            *self._read_layers("e", document["e"], EXPANSIONS, depths),
            *depths,
            self._index("r", document["r"], RESOLUTIONS),
        )

    def _read_layers(self, key: str, values: list[object], allowed: tuple[int, ...], depths: list[int]) -> list[int]:
        found = []
        for layer, value in enumerate(values):
            if layer % _MAX_DEPTH < DEPTHS[depths[layer // _MAX_DEPTH]]:
                found.append(self._index(f"{key}[{layer}]", value, allowed))
            elif is_number(value):
                found.append(0)
            else:
                raise NotationError(f"{self.name}: expected {key}[{layer}] to be a number, got {shortened(value)}")
        return found

    def _index(self, where: str, value: object, allowed: tuple[int, ...]) -> int:
        if not is_number(value) or value not in allowed:
            shown = (
                ", ".join(map(str, allowed)) if len(allowed) < 10 else f"{allowed[0]} to {allowed[-1]} in steps of 4"
            )
            raise NotationError(f"{self.name}: expected {where} to be one of {shown}, got {shortened(value)}")
        return allowed.index(value)

    def _write(self, choices: Choices) -> str:
        kernel_sizes, expansions, depths, resolution = _split(choices)
        document = {
            "ks": [KERNEL_SIZES[choice] for choice in kernel_sizes],
            "e": [EXPANSIONS[choice] for choice in expansions],
            "d": [DEPTHS[choice] for choice in depths],
            "r": RESOLUTIONS[resolution],
        }
        return json.dumps(document)

    def _build(self, choices: Choices, genotype: str) -> Architecture:
        kernel_sizes, expansions, depths, resolution = _split(choices)
        operations = [
            _operation(stage, place, KERNEL_SIZES[kernel_sizes[layer]], EXPANSIONS[expansions[layer]])
            for layer in range(_NUM_LAYERS)
            for stage, place in [divmod(layer, _MAX_DEPTH)]
            if place < DEPTHS[depths[stage]]
        ]
        return build_chain(operations, genotype, {"resolution": RESOLUTIONS[resolution]})

    def _recover(self, architecture: Architecture) -> Choices | None:
        operations = read_chain(architecture)
        resolution = dict(architecture.global_attributes).get("resolution")
        if operations is None or resolution not in RESOLUTIONS:
            return None
        kernel_sizes, expansions, depths = [0] * _NUM_LAYERS, [0] * _NUM_LAYERS, [0] * _NUM_STAGES
        for operation in operations:
            channels, kernel_size = operation.get("channels"), operation.get("kernel_size")
            expansion = operation.get("expansion")
            if channels not in _CHANNELS or kernel_size not in KERNEL_SIZES or expansion not in EXPANSIONS:
                return None
            stage = _CHANNELS.index(channels)
            if depths[stage] == _MAX_DEPTH:
                return None
            layer = stage * _MAX_DEPTH + depths[stage]
            kernel_sizes[layer] = KERNEL_SIZES.index(kernel_size)
            expansions[layer] = EXPANSIONS.index(expansion)
            depths[stage] += 1
        if any(depth not in DEPTHS for depth in depths):
            return None
        choices = (
            *kernel_sizes,
            *expansions,
            *(DEPTHS.index(depth) for depth in depths),
            RESOLUTIONS.index(resolution),
        )
        return choices if self.decode(choices).hash == architecture.hash else None

    def _settled(self, choices: Choices) -> Choices:
        kernel_sizes, expansions, depths, resolution = _split(choices)
        applies = [layer % _MAX_DEPTH < DEPTHS[depths[layer // _MAX_DEPTH]] for layer in range(_NUM_LAYERS)]
        return (
            *(choice if active else 0 for choice, active in zip(kernel_sizes, applies, strict=True)),
            *(choice if active else 0 for choice, active in zip(expansions, applies, strict=True)),
            *depths,
            resolution,
        )

    def _is_valid(self, choices: Choices) -> bool:
        return True

    def _open_choices(self, place: int, known: Mapping[int, int]) -> Sequence[int]:
        first_depth = 2 * _NUM_LAYERS
        if place < first_depth:
            stage, number = divmod(place % _NUM_LAYERS, _MAX_DEPTH)
            if number >= DEPTHS[known[first_depth + stage]]:
                return (0,)
        return range(len(self.decisions[place].choices))

    def size(self) -> int:
        per_stage = sum(int((len(KERNEL_SIZES) * len(EXPANSIONS)) ** depth) for depth in DEPTHS)
        return int(per_stage**_NUM_STAGES) * len(RESOLUTIONS)


def _split(choices: Choices) -> tuple[Choices, Choices, Choices, int]:
    """Kernel sizes, expansions, depths and resolution."""
    return (
        choices[:_NUM_LAYERS],
        choices[_NUM_LAYERS : 2 * _NUM_LAYERS],
        choices[2 * _NUM_LAYERS : 2 * _NUM_LAYERS + _NUM_STAGES],
        choices[-1],
    )


def _operation(stage: int, place: int, kernel_size: int, expansion: int) -> Operation:
    return Operation.of(
        "mbconv",
        kernel_size=kernel_size,
        expansion=expansion,
        stride=_STRIDES[stage] if place == 0 else 1,
        channels=_CHANNELS[stage],
        se=_SQUEEZE_EXCITATION[stage],
    )
