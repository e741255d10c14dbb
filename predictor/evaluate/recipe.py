"""How an architecture is trained: the frozen recipe that every architecture of a task shares."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from predictor.errors import EvaluationError

Optimizer = Literal["sgd", "adamw"]
Schedule = Literal["one_cycle", "cosine", "constant"]
Augmentation = Literal["none", "flip", "crop", "flip_crop"]
Part = Literal["validation", "test"]
Budget = Literal["epochs", "data"]

_WARM_UP = 0.15  # of all steps of one cycle
_CHOICES: Mapping[str, Any] = {
    "optimizer": Optimizer, "schedule": Schedule, "augmentation": Augmentation, "scored_on": Part, "budget": Budget
}  # fmt: skip
_POSITIVE = ("epochs", "batch_size", "learning_rate", "data_fraction", "max_gradient_norm")


@dataclass(frozen=True)
class Recipe:
    """What decides a training besides architecture, data set and seed.

    `budget` is what a lower fidelity has less of: epochs, or images to train on. `scored_on` is the part of the data set whose
    accuracy counts as the architecture's: a search had better decide by the validation part.

    Raises:
        EvaluationError: if a setting is out of its range.
    """

    epochs: int = 10
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1  # the highest
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Schedule = "one_cycle"
    augmentation: Augmentation = "none"
    label_smoothing: float = 0.0
    max_gradient_norm: float = 5.0
    data_fraction: float = 1.0
    scored_on: Part = "validation"
    budget: Budget = "epochs"

    def __post_init__(self) -> None:
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise EvaluationError(
                    f"expected {name} to be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r:.80}"
                )
        for field in dataclasses.fields(self):
            _check_number(field.name, getattr(self, field.name), type(field.default))
        if self.data_fraction > 1.0 or not 0.0 <= self.momentum < 1.0 or not 0.0 <= self.label_smoothing < 1.0:
            raise EvaluationError(
                f"expected data_fraction in (0, 1], momentum and label_smoothing in [0, 1), got {self.data_fraction}, "
                f"{self.momentum} and {self.label_smoothing}"
            )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Recipe:
        """From settings by name.

        Raises:
            EvaluationError: if a name is unknown or a value is out of its range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise EvaluationError(f"expected settings among {', '.join(sorted(known))}, got {unknown[0]!r:.80}")
        return cls(**document)

    def with_fidelity(self, share: float) -> Recipe:
        """The same on that share of its budget, at least one epoch."""
        if self.budget == "data":
            return dataclasses.replace(self, data_fraction=self.data_fraction * share)
        return dataclasses.replace(self, epochs=max(round(self.epochs * share), 1))

    def learning_rate_at(self, step: int, num_steps: int) -> float:
        """Of a step, counted from 0; the schedule has no state, so that a training can go on anywhere."""
        match self.schedule:
            case "constant":
                return self.learning_rate
            case "cosine":
                return self.learning_rate * (1.0 + math.cos(math.pi * step / num_steps)) / 2.0
            case "one_cycle":
                rising = max(_WARM_UP * num_steps, 1.0)
                if step < rising:
                    return self.learning_rate * (0.04 + 0.96 * (step + 1) / (rising + 1))
                left = (num_steps - step) / (num_steps - rising)
                return self.learning_rate * (1.0 - math.cos(math.pi * left)) / 2.0


def _check_number(name: str, value: object, kind: type[object]) -> None:
    if kind is str:
        return
    if (
        isinstance(value, bool)
        or not isinstance(value, int if kind is int else int | float)
        or not math.isfinite(value)
    ):
        raise EvaluationError(f"expected {name} to be a finite number of type {kind.__name__}, got {value!r:.80}")
    if value < 0 or (value == 0 and name in _POSITIVE):
        raise EvaluationError(f"expected {name} to be {'positive' if name in _POSITIVE else '0 or more'}, got {value}")
