"""Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011; Akiba et al., KDD 2019) as a peer in searches.

The one place where Optuna is imported here, and only when such a search runs: it is an optional extra.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from predictor.architecture import Architecture
from predictor.errors import SearchError, SearchSpaceError
from predictor.search.base import Outcome, Proposal, SearchProblem
from predictor.search.driving import Evaluate
from predictor.search_spaces.base import DecisionSpace, SearchSpace
from predictor.search_spaces.listed import ListedSpace

_MOST_TRIALS = 20  # for each architecture that is evaluated: it proposes the same ones again


def _optuna() -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def decisions_of(space: SearchSpace) -> DecisionSpace | None:
    """The space of decisions behind a space; None where architectures do not come from decisions."""
    whole = space.whole if isinstance(space, ListedSpace) else space
    return whole if isinstance(whole, DecisionSpace) else None


def tree_parzen_search(
    problem: SearchProblem, evaluate: Evaluate, num_evaluations: int, seed: int, is_enough: Callable[[Outcome], bool]
) -> list[Outcome]:
    """Outcomes in order, of different architectures; what it proposes twice is told again and costs nothing.

    Raises:
        SearchError: if architectures of the space do not come from decisions.
    """
    optuna, space = _optuna(), decisions_of(problem.space)
    if space is None:
        raise SearchError(f"expected a space of decisions, got {problem.space.name}")
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction=problem.objectives[0].direction, sampler=sampler)
    known: dict[str, Outcome] = {}
    for _ in range(_MOST_TRIALS * num_evaluations):
        trial = study.ask()
        outcome = _evaluated(_suggested(trial, space), evaluate, known)
        if outcome is None or outcome.values is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        study.tell(trial, outcome.values[0])
        if len(known) >= num_evaluations or is_enough(outcome):
            break
    return list(known.values())


def _suggested(trial: Any, space: DecisionSpace) -> Architecture | None:
    """None where the choices do not name a buildable architecture."""
    choices = [trial.suggest_categorical(one.name, list(range(len(one.choices)))) for one in space.decisions]
    try:
        return space.parse(space.format(space.decode(tuple(choices))))
    except SearchSpaceError:
        return None


def _evaluated(architecture: Architecture | None, evaluate: Evaluate, known: dict[str, Outcome]) -> Outcome | None:
    """Kept in `known` if it has values."""
    if architecture is None or architecture.hash in known:
        return None if architecture is None else known[architecture.hash]
    outcome = evaluate(Proposal(architecture))
    if outcome.values is not None:
        known[architecture.hash] = outcome
    return outcome
