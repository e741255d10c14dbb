"""How explanations ask for forecasts: each network once, in pieces, within a limit, and stopped when nobody waits any more.

Notation: Q architectures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.errors import ExplanationError

MAX_FORECASTS = 50_000
"""Different architectures that one explanation may ask for."""

_PIECE = 512

Values = NDArray[np.float64]


class Forecaster(Protocol):
    """What is explained."""

    def mean(self, architectures: Sequence[Architecture]) -> Values:  # (Q,)
        """Forecasts in the metric's unit."""

    def difference_std(self, architecture: Architecture, others: Sequence[Architecture]) -> Values:  # (Q,)
        """How uncertain the difference of each of the others from the architecture is: a standard deviation in the metric's unit;
        NaN where nothing tells."""


class Asked:
    """The forecasts of one explanation, by network. Belongs to one thread.

    `check` is called between pieces, and raises where the work is to end.
    """

    def __init__(self, forecaster: Forecaster, check: Callable[[], None], limit: int = MAX_FORECASTS) -> None:
        self._forecaster, self._check, self._limit = forecaster, check, limit
        self._known: dict[str, float] = {}

    @property
    def num_forecasts(self) -> int:
        """How many different networks were asked for."""
        return len(self._known)

    def values(self, architectures: Sequence[Architecture]) -> Values:  # (Q,)
        """Forecasts in the metric's unit; the same one for the same network, however it is written.

        Raises:
            ExplanationError: if it is more than the limit.
        """
        missing: dict[str, Architecture] = {}
        for one in architectures:
            if one.hash not in self._known:
                missing.setdefault(one.hash, one)  # the first notation of a network, which is the explained one's own
        if len(self._known) + len(missing) > self._limit:
            raise ExplanationError(
                f"expected an explanation of at most {self._limit} forecasts, got one of "
                f"{len(self._known) + len(missing)} or more; ask for fewer architectures, or a smaller sample"
            )
        asked = list(missing.values())
        for start in range(0, len(asked), _PIECE):
            self._check()
            piece = asked[start : start + _PIECE]
            found = self._forecaster.mean(piece).tolist()
            self._known.update((one.hash, value) for one, value in zip(piece, found, strict=True))
        return np.array([self._known[one.hash] for one in architectures], dtype=np.float64)


def never() -> None:
    """The check of work that may take as long as it takes."""
