"""The states of a trial, and which lead where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

from app.errors import InternalError

TrialState = Literal["requested", "leased", "completed", "failed", "infeasible", "withdrawn", "abandoned", "expired"]

NEXT: Mapping[TrialState, frozenset[TrialState]] = {
    # Waits for a worker: asked for by somebody, or to be tried again. Withdrawn: whoever asked has no use for it any more.
    "requested": frozenset({"leased", "withdrawn"}),
    # A worker has it. Leased again: the same worker asked again, and got a new token.
    "leased": frozenset({"leased", "completed", "failed", "infeasible", "requested", "abandoned", "expired"}),
    # Waits for a worker, since the last one stopped answering; as long as nobody else has it, that one may still report.
    "expired": frozenset({"leased", "completed", "failed", "infeasible", "requested", "abandoned"}),
    # Waits for a worker, since the last one gave it back.
    "abandoned": frozenset({"leased", "withdrawn"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "infeasible": frozenset(),
    "withdrawn": frozenset(),
}
"""Every legal change of a trial's state."""

OPEN: tuple[TrialState, ...] = ("requested", "leased", "expired", "abandoned")
"""Nobody else is given the architecture meanwhile. The unique index `uq_trials_open` names the same states."""
POOL: tuple[TrialState, ...] = ("requested", "expired", "abandoned")
"""Whoever asks next gets the oldest of these."""
HELD: tuple[TrialState, ...] = ("leased", "expired")
"""The holder of the last lease may report."""


def state_of(text: str) -> TrialState:
    """A stored state as one of those that there are; raises InternalError."""
    if text not in NEXT:
        raise InternalError(f"expected a state among {', '.join(NEXT)}, got {text!r}")
    return cast(TrialState, text)


def check_change(before: TrialState, after: TrialState) -> None:
    """Raises InternalError if the one does not lead to the other: callers have to make sure of that."""
    if after not in NEXT[before]:
        legal = ", ".join(sorted(NEXT[before])) or "none"
        raise InternalError(f"expected a state that follows {before!r} ({legal}), got {after!r}")
