"""The interface of whatever forecasts a task from a few of its measurements: the surrogate's own.

Notation: S support architectures, Q asked ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from predictor.architecture import Architecture
from predictor.prediction import Predictions
from predictor.search_spaces.base import SearchSpace
from predictor.tasks import SupportSet, Task


class Adapted(Protocol):
    """What has seen a support set and forecasts in the task's metric unit."""

    def predict(self, architectures: Sequence[Architecture]) -> Predictions:
        """Forecasts of Q architectures, in their order."""
        ...


class FewShotPredictor(Protocol):
    """What learns from a support set; `MetaPredictor` is one, every baseline another."""

    def adapt(self, task: Task, space: SearchSpace, support: SupportSet) -> Adapted:
        """Learns from the support set, which may be empty for those that can forecast from nothing."""
        ...


class Baseline(ABC):
    """A contestant. Immutable after construction except for caches of features; for use from one thread."""

    name: str
    """As in tables and plots."""
    min_observations: int = 2
    """The smallest support set that `adapt` accepts."""

    @abstractmethod
    def adapt(self, task: Task, space: SearchSpace, support: SupportSet) -> Adapted:
        """Learns from the support set.

        Raises:
            InvalidSupportSetError: if it has fewer than `min_observations` members.
        """
