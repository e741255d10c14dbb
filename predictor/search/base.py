"""The interface of a search strategy: ask it for architectures, tell it what they were worth.

A strategy knows nothing of who evaluates: a training, a published table, weights of a supernet or a forecast. Whoever drives it
asks, evaluates, tells, and keeps `state()` in between, from which another process goes on as if nothing had happened.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from predictor.architecture import Architecture
from predictor.errors import SearchError
from predictor.prediction import Predictions
from predictor.search.settings import StrategySettings
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import Metric

State = dict[str, Any]
"""Everything a strategy goes on from, as JSON."""


@dataclass(frozen=True)
class SearchProblem:
    """What is searched, and for what: one objective or several.

    `start` are architectures to begin with: they are proposed before anything else. An open space needs some, or outcomes
    of some, since it has no random architectures that would mean anything.

    Raises:
        SearchError: if there is no objective, or two have one name.
    """

    space: SearchSpace
    objectives: tuple[Metric, ...]
    start: tuple[Architecture, ...] = ()

    def __post_init__(self) -> None:
        names = [metric.name for metric in self.objectives]
        if not names:
            raise SearchError("expected at least one objective, got none")
        if len(set(names)) != len(names):
            raise SearchError(f"expected every objective once, got {', '.join(names)}")

    def goodness(self, values: Sequence[float]) -> tuple[float, ...]:
        """Values of the objectives, turned so that larger is better."""
        return tuple(metric.sign * value for metric, value in zip(self.objectives, values, strict=True))


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate, and on which share of the full training budget.

    Raises:
        SearchError: if the fidelity is not in (0, 1].
    """

    architecture: Architecture
    fidelity: float = 1.0
    origin: str = ""  # where it comes from, for people: "a mutation of 3f2a…"

    def __post_init__(self) -> None:
        _check_fidelity(self.fidelity)


@dataclass(frozen=True)
class Outcome:
    """What an evaluation said: one value for each objective, in its metric's unit; None where there is none, since the
    architecture could not be built, trained or measured.

    `violation` is 0 where all constraints hold, and larger the further they are from holding. `fidelity` is the share of the
    full budget of this search, whatever that is: values of fidelity 1 are the ones that are to become good.

    Raises:
        SearchError: if a value or the violation is not finite, the violation is negative, or the fidelity is not in (0, 1].
    """

    architecture: Architecture
    values: tuple[float, ...] | None
    fidelity: float = 1.0
    violation: float = 0.0
    is_forecast: bool = False

    def __post_init__(self) -> None:
        _check_fidelity(self.fidelity)
        if self.values is not None and not all(map(math.isfinite, self.values)):
            raise SearchError(f"expected finite values, got {self.values}")
        if not (math.isfinite(self.violation) and self.violation >= 0.0):
            raise SearchError(f"expected a violation of 0 or more, got {self.violation}")


def _check_fidelity(fidelity: float) -> None:
    if not 0.0 < fidelity <= 1.0:
        raise SearchError(f"expected a fidelity in (0, 1], got {fidelity}")


class Forecaster(Protocol):
    """Adapted surrogates of all objectives, as a strategy may ask them. Calls may be slow for very many architectures."""

    def predict(self, architectures: Sequence[Architecture]) -> tuple[Predictions, ...]:
        """One for each objective, in its metric's unit."""

    def features(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:  # (Q, D)
        """Embeddings: architectures that are taken for alike are near each other."""

    def feasibility(self, architectures: Sequence[Architecture]) -> NDArray[np.float64]:  # (Q,)
        """How probable it is that all constraints hold; 1 where there is none."""


class Relaxation(Protocol):
    """Forecasts on the way from one architecture towards Q others."""

    def __call__(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(Q,) how far towards each of the others -> goodness of the M objectives (M,), in units of the forecaster's own, and
        its slopes along the weights (M, Q). All weights 0 is the architecture itself, a single 1 one of the others."""


@runtime_checkable
class DifferentiableForecaster(Forecaster, Protocol):
    """A forecaster that can also tell which way is up."""

    def relaxation(self, start: Architecture, others: Sequence[Architecture]) -> Relaxation:
        """What lies between an architecture and others, which are at least one."""


class SearchStrategy(ABC):
    """Proposes architectures. Belongs to one thread; deterministic given its seed, what it was told and what was forecast.

    Proposals and outcomes need not alternate: several may be out at once, and outcomes come in any order, for any
    architecture, proposed or not (what was measured before is told first). The class says about itself what a user who is to
    choose among strategies needs to know.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    """One sentence for people who do not know it."""
    source: ClassVar[str]
    """Where it comes from: authors, title, venue, year."""
    settings_type: ClassVar[type[StrategySettings]]
    takes_several_objectives: ClassVar[bool] = False
    needs_forecaster: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, problem: SearchProblem, settings: Any, seed: int) -> None:
        """`settings` are of the type `settings_type`."""

    @classmethod
    @abstractmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        """Why its mathematics does not allow it on this problem's space; None if it does."""

    @abstractmethod
    def ask(self, count: int, forecaster: Forecaster | None = None) -> list[Proposal]:
        """At most `count` proposals; fewer when it must hear of those that are out first, none when nothing is left to try
        and nothing is out.

        Raises:
            SearchError: if it needs a forecaster and there is none.
        """

    @abstractmethod
    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """What came of proposals; all of it or, if one cannot be used, nothing.

        Raises:
            SearchError: if there are not as many values as objectives.
            NotInSpaceError: if the space cannot express an architecture.
        """

    @abstractmethod
    def state(self) -> State:
        """Everything that `restore` needs, as JSON (no whole number of more than 53 bits)."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` of the same strategy on the same problem returned.

        Raises:
            SearchError: if it is something else.
        """
