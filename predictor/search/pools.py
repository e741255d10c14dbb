"""Candidates of a search space: all where they are few, else random ones and relatives of the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.errors import SpaceTooLargeError
from predictor.search.fresh import FreshArchitectures
from predictor.search.measured import Measured
from predictor.search.settings import StrategySettings, setting
from predictor.search_spaces.base import SearchSpace

Scores = Callable[[Sequence[Architecture]], NDArray[np.float64]]
_DRAWS_EACH = 4  # for a random architecture that is new


@dataclass(frozen=True)
class PoolSettings(StrategySettings):
    """How many candidates are looked at."""

    max_listed: int = setting(2_000, "Spaces up to this size are looked at as a whole.", low=0)
    num_random: int = setting(1_000, "Random candidates, of larger spaces.", low=1)
    num_elites: int = setting(10, "How many of the best bring their relatives.", low=0)
    num_mutations: int = setting(16, "Relatives of each of them.", low=0)
    num_climbs: int = setting(2, "Rounds in which the best candidates bring their relatives.", low=0)


class CandidatePool:
    """Architectures of a space that were neither measured nor are out."""

    def __init__(
        self, space: SearchSpace, settings: PoolSettings, fresh: FreshArchitectures, measured: Measured
    ) -> None:
        self._space, self._settings, self._fresh, self._measured = space, settings, fresh, measured
        self._listed: list[Architecture] | None = None

    def climbed(self, scores: Scores, rng: np.random.Generator) -> list[Architecture]:
        """Candidates, the best by the scores first; what scores best brings its relatives, round after round."""
        found = self.drawn(rng)
        values = scores(found) if found else np.zeros(0)
        for _ in range(self._settings.num_climbs if self._all() is None else 0):
            order = np.argsort(-values, kind="stable")[: self._settings.num_elites]
            known = {one.hash for one in found}
            new = [one for one in self._relatives([found[row] for row in order], rng) if one.hash not in known]
            if not new:
                break
            found, values = [*found, *new], np.concatenate([values, scores(new)])
        return [found[row] for row in np.argsort(-values, kind="stable")]

    def drawn(self, rng: np.random.Generator) -> list[Architecture]:
        """All candidates, or random ones and mutations of the best that were measured."""
        whole = self._all()
        if whole is not None:
            return [one for one in whole if self._measured.is_new(one)]
        best = [one.architecture for one in self._measured.ranked[: self._settings.num_elites]]
        found = {one.hash: one for one in self._relatives(best, rng)}
        for _ in range(self._settings.num_random):
            drawn = self._fresh.draw(rng)
            if drawn is None:
                break
            found.setdefault(drawn.hash, drawn)
        return list(found.values())

    def _relatives(self, architectures: Sequence[Architecture], rng: np.random.Generator) -> list[Architecture]:
        found: dict[str, Architecture] = {}
        for parent in architectures:
            for _ in range(self._settings.num_mutations):
                child = self._space.mutate(parent, rng)
                if self._measured.is_new(child):
                    found.setdefault(child.hash, child)
        return list(found.values())

    def _all(self) -> list[Architecture] | None:
        """Every different architecture, where there are few enough."""
        size = self._space.size()
        if size is None or size > self._settings.max_listed:
            return None
        if self._listed is None:
            try:
                self._listed = list({one.hash: one for one in self._space.enumerate()}.values())
            except SpaceTooLargeError:
                return None
        return self._listed
