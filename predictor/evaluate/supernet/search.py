"""Differentiable search from start to end: search the supernet, decode, retrain the decoded network from scratch.

Source: Liu, Simonyan & Yang, "DARTS: Differentiable Architecture Search", ICLR 2019.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch

from predictor.architecture import Architecture
from predictor.errors import CheckpointError
from predictor.evaluate.datasets import ImageDataset
from predictor.evaluate.supernet.bilevel_loop import BilevelLoop
from predictor.evaluate.supernet.config import DartsConfig
from predictor.evaluate.supernet.loop import EpochLoop, Record, TrainingCheckpoints, state_of
from predictor.evaluate.supernet.retraining import Retraining
from predictor.evaluate.supernet.stack import StackConfig, cell_space
from predictor.search_spaces.base import SearchSpace

DEFAULT, NOWHERE = DartsConfig(), TrainingCheckpoints()
SEARCHING, RETRAINING = "searching", "retraining"


@dataclass(frozen=True)
class DartsProgress:
    """What is told after every epoch, of the search and then of the retraining. `record` is that epoch's, as JSON: while
    searching it holds the genotype that would be the result if this were the end."""

    stage: str
    epoch: int
    num_epochs: int
    percent: float  # of all the work
    record: Record


@dataclass(frozen=True)
class DartsResult:
    """What was found. `accuracy_percent` is the retrained network's on the test images; None where it was not retrained, since
    that was not asked for or the search was stopped before. `went_back_to` is the epoch that early stopping chose."""

    architecture: Architecture
    history: tuple[Record, ...]
    retraining: tuple[Record, ...]
    accuracy_percent: float | None
    went_back_to: int | None
    is_finished: bool


class DifferentiableSearch:
    """One search of one space on one data set. Belongs to one thread; deterministic given the configuration.

    Raises:
        SearchError: if the space has no cells or there are too few images.
    """

    def __init__(
        self, space: SearchSpace, dataset: ImageDataset, config: DartsConfig = DEFAULT, device: str = ""
    ) -> None:
        """`device` empty: CUDA when there is one."""
        cell_space(space)
        self.space, self.dataset, self.config = space, dataset, config
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.loop = BilevelLoop(space, dataset, config, self.device)

    def run(
        self,
        report: Callable[[DartsProgress], bool] = lambda _progress: True,
        checkpoints: TrainingCheckpoints = NOWHERE,
        on_batch: Callable[[], None] = lambda: None,
    ) -> DartsResult:
        """Searches, decodes and retrains; goes on from the last checkpoint, and comes out as if there had been no
        interruption. When `report` answers False it ends there, with what would be the result so far. `on_batch` is called
        after every batch; whatever it raises passes through, and the last checkpoint is where to go on.

        Raises:
            SearchError: if the training diverges.
            EvaluationError: if the retraining diverges.
            CheckpointError: if the last checkpoint is of another search, or damaged.
        """
        self.loop.on_batch = on_batch
        stage = self._resumed(checkpoints.last)
        if stage == SEARCHING and not self._search(report, checkpoints):
            return self._result(None)
        if self.config.retraining.epochs == 0:
            return self._result(None)
        return self._result(self._retrain(report, checkpoints, stage, on_batch))

    @property
    def went_back_to(self) -> int | None:
        """The number of the epoch, from 0, that early stopping goes back to; None while it does not."""
        stopping = self.config.early_stopping
        if stopping is None:
            return None
        return stopping.goes_back_to([record["eigenvalue"] for record in self.loop.history])

    @property
    def architecture(self) -> Architecture:
        """What the search has found so far."""
        chosen = self.went_back_to
        if self.loop.history:
            return self.space.parse(self.loop.history[-1 if chosen is None else chosen]["genotype"])
        return self.loop.cells.selected(self.loop.parameters.selection())

    def _search(self, report: Callable[[DartsProgress], bool], checkpoints: TrainingCheckpoints) -> bool:
        """Whether it came to its end, or to the end that early stopping sets."""
        asked_to_go_on = True

        def on_epoch(record: Record) -> bool:
            nonlocal asked_to_go_on
            checkpoints.save(self._content(self.loop, SEARCHING))
            asked_to_go_on = report(self._progress(SEARCHING, self.loop, record, 0))
            return asked_to_go_on and self.went_back_to is None

        if self.went_back_to is None:
            self.loop.run(on_epoch)
        return asked_to_go_on

    def _retrain(
        self,
        report: Callable[[DartsProgress], bool],
        checkpoints: TrainingCheckpoints,
        stage: str,
        on_batch: Callable[[], None],
    ) -> Retraining:
        config = self.config
        retraining = Retraining(
            self.space, self.architecture, self.dataset, _whole(config), config.retraining, config.seed, self.device
        )
        retraining.on_batch = on_batch
        if stage == RETRAINING and checkpoints.last is not None:
            retraining.load_bytes(checkpoints.last)

        def on_epoch(record: Record) -> bool:
            checkpoints.save(self._content(retraining, RETRAINING))
            return report(self._progress(RETRAINING, retraining, record, config.epochs))

        retraining.run(on_epoch)
        return retraining

    def _progress(self, stage: str, loop: EpochLoop, record: Record, before: int) -> DartsProgress:
        total = self.config.epochs + self.config.retraining.epochs
        return DartsProgress(stage, loop.epoch, loop.num_epochs, 100.0 * (before + loop.epoch) / total, record)

    def _result(self, retraining: Retraining | None) -> DartsResult:
        records = () if retraining is None else tuple(retraining.history)
        searched = self.loop.is_finished or self.went_back_to is not None
        retrained = self.config.retraining.epochs == 0 or (retraining is not None and retraining.is_finished)
        return DartsResult(
            self.architecture,
            tuple(self.loop.history),
            records,
            records[-1].get("accuracy_percent") if records else None,
            self.went_back_to,
            searched and retrained,
        )

    def _content(self, loop: EpochLoop, stage: str) -> bytes:
        return loop.to_bytes(origin=self._origin(), stage=stage, searched=self.loop.history)

    def _origin(self) -> Record:
        """What a search is of; a checkpoint of anything else is not gone on from."""
        return {
            "space": self.space.name,
            "dataset": f"{self.dataset.name} {fingerprint(self.dataset)}",
            "config": asdict(self.config),
        }

    def _resumed(self, last: bytes | None) -> str:
        """The stage that the last checkpoint was saved in, after taking the search's part of it over."""
        if last is None:
            return SEARCHING
        state = state_of(last)
        if state.get("origin") != self._origin():
            raise CheckpointError(
                "expected a checkpoint of the same space, data set and settings, got one of "
                f"{state.get('origin')} where this is {self._origin()}"
            )
        if state["stage"] == SEARCHING:
            self.loop.load_bytes(last)
        else:
            self.loop.history = list(state["searched"])  # its weights are not needed any more
        return str(state["stage"])


def _whole(config: DartsConfig) -> StackConfig:
    """The decoded network lets all channels through its operations."""
    return replace(config.stack, partial_channels=1)


def fingerprint(dataset: ImageDataset) -> str:
    """16 hexadecimal digits of everything in it."""
    digest = hashlib.sha256()
    for tensor in (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
