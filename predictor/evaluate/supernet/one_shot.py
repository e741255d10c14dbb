"""The supernet as an evaluator: accuracy with inherited weights, recorded at a fidelity of its own.

A value with inherited weights says something of what training alone would reach, on another scale and with errors of its own: it is
what a smaller budget said. It is an observation of the task itself, at a fidelity that is reserved for it, so that forecasts learn
from it as from any lower fidelity (`predictor.tasks.lower_fidelities`) and never mistake it for a training of few epochs
(decision 0033).
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from predictor.architecture import Architecture
from predictor.errors import NotInSpaceError, UnbuildableError
from predictor.evaluate.base import EvaluationResult, Evaluator, Measured, Reporter
from predictor.evaluate.examples import SplitDataset
from predictor.evaluate.supernet.checkpoint_files import checkpoint_file
from predictor.evaluate.supernet.images import for_evaluation
from predictor.evaluate.supernet.loop import Record
from predictor.evaluate.supernet.shared_weights import SharedWeights, SinglePathConfig, SinglePathTraining
from predictor.search_spaces.base import SearchSpace

ONE_SHOT_FIDELITY = 2.0**-10
"""The share of the full budget that one-shot values are recorded at: below that of any training, and exact in binary, so that a
task's own scale gives it back."""


@dataclass(frozen=True)
class OneShotEvaluator(Evaluator):
    """Answers from the weights of one supernet, whatever fidelity and seed are asked for: it has one value for an architecture,
    and that is of `ONE_SHOT_FIDELITY`. Values of different supernets are not of one scale: use one for a task."""

    weights: SharedWeights

    @classmethod
    def trained(
        cls,
        space: SearchSpace,
        dataset: SplitDataset,
        config: SinglePathConfig,
        device: str = "cpu",
        state_folder: Path | None = None,
        reporter: Reporter | None = None,
    ) -> OneShotEvaluator:
        """Trains the supernet by uniform single paths on the training part; with a folder it goes on from what is there.

        Raises:
            SearchError: if the space has no cells.
            EvaluationError: if the training diverges.
            Interrupted: if the reporter says so; how far it was is in the folder.
        """
        training = SinglePathTraining(space, for_evaluation(dataset), config, device)
        identity = json.dumps([space.name, dataset.name, dataset.fingerprint, asdict(config)], sort_keys=True)
        name = f"supernet-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.safetensors"
        checkpoints = checkpoint_file(None if state_folder is None else state_folder / name)
        if checkpoints.last is not None:
            training.load_bytes(checkpoints.last)

        def on_epoch(_record: Record) -> bool:
            checkpoints.save(training.to_bytes())
            if reporter is not None:
                reporter.keep_alive()
            return True

        training.run(on_epoch)
        return cls(training.weights())

    def evaluate(
        self, architecture: Architecture, fidelity: float = 1.0, seed: int = 0, reporter: Reporter | None = None
    ) -> EvaluationResult:
        start = time.perf_counter()
        try:
            accuracy = self.weights.accuracy_percent(architecture)
        except NotInSpaceError as error:
            raise UnbuildableError(str(error)) from error
        final = Measured(ONE_SHOT_FIDELITY, {"accuracy_percent": accuracy}, time.perf_counter() - start)
        return EvaluationResult(final, facts={"dataset": self.weights.dataset.name, "weights": "inherited"})
