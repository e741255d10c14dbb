"""Random architectures that a search has not tried yet, until there are none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from predictor.architecture import Architecture
from predictor.errors import SearchError
from predictor.search.history import History
from predictor.search_spaces.base import MAX_ENUMERATED, SearchSpace

_MAX_DRAWS = 100
_MORE_STEPS = 0.5  # probability that a random walk goes one step further


class FreshArchitectures:
    """Draws them: from the whole space or, where the space is open, by random walks from what is known."""

    def __init__(
        self, space: SearchSpace, history: History, is_new: Callable[[Architecture], bool] | None = None
    ) -> None:
        """What counts as new is up to the history where nothing else is said."""
        self._space = space
        self._history = history
        self._is_new = is_new or history.is_new
        self._listed: list[Architecture] | None = None

    def draw(self, rng: np.random.Generator) -> Architecture | None:
        """One that is new; None if the space is exhausted, or so nearly that none is found.

        Raises:
            SearchError: if the space is open and nothing is known to begin with.
        """
        for _ in range(_MAX_DRAWS):
            drawn = self._walked(rng) if self._space.is_open else self._space.sample(rng)
            if self._is_new(drawn):
                return drawn
        return self._drawn_from_the_rest(rng)

    def _walked(self, rng: np.random.Generator) -> Architecture:
        known = self._history.architectures
        if not known:
            raise SearchError(
                f"expected architectures to begin with, or outcomes of some, since {self._space.name} is open and its "
                "random architectures mean nothing, got none"
            )
        reached = known[int(rng.integers(len(known)))]
        for _ in range(int(rng.geometric(1.0 - _MORE_STEPS))):
            reached = self._space.mutate(reached, rng)
        return reached

    def _drawn_from_the_rest(self, rng: np.random.Generator) -> Architecture | None:
        size = self._space.size()
        if size is None or size > MAX_ENUMERATED:
            return None
        if self._listed is None:
            self._listed = list({one.hash: one for one in self._space.enumerate()}.values())
        rest = [one for one in self._listed if self._is_new(one)]
        return rest[int(rng.integers(len(rest)))] if rest else None
