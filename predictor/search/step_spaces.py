"""For strategies that need a space whose architectures are decided step by step."""

from __future__ import annotations

from predictor.errors import SearchError
from predictor.search.base import SearchProblem
from predictor.search_spaces.stepwise import Stepwise


def steps_refusal(problem: SearchProblem, strategy: str) -> str | None:
    """Why such a strategy cannot work on the problem's space; None if it can."""
    return None if problem.space.stepwise() is not None else _refusal(problem, strategy)


def steps_of(problem: SearchProblem, strategy: str) -> Stepwise:
    """The steps of the problem's space.

    Raises:
        SearchError: if it has none.
    """
    steps = problem.space.stepwise()
    if steps is None:
        raise SearchError(_refusal(problem, strategy))
    return steps


def _refusal(problem: SearchProblem, strategy: str) -> str:
    return (
        f"{strategy}: expected a space whose architectures come from decisions, which it takes one after another, "
        f"got {problem.space.name}, which tells none (its architectures are graphs, or only some of them are listed)"
    )
