"""Evaluators for whoever measures trials: from documents, on this machine or a Ray cluster, and what came of an evaluation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import predictor
from app.inference.errors import translated
from app.inference.notations import SearchSpace, search_space
from predictor import Architecture, EvaluationResult, Evaluator, Interrupted, Measured, RayConfig, Reporter

__all__ = ["EvaluationResult", "Evaluator", "Interrupted", "Measured", "Outcome", "RayConfig", "Reporter"]

_POLL_SECONDS = 0.1

Document = dict[str, Any]
Ask = Callable[[Document], object]
"""Asks somebody else; raises AskError where there is no answer."""


class AskError(Exception):
    """Somebody else gave no answer; `may_succeed_later` where that need not be so for good."""

    def __init__(self, message: str, *, may_succeed_later: bool = True) -> None:
        super().__init__(message)
        self.may_succeed_later = may_succeed_later


@dataclass(frozen=True)
class Outcome:
    """What came of an evaluation: a result, or why there is none."""

    status: Literal["measured", "infeasible", "failed"]
    result: EvaluationResult | None = None
    reason: str = ""
    may_succeed_later: bool = False


def evaluator(
    document: Mapping[str, Any], name: str, definition: Mapping[str, Any] | None, ray: RayConfig | None = None
) -> Evaluator:
    """The evaluator of a document for a search space, whose definition is None if it is built in; on Ray if it is told how.

    Raises:
        InvalidContentError: if the document is wrong, or what it names cannot be used.
    """
    space = search_space(name, definition)
    with translated():
        if ray is not None:
            return predictor.RayEvaluator(document, space, definition, ray)
        return predictor.evaluator_from_json(document, space)


def asking(ask: Ask, name: str, definition: Mapping[str, Any] | None) -> Evaluator:
    """An evaluator that asks somebody else."""
    return AskingEvaluator(ask, search_space(name, definition))


def evaluate(
    evaluator: Evaluator, space: SearchSpace, genotype: str, fidelity: float, seed: int, reporter: Reporter
) -> Outcome:
    """One evaluation.

    Raises:
        Interrupted: if the reporter says so.
        InvalidContentError: if the evaluator cannot be used for any architecture.
    """
    with translated():
        try:
            return Outcome("measured", evaluator.evaluate(space.parse(genotype), fidelity, seed, reporter))
        except predictor.UnbuildableError as error:
            return Outcome("infeasible", reason=str(error))
        except predictor.FailedEvaluationError as error:
            return Outcome("failed", reason=str(error), may_succeed_later=error.may_succeed_later)


def value_of(measured: Measured, metric: str, unit: str) -> float:
    """A task's metric among what was measured, in its unit; raises InvalidContentError if it is not there."""
    with translated():
        return predictor.value_of(measured, metric, unit)


def source_of(name: str, definition: Mapping[str, Any] | None, genotype: object, config: Mapping[str, Any]) -> str:
    """PyTorch source of an architecture's network; `config` has image_shape, num_classes and perhaps sizes, resolution.

    Raises:
        InvalidContentError: if it cannot be read, or built.
    """
    space = search_space(name, definition)
    with translated():
        architecture = space.parse(genotype)  # type: ignore[arg-type]
        return predictor.pytorch_source(architecture, space, predictor.NetworkConfig(**config))


class AskingEvaluator(Evaluator):
    """Hands the architecture to a function that asks somebody else, and waits for the answer; one evaluation, one question."""

    def __init__(self, ask: Ask, space: SearchSpace) -> None:
        self._ask, self._space = ask, space

    def evaluate(
        self, architecture: Architecture, fidelity: float = 1.0, seed: int = 0, reporter: Reporter | None = None
    ) -> EvaluationResult:
        question = predictor.request_document(architecture, self._space, fidelity, seed)
        asked = _Question(self._ask, question)
        asked.start()
        while asked.is_alive():
            asked.join(_POLL_SECONDS)
            if reporter is not None:
                reporter.keep_alive()
        return EvaluationResult(_answered(asked, fidelity))


class _Question(threading.Thread):
    """Asks beside the thread that evaluates, so that this one can be interrupted; an answer that comes later is lost."""

    def __init__(self, ask: Ask, question: Document) -> None:
        super().__init__(name="evaluation-question", daemon=True)
        self._ask, self._question = ask, question
        self.answer: object = None
        self.error: AskError | None = None

    def run(self) -> None:
        try:
            self.answer = self._ask(self._question)
        except AskError as error:
            self.error = error


def _answered(asked: _Question, fidelity: float) -> Measured:
    if asked.error is not None:
        raise predictor.FailedEvaluationError(str(asked.error), may_succeed_later=asked.error.may_succeed_later)
    match asked.answer:
        case {"infeasible": str(reason)}:
            raise predictor.UnbuildableError(f"the answer says: {reason[:1_000]}")
    return predictor.measured_from_json(asked.answer, fidelity)
