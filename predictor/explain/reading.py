"""Which parts an architecture of a search space has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from predictor.architecture import Architecture
from predictor.explain.asking import never
from predictor.explain.decision_parts import DecisionParts
from predictor.explain.declared_parts import DeclaredParts
from predictor.explain.graph_parts import GraphParts
from predictor.explain.parts import Parts
from predictor.search_spaces.base import DecisionSpace, SearchSpace
from predictor.search_spaces.declared import DeclaredSpace


def parts_of(space: SearchSpace, architecture: Architecture, check: Callable[[], None] = never) -> Parts[Any]:
    """Decisions where the space has some; operations and edges of the graph otherwise. `check` as in `asking`.

    Raises:
        NotInSpaceError: if the space cannot express the architecture.
        ExplanationError: if its graph is too large.
    """
    if isinstance(space, DecisionSpace):
        return DecisionParts(space, architecture)
    if isinstance(space, DeclaredSpace):
        return DeclaredParts(space, architecture)
    return GraphParts(space, architecture, check)


def decision_names(space: SearchSpace) -> tuple[str, ...]:
    """For each of the space's `features` the decision that it tells of."""
    if isinstance(space, DecisionSpace):
        return tuple(decision.name for decision in space.decisions for _ in decision.choices)
    if isinstance(space, DeclaredSpace):
        return tuple(name.partition("=")[0] for name in space.feature_names)
    return ()
