"""What a search has proposed and was told, and which of it is still out.

Values of one architecture and one fidelity are averaged where they were measured several times. A measured value takes the
place of a forecast, a later forecast that of an earlier one, and a measured value that of a failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from predictor.architecture import Architecture
from predictor.search.base import Outcome, Proposal, State
from predictor.search_spaces.base import SearchSpace

Key = tuple[str, float]
"""An architecture's hash, and a fidelity."""


@dataclass(frozen=True)
class _Known:
    outcome: Outcome
    count: int  # how many measurements it is the mean of


class History:
    """Belongs to one search of one space."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._architectures: dict[str, Architecture] = {}
        self._known: dict[Key, _Known] = {}
        self._proposed: dict[Key, bool] = {}  # with whether it is still out

    def own(self, architecture: Architecture) -> Architecture:
        """The architecture as this space writes it, the same one every time.

        Raises:
            NotInSpaceError: if the space cannot express it.
        """
        known = self._architectures.get(architecture.hash)
        if known is not None:
            return known
        text = self._space.format(architecture)
        return architecture if architecture.genotype == text else self._space.parse(text)

    def propose(self, proposal: Proposal) -> None:
        """Notes that a proposal is out."""
        self._architectures.setdefault(proposal.architecture.hash, proposal.architecture)
        self._proposed[proposal.architecture.hash, proposal.fidelity] = True

    def note(self, outcome: Outcome) -> Outcome:
        """What is known of that architecture at that fidelity, now that this was told, too."""
        architecture = outcome.architecture
        key = (architecture.hash, outcome.fidelity)
        self._architectures.setdefault(architecture.hash, architecture)
        if key in self._proposed:
            self._proposed[key] = False
        if outcome.values is None:
            self._end_all(architecture.hash)
        self._known[key] = _joined(self._known.get(key), outcome)
        return self._known[key].outcome

    def _end_all(self, architecture_hash: str) -> None:
        """Nothing that failed is waited for, at any fidelity."""
        for key in self._proposed:
            if key[0] == architecture_hash:
                self._proposed[key] = False

    def is_new(self, architecture: Architecture, fidelity: float = 1.0) -> bool:
        """Whether it was neither proposed nor measured at that fidelity."""
        key = (architecture.hash, fidelity)
        known = self._known.get(key)
        return key not in self._proposed and (known is None or known.outcome.is_forecast)

    def was_proposed(self, architecture: Architecture, fidelity: float = 1.0) -> bool:
        """Whether this search itself wanted it evaluated at that fidelity; what was not is foreign."""
        return (architecture.hash, fidelity) in self._proposed

    def architecture(self, architecture_hash: str) -> Architecture:
        """The one of that hash that was proposed or told; raises KeyError."""
        return self._architectures[architecture_hash]

    def outcome(self, architecture_hash: str, fidelity: float = 1.0) -> Outcome | None:
        """What is known of it at that fidelity."""
        known = self._known.get((architecture_hash, fidelity))
        return None if known is None else known.outcome

    def outcomes(self, fidelity: float = 1.0) -> Iterator[Outcome]:
        """All that is known at that fidelity, in the order in which the architectures were first told."""
        return (one.outcome for key, one in self._known.items() if key[1] == fidelity)

    @property
    def architectures(self) -> tuple[Architecture, ...]:
        """Everything that was proposed or told, in that order."""
        return tuple(self._architectures.values())

    @property
    def out(self) -> list[Key]:
        """What was proposed and is still awaited."""
        return [key for key, is_out in self._proposed.items() if is_out]

    @property
    def num_proposed(self) -> int:
        """How many proposals were made."""
        return len(self._proposed)

    def state(self) -> State:
        """As JSON."""
        place = {architecture_hash: number for number, architecture_hash in enumerate(self._architectures)}
        return {
            "architectures": [architecture.genotype for architecture in self._architectures.values()],
            "proposed": [[place[name], fidelity, is_out] for (name, fidelity), is_out in self._proposed.items()],
            "known": [
                {
                    "architecture": place[name],
                    "fidelity": fidelity,
                    "values": None if one.outcome.values is None else list(one.outcome.values),
                    "violation": one.outcome.violation,
                    "is_forecast": one.outcome.is_forecast,
                    "count": one.count,
                }
                for (name, fidelity), one in self._known.items()
            ],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Into a history that is empty; raises whatever a document of another form causes."""
        listed = [self._space.parse(text) for text in state["architectures"]]
        self._architectures = {one.hash: one for one in listed}
        self._proposed = {(listed[n].hash, float(fidelity)): bool(is_out) for n, fidelity, is_out in state["proposed"]}
        for one in state["known"]:
            architecture = listed[one["architecture"]]
            values = None if one["values"] is None else tuple(map(float, one["values"]))
            outcome = Outcome(architecture, values, one["fidelity"], one["violation"], one["is_forecast"])
            self._known[architecture.hash, outcome.fidelity] = _Known(outcome, int(one["count"]))


def _joined(known: _Known | None, told: Outcome) -> _Known:
    """What was known and what was told as one."""
    if known is None or (known.outcome.is_forecast and not told.is_forecast):
        return _Known(told, 1)
    earlier = known.outcome
    if told.is_forecast != earlier.is_forecast:
        return known
    if told.is_forecast or earlier.values is None:
        return _Known(told, 1)
    if told.values is None:
        return known
    count = known.count + 1
    values = tuple(old + (new - old) / count for old, new in zip(earlier.values, told.values, strict=True))
    violation = earlier.violation + (told.violation - earlier.violation) / count
    return _Known(replace(earlier, values=values, violation=violation), count)
