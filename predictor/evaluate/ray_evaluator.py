"""Evaluations as Ray tasks (extra `ray`): on an existing cluster by its address, or on this machine.

What travels is JSON: the evaluator's document, the search space's, the architecture, and results. A task whose node is lost runs
again elsewhere; where the evaluator's state folder is shared between nodes it goes on from there. Intermediate results come
through a mailbox on the node of whoever asked, and so does the advice to stop, which a training sees with its next result.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from predictor.architecture import Architecture
from predictor.errors import EvaluationError, FailedEvaluationError, PredictorError, UnbuildableError
from predictor.evaluate.base import (
    EvaluationResult,
    Evaluator,
    Measured,
    Reporter,
    Silent,
    measured_from_json,
    measured_to_json,
)
from predictor.evaluate.mailbox import Mailbox
from predictor.evaluate.registry import evaluator_from_json
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.registry import declared_search_space, search_space

_POLL_SECONDS = 0.2
_ERRORS = {one.__name__: one for one in (EvaluationError, UnbuildableError, FailedEvaluationError)}


@dataclass(frozen=True)
class RayConfig:
    """`address` of a cluster (`auto`: the one that this machine belongs to); None: this machine. What one evaluation takes, and
    how often it may be tried on another node."""

    address: str | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    max_retries: int = 3


def _ray() -> Any:
    try:
        import ray  # heavy optional import, at its one place
    except ImportError as error:
        raise EvaluationError("expected Ray to be installed (extra `ray`), got none") from error
    return ray


class RayEvaluator(Evaluator):
    """Runs the evaluator of a document on a cluster. Any number of threads may evaluate at once: each is one task.

    Raises:
        EvaluationError: if Ray is not installed or the cluster cannot be reached.
    """

    def __init__(
        self, document: Mapping[str, Any], space: SearchSpace, definition: Mapping[str, Any] | None, config: RayConfig
    ) -> None:
        """`definition` of a declared search space; None for a built-in one."""
        self._ray, self._config = _ray(), config
        self._document, self._state_folder = dict(document), document.get("state_folder")
        self._space = {"name": space.name, "definition": None if definition is None else dict(definition)}
        if not self._ray.is_initialized():
            place = {"include_dashboard": False} if config.address is None else {"address": config.address}
            try:
                self._ray.init(log_to_driver=False, **place)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise EvaluationError(f"expected a Ray cluster at {config.address}, got: {error}") from error

    def with_state(self, folder: Path) -> RayEvaluator:
        changed = copy.copy(self)
        changed._state_folder = str(folder)
        return changed

    def evaluate(
        self, architecture: Architecture, fidelity: float = 1.0, seed: int = 0, reporter: Reporter | None = None
    ) -> EvaluationResult:
        mailbox = self._mailbox()
        request = {
            "evaluator": {name: value for name, value in self._document.items() if name != "state_folder"},
            "state_folder": self._state_folder,
            "search_space": self._space,
            "architecture": architecture.to_json(),
            "genotype": architecture.genotype,
            "fidelity": fidelity,
            "seed": seed,
        }
        task = self._ray.remote(evaluated).options(
            num_cpus=self._config.num_cpus, num_gpus=self._config.num_gpus, max_retries=self._config.max_retries
        )
        running = task.remote(json.dumps(request), mailbox)
        try:
            return _result(self._awaited(running, mailbox, reporter or Silent()))
        except BaseException:
            self._ray.cancel(running, force=True)
            raise
        finally:
            self._ray.kill(mailbox)

    def _mailbox(self) -> Any:
        """An actor on this node, so that it outlives those where tasks run."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # beside `_ray`

        here = NodeAffinitySchedulingStrategy(self._ray.get_runtime_context().get_node_id(), soft=False)
        return self._ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()

    def _awaited(self, running: Any, mailbox: Any, reporter: Reporter) -> str:
        ray, seen = self._ray, 0.0
        while True:
            done, _ = ray.wait([running], timeout=_POLL_SECONDS)
            reporter.keep_alive()
            for text in ray.get(mailbox.take.remote()):
                measured = measured_from_json(json.loads(text), 1.0)
                if measured.fidelity > seen:  # a task that runs again tells again
                    seen = measured.fidelity
                    if not reporter.measured(measured):
                        ray.get(mailbox.stop.remote())
            if done:
                try:
                    return str(ray.get(running))
                except ray.exceptions.RayError as error:
                    raise FailedEvaluationError(
                        f"expected a result from the cluster, got {type(error).__name__}: {str(error)[:300]}",
                        may_succeed_later=True,
                    ) from error


class _Posting(Reporter):
    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    def measured(self, measured: Measured) -> bool:
        return bool(_ray().get(self._mailbox.put.remote(json.dumps(measured_to_json(measured)))))

    def keep_alive(self) -> None:
        return


def evaluated(request: str, mailbox: Any) -> str:
    """The Ray task: a request and a result as JSON."""
    asked = json.loads(request)
    try:
        evaluator, space = _prepared(json.dumps(asked["evaluator"]), json.dumps(asked["search_space"]))
        if asked["state_folder"] is not None:
            evaluator = evaluator.with_state(Path(asked["state_folder"]))
        architecture = _architecture(asked, space)
        found = evaluator.evaluate(architecture, asked["fidelity"], asked["seed"], _Posting(mailbox))
    except PredictorError as error:
        later = isinstance(error, FailedEvaluationError) and error.may_succeed_later
        return json.dumps({"error": type(error).__name__, "message": str(error), "may_succeed_later": later})
    return json.dumps(
        {
            "final": measured_to_json(found.final),
            "curve": [measured_to_json(one) for one in found.curve],
            "stopped_early": found.stopped_early,
            "facts": dict(found.facts),
        }
    )


def _architecture(asked: Mapping[str, Any], space: SearchSpace) -> Architecture:
    if asked["genotype"] is not None:
        return space.parse(asked["genotype"])
    return Architecture.from_json(asked["architecture"])


@lru_cache(maxsize=4)
def _prepared(evaluator: str, space: str) -> tuple[Evaluator, SearchSpace]:
    """Data sets are loaded once for a process."""
    told = json.loads(space)
    own = (
        search_space(told["name"])
        if told["definition"] is None
        else declared_search_space(told["name"], told["definition"])
    )
    return evaluator_from_json(json.loads(evaluator), own), own


def _result(text: str) -> EvaluationResult:
    found = json.loads(text)
    if "error" in found:
        if found["error"] == FailedEvaluationError.__name__:
            raise FailedEvaluationError(found["message"], may_succeed_later=found["may_succeed_later"])
        raise _ERRORS.get(found["error"], EvaluationError)(found["message"])
    curve = tuple(measured_from_json(one, 1.0) for one in found["curve"])
    return EvaluationResult(measured_from_json(found["final"], 1.0), curve, found["stopped_early"], found["facts"])
