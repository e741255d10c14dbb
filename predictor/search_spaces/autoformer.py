"""AutoFormer vision transformers (Chen et al., ICCV 2021): the three published sub-spaces tiny, small and base.

The notation is the published one, `{"depth": …, "embed_dim": …, "mlp_ratio": […], "num_heads": […]}` with one number per
block. The sub-spaces share no embedding width, so the width tells which one an architecture belongs to. A decision moved
into another sub-space (a mutation of the width) carries every other number to the nearest one that exists there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from predictor.architecture import Architecture, Operation
from predictor.errors import NotationError
from predictor.search_spaces.base import Choices, Decision, DecisionSpace, Notation
from predictor.search_spaces.chain import build_chain, read_chain
from predictor.search_spaces.json_notation import compact_json, is_number, read_json_object, shortened
from predictor.search_spaces.skeletons import TokenChain


@dataclass(frozen=True)
class SubSpace:
    """The values of one published supernet."""

    name: str
    depths: tuple[int, ...]
    embed_dims: tuple[int, ...]
    mlp_ratios: tuple[int | float, ...]
    heads: tuple[int, ...]


SUB_SPACES = (
    SubSpace("tiny", (12, 13, 14), (192, 216, 240), (3.5, 4), (3, 4)),
    SubSpace("small", (12, 13, 14), (320, 384, 448), (3, 3.5, 4), (5, 6, 7)),
    SubSpace("base", (14, 15, 16), (528, 576, 624), (3, 3.5, 4), (9, 10)),
)
DEPTHS = (12, 13, 14, 15, 16)
EMBED_DIMS = tuple(width for sub_space in SUB_SPACES for width in sub_space.embed_dims)
MLP_RATIOS = (3, 3.5, 4)
HEADS = (3, 4, 5, 6, 7, 9, 10)

_MAX_DEPTH = DEPTHS[-1]
_KEYS = ("depth", "embed_dim", "mlp_ratio", "num_heads")


class AutoFormer(DecisionSpace):
    """Every transformer of the three sub-spaces."""

    skeleton = TokenChain()

    def __init__(self, name: str = "autoformer") -> None:
        self.name = name
        self.decisions = (
            Decision("depth", DEPTHS),
            Decision("embed_dim", EMBED_DIMS),
            *(Decision(f"mlp_ratio_{block}", MLP_RATIOS, f"block_{block}") for block in range(_MAX_DEPTH)),
            *(Decision(f"num_heads_{block}", HEADS, f"block_{block}") for block in range(_MAX_DEPTH)),
        )

    def _read(self, notation: Notation) -> Choices:
        document = read_json_object(notation, self.name)
        if set(document) != set(_KEYS):
            raise NotationError(f"{self.name}: expected the keys {', '.join(_KEYS)}, got {shortened(sorted(document))}")
        embed_dim = self._index("embed_dim", document["embed_dim"], EMBED_DIMS, EMBED_DIMS)
        own = _sub_space(EMBED_DIMS[embed_dim])
        depth = self._index(f"depth of the {own.name} sub-space", document["depth"], own.depths, DEPTHS)
        return (
            depth,
            embed_dim,
            *self._read_blocks("mlp_ratio", document["mlp_ratio"], DEPTHS[depth], own.mlp_ratios, MLP_RATIOS, own),
            *self._read_blocks("num_heads", document["num_heads"], DEPTHS[depth], own.heads, HEADS, own),
        )

    def _read_blocks(
        self,
        key: str,
        values: object,
        depth: int,
        allowed: tuple[int | float, ...],
        known: tuple[int | float, ...],
        own: SubSpace,
    ) -> list[int]:
        if not isinstance(values, list | tuple) or len(values) != depth:
            raise NotationError(
                f"{self.name}: expected {key} to be a list of {depth} numbers (the depth), got {shortened(values)}"
            )
        found = [
            self._index(f"{key}[{block}] of the {own.name} sub-space", value, allowed, known)
            for block, value in enumerate(values)
        ]
        return found + [0] * (_MAX_DEPTH - depth)

    def _index(
        self, where: str, value: object, allowed: tuple[int | float, ...], known: tuple[int | float, ...]
    ) -> int:
        if not is_number(value) or value not in allowed:
            raise NotationError(
                f"{self.name}: expected {where} to be one of {', '.join(map(str, allowed))}, got {shortened(value)}"
            )
        return known.index(value)

    def _write(self, choices: Choices) -> str:
        depth = DEPTHS[choices[0]]
        return compact_json(
            {
                "depth": depth,
                "embed_dim": EMBED_DIMS[choices[1]],
                "mlp_ratio": [MLP_RATIOS[choice] for choice in choices[2 : 2 + depth]],
                "num_heads": [HEADS[choice] for choice in choices[2 + _MAX_DEPTH : 2 + _MAX_DEPTH + depth]],
            }
        )

    def _build(self, choices: Choices, genotype: str) -> Architecture:
        width = EMBED_DIMS[choices[1]]
        operations = []
        for block in range(DEPTHS[choices[0]]):
            heads, ratio = HEADS[choices[2 + _MAX_DEPTH + block]], MLP_RATIOS[choices[2 + block]]
            operations.append(Operation.of("attention", heads=heads, channels=width))
            operations.append(Operation.of("mlp", expansion=ratio, channels=width))
        return build_chain(operations, genotype)

    def _recover(self, architecture: Architecture) -> Choices | None:
        operations = read_chain(architecture)
        if not operations:
            return None
        document = {
            "depth": len(operations) // 2,
            "embed_dim": operations[0].get("channels"),
            "mlp_ratio": [operation.get("expansion") for operation in operations[1::2]],
            "num_heads": [operation.get("heads") for operation in operations[::2]],
        }
        try:
            choices = self._read(document)
        except NotationError:
            return None
        return choices if self.decode(choices).hash == architecture.hash else None

    def _settled(self, choices: Choices) -> Choices:
        own = _sub_space(EMBED_DIMS[choices[1]])
        depth = _nearest(choices[0], own.depths, DEPTHS)
        ratios, heads = choices[2 : 2 + _MAX_DEPTH], choices[2 + _MAX_DEPTH :]
        unused = (0,) * (_MAX_DEPTH - DEPTHS[depth])
        return (
            depth,
            choices[1],
            *(_nearest(choice, own.mlp_ratios, MLP_RATIOS) for choice in ratios[: DEPTHS[depth]]),
            *unused,
            *(_nearest(choice, own.heads, HEADS) for choice in heads[: DEPTHS[depth]]),
            *unused,
        )

    def _is_valid(self, choices: Choices) -> bool:
        return True

    def _open_choices(self, place: int, known: Mapping[int, int]) -> Sequence[int]:
        if place == 0:
            return range(len(DEPTHS))
        if place == 1:
            depth = DEPTHS[known[0]]
            return [n for n, width in enumerate(EMBED_DIMS) if depth in _sub_space(width).depths]
        block = (place - 2) % _MAX_DEPTH
        if block >= DEPTHS[known[0]]:
            return (0,)
        own = _sub_space(EMBED_DIMS[known[1]])
        if place < 2 + _MAX_DEPTH:
            return [n for n, ratio in enumerate(MLP_RATIOS) if ratio in own.mlp_ratios]
        return [n for n, heads in enumerate(HEADS) if heads in own.heads]

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A random sub-space first, then every number evenly among those that it has."""
        own = SUB_SPACES[int(rng.integers(len(SUB_SPACES)))]
        depth, width = int(rng.choice(own.depths)), int(rng.choice(own.embed_dims))
        document = {
            "depth": depth,
            "embed_dim": width,
            "mlp_ratio": rng.choice(own.mlp_ratios, size=depth).tolist(),
            "num_heads": rng.choice(own.heads, size=depth).tolist(),
        }
        return self.decode(self._read(document))

    def size(self) -> int:
        return sum(
            len(own.embed_dims) * (len(own.mlp_ratios) * len(own.heads)) ** depth
            for own in SUB_SPACES
            for depth in own.depths
        )


def _sub_space(embed_dim: int) -> SubSpace:
    return next(sub_space for sub_space in SUB_SPACES if embed_dim in sub_space.embed_dims)


def _nearest(choice: int, allowed: tuple[int | float, ...], known: tuple[int | float, ...]) -> int:
    """The choice whose value is allowed and nearest."""
    return known.index(min(allowed, key=lambda value: abs(value - known[choice])))
