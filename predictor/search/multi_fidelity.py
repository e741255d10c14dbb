"""Cheap evaluations first, and only who does well there is evaluated at length; the forecast decides who enters at all.

Successive halving (Jamieson & Talwalkar, AISTATS 2016), Hyperband (Li et al., JMLR 2018) and the asynchronous ASHA (Li et al.,
MLSys 2020), which never waits: it promotes whoever is among the best so far, in whatever order outcomes come. Each works with
random newcomers as published, and with a forecaster with the best forecast of many. Works on every search space.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from predictor.architecture import Architecture
from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, State
from predictor.search.fresh import FreshArchitectures
from predictor.search.measured import Measured
from predictor.search.remembering import RememberingStrategy
from predictor.search.rungs import Bracket, bracket, hyperband, ladder, promotable
from predictor.search.selection import SelectionSettings, Selector
from predictor.search.settings import setting

Merit = tuple[float, ...]
_DRAWS_EACH = 4  # for a newcomer that differs from the others


@dataclass(frozen=True)
class MultiFidelitySettings(SelectionSettings):
    """The ladder, and how newcomers are found."""

    eta: int = setting(3, "One of so many is promoted; a rung costs so many times the one below.", low=2)
    min_fidelity: float = setting(
        1 / 9, "The share of the full budget that the lowest rung may have.", low=1e-6, high=1.0
    )
    num_filtered: int = setting(200, "Random candidates that newcomers are the best forecast of.", low=1)
    promotes_by: str = setting(
        "measured",
        "Who is promoted: the best of a rung as measured there, or by the forecast of their final value.",
        choices=("measured", "forecast"),
    )


@dataclass(frozen=True)
class HalvingSettings(MultiFidelitySettings):
    """How many begin."""

    num_first: int = setting(27, "How many are on the lowest rung of a bracket.", low=1)


class _MultiFidelity(RememberingStrategy):
    """Newcomers and ranks on a rung."""

    def __init__(self, problem: SearchProblem, settings: MultiFidelitySettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._given = settings
        self._fidelities = ladder(settings.eta, settings.min_fidelity)
        self._selector = Selector(problem, settings, Measured(problem, self._history))
        self._untouched = FreshArchitectures(problem.space, self._history, self._is_untouched)

    @classmethod
    def refusal(cls, problem: SearchProblem) -> str | None:
        return None

    def _learn(self, outcome: Outcome, is_first: bool) -> None:
        pass  # rungs are read from the history

    def _newcomers(self, count: int, forecaster: Forecaster | None) -> list[Architecture]:
        """At most so many that nobody has touched at any fidelity."""
        wanted = count if forecaster is None else max(self._given.num_filtered, count)
        drawn: dict[str, Architecture] = {}
        for _ in range(_DRAWS_EACH * wanted):
            one = self._untouched.draw(self._rng)
            if one is None or len(drawn) >= wanted:
                break
            drawn.setdefault(one.hash, one)
        found = list(drawn.values())
        return found if forecaster is None else self._selector.chosen(found, forecaster, count, self._rng)

    def _is_untouched(self, architecture: Architecture) -> bool:
        return all(self._history.is_new(architecture, fidelity) for fidelity in self._fidelities)

    def _merits(self, hashes: Sequence[str], fidelity: float, forecaster: Forecaster | None) -> dict[str, Merit]:
        """Of those that have a value on that rung: constraints first, then goodness as measured there or as forecast."""
        outcomes = {one: self._history.outcome(one, fidelity) for one in hashes}
        known = {
            name: (-one.violation, *self.problem.goodness(one.values))
            for name, one in outcomes.items()
            if one is not None and one.values is not None and not one.is_forecast
        }
        if forecaster is None or self._given.promotes_by == "measured" or not known:
            return known
        forecast = forecaster.predict([self._history.architecture(name) for name in known])[0]
        goodness: list[float] = (self.problem.objectives[0].sign * forecast.mean).tolist()
        return {name: (merit[0], value) for (name, merit), value in zip(known.items(), goodness, strict=True)}


class ASHA(_MultiFidelity):
    """Promotes whoever can be promoted, from the highest rung down; else somebody new starts at the bottom."""

    name = "asha"
    description = (
        "Tries many cheaply and promotes the best of those heard of so far, without ever waiting for the others."
    )
    source = "Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020"
    settings_type = MultiFidelitySettings

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        promoted = self._promoted(forecaster)
        if promoted is not None:
            return [promoted]
        newcomers = self._newcomers(count, forecaster)
        return [Proposal(one, self._fidelities[0], "new on the lowest rung") for one in newcomers]

    def _promoted(self, forecaster: Forecaster | None) -> Proposal | None:
        for rung in range(len(self._fidelities) - 2, -1, -1):
            fidelity, above = self._fidelities[rung : rung + 2]
            names = [one.architecture.hash for one in self._history.outcomes(fidelity)]
            merits = self._merits(names, fidelity, forecaster)
            climbed = {name for name in merits if not self._history.is_new(self._history.architecture(name), above)}
            best = promotable(merits, climbed, self._given.eta)
            if best:
                return Proposal(self._history.architecture(best[0]), above, f"among the best of rung {rung}")
        return None

    def _own_state(self) -> State:
        return {}

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        pass  # the history is all there is


class _Brackets(_MultiFidelity):
    """Brackets one after another, rung by rung; proposes nothing while somebody on a rung is still out."""

    def __init__(self, problem: SearchProblem, settings: MultiFidelitySettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._number, self._rung = 0, 0
        self._members: list[Architecture] = []  # on the current rung
        self._waiting: list[Architecture] = []  # those of them that are not proposed yet

    @abstractmethod
    def _bracket(self, number: int) -> Bracket:
        """The one with that number."""

    def _propose(self, count: int, forecaster: Forecaster | None) -> list[Proposal]:
        while True:
            if not self._members and not self._began(forecaster):
                return []
            found = self._taken(count)
            if found or self._are_out():
                return found
            self._climb(forecaster)

    @property
    def _fidelity(self) -> float:
        return self._bracket(self._number).fidelities[self._rung]

    def _began(self, forecaster: Forecaster | None) -> bool:
        """Whether anybody is there to fill the first rung of the next bracket."""
        self._members = self._newcomers(self._bracket(self._number).sizes[0], forecaster)
        self._waiting, self._rung = list(self._members), 0
        return bool(self._members)

    def _taken(self, count: int) -> list[Proposal]:
        """The next few of a rung; who was measured there before need not be again."""
        origin, found = f"rung {self._rung} of bracket {self._number}", list[Proposal]()
        while self._waiting and len(found) < count:
            one = self._waiting.pop(0)
            if self._history.is_new(one, self._fidelity):
                found.append(Proposal(one, self._fidelity, origin))
        return found

    def _are_out(self) -> bool:
        out = set(self._history.out)
        return any((one.hash, self._fidelity) in out for one in self._members)

    def _climb(self, forecaster: Forecaster | None) -> None:
        """The best of a complete rung go on; after the last one the next bracket begins."""
        now = self._bracket(self._number)
        merits = self._merits([one.hash for one in self._members], self._fidelity, forecaster)
        size = 0 if self._rung + 1 == len(now.fidelities) else now.sizes[self._rung + 1]
        best = sorted(merits, key=lambda name: merits[name], reverse=True)[:size]
        self._members = [self._history.architecture(name) for name in best]
        self._waiting, self._rung = list(self._members), self._rung + 1
        if not self._members:
            self._number, self._rung = self._number + 1, 0

    def _own_state(self) -> State:
        write = self.problem.space.format
        return {
            "number": self._number,
            "rung": self._rung,
            "members": [write(one) for one in self._members],
            "waiting": [write(one) for one in self._waiting],
        }

    def _restore_own(self, state: Mapping[str, Any]) -> None:
        read = self.problem.space.parse
        self._number, self._rung = int(state["number"]), int(state["rung"])
        self._members, self._waiting = [[read(one) for one in state[key]] for key in ("members", "waiting")]


class SuccessiveHalving(_Brackets):
    """The same bracket again and again."""

    name = "successive_halving"
    description = "Evaluates many cheaply, then the best of them at greater length, until few are left at full length."
    source = (
        "Jamieson & Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016"
    )
    settings_type = HalvingSettings

    def __init__(self, problem: SearchProblem, settings: HalvingSettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._same = bracket(settings.eta, self._fidelities, settings.num_first)

    def _bracket(self, number: int) -> Bracket:
        return self._same


class Hyperband(_Brackets):
    """Brackets in turn, since nobody knows how far cheap evaluations are to be trusted."""

    name = "hyperband"
    description = "Runs successive halving from boldly cheap to fully careful brackets, in turn."
    source = "Li et al., Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization, JMLR 2018"
    settings_type = MultiFidelitySettings

    def __init__(self, problem: SearchProblem, settings: MultiFidelitySettings, seed: int) -> None:
        super().__init__(problem, settings, seed)
        self._brackets = hyperband(settings.eta, settings.min_fidelity)

    def _bracket(self, number: int) -> Bracket:
        return self._brackets[number % len(self._brackets)]
