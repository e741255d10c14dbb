"""MetaPredictor.adapt(support) -> AdaptedPredictor.predict(architectures): the library's main job.  (signatures; body follows)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from predictor.architecture import Architecture
from predictor.prediction import Predictions
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import SupportSet, Task


class AdaptedPredictor:
    """The surrogate after the inner loop for one task and one support set. Immutable; may be called from any thread."""

    task: Task
    num_observations: int
    support_hash: str
    model_version: str

    def predict(self, architectures: Sequence[Architecture]) -> Predictions:
        """Forecasts in the task's metric unit."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Everything that `MetaPredictor.restore` needs, as safetensors."""
        raise NotImplementedError


class MetaPredictor:
    """Meta-learned initial parameters. Immutable; may be called from any thread."""

    version: str  # 32 hexadecimal digits of the weights' own hash
    manifest: Mapping[str, Any]

    @classmethod
    def load(cls, directory: Path, device: str = "cpu") -> MetaPredictor:
        """Reads `weights.safetensors` and `manifest.json`; raises CheckpointError."""
        raise NotImplementedError

    @classmethod
    def from_bytes(cls, weights: bytes, manifest: Mapping[str, Any], device: str = "cpu") -> MetaPredictor:
        """The same from memory; raises CheckpointError."""
        raise NotImplementedError

    def adapt(self, task: Task, space: SearchSpace, support: SupportSet) -> AdaptedPredictor:
        """Inner loop on the support set (may be empty)."""
        raise NotImplementedError

    def restore(self, task: Task, space: SearchSpace, payload: bytes) -> AdaptedPredictor:
        """An adaptation from `AdaptedPredictor.to_bytes` of the same version; raises CheckpointError."""
        raise NotImplementedError
