"""Children that a search has not tried yet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from predictor.architecture import Architecture
from predictor.search.history import History
from predictor.search_spaces.base import SearchSpace

_MAX_PARENTS = 20
_MAX_STEPS = 8


class Breeder:
    """Makes them by walking on from what was bred, one mutation after another, until nobody knows it."""

    def __init__(self, space: SearchSpace, history: History) -> None:
        self._space = space
        self._history = history

    def new_child(self, breed: Callable[[], Architecture], rng: np.random.Generator) -> Architecture | None:
        """`breed` makes a child from parents that it draws itself; None if there is nothing new near any of them."""
        for _ in range(_MAX_PARENTS):
            child = breed()
            for _ in range(_MAX_STEPS):
                if self._history.is_new(child):
                    return child
                child = self._space.mutate(child, rng)
        return None
