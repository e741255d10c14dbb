"""What an operation does to a signal, in the few numbers that statistics of whole graphs need."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from predictor.architecture import Operation


class Effect(IntEnum):
    """How the covariance between positions and examples changes."""

    PASS = 0
    POOL = 1
    POOL_ALL = 2
    ACTIVATE = 3
    NORMALIZE = 4
    MULTIPLY = 5
    NOTHING = 6
    LEARN = 7  # a trainable linear map of each position, behind an activation
    LEARN_NEAR = 8  # of three neighbouring positions
    LEARN_FAR = 9  # of five or more
    LEARN_ALL = 10  # of all positions at once
    LEARN_POOLED = 11  # of the average over neighbours


class Traits(NamedTuple):
    """Of one operation."""

    effect: Effect = Effect.PASS
    is_trainable: float = 0.0
    is_spatial: float = 0.0  # trainable, and looks at more than one position
    reach: float = 0.0  # positions that the receptive field grows by
    is_pool: float = 0.0
    work: float = 0.0  # multiply-accumulates per position and input channel, a 1 × 1 convolution's being 1


_EFFECTS = {
    "avg_pool": Effect.POOL,
    "max_pool": Effect.POOL,
    "global_pool": Effect.POOL_ALL,
    "activation": Effect.ACTIVATE,
    "normalization": Effect.NORMALIZE,
    "multiply": Effect.MULTIPLY,
    "zero": Effect.NOTHING,
    "attention": Effect.LEARN_ALL,
    "graph_conv": Effect.LEARN_POOLED,
    "recurrent": Effect.LEARN_NEAR,
}
_DEFAULT_POOL = 3.0
_LARGEST_KERNEL = 64.0
_MOST_WORK = 1e9


def traits_of(operation: Operation, work: float, is_trainable: bool) -> Traits:
    """From the operation and its cost; unknown kinds pass on what they get."""
    given = operation.get("kernel_size")
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    kernel = min(max(float(given), 1.0), _LARGEST_KERNEL) if is_number else 1.0  # type: ignore[arg-type]
    effect = _EFFECTS.get(operation.kind, Effect.PASS)
    is_pool = effect == Effect.POOL
    if is_pool:
        return Traits(effect, reach=(kernel if is_number else _DEFAULT_POOL) - 1.0, is_pool=1.0)
    if not is_trainable:
        return Traits(effect)
    if operation.kind not in _EFFECTS:
        effect = Effect.LEARN if kernel < 2.0 else Effect.LEARN_NEAR if kernel < 4.0 else Effect.LEARN_FAR
    return Traits(effect, 1.0, float(effect != Effect.LEARN), kernel - 1.0, work=min(work, _MOST_WORK))
