"""A training that goes on after an interruption as if there had been none.

What an epoch depends on is all in tensors and JSON: weights, whatever else is learned, the optimisers' state, the generator's,
the number of the epoch and what was reported so far. Together they are one safetensors content, never a pickle.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from predictor import checkpoint
from predictor.errors import CheckpointError, EvaluationError, SearchError

Record = dict[str, Any]
"""What one epoch says, as JSON."""

_STATE = "state"


@dataclass(frozen=True)
class TrainingCheckpoints:
    """Where a training keeps how far it is: `save` is called with safetensors, `last` is what was saved last."""

    save: Callable[[bytes], None] = lambda _content: None
    last: bytes | None = None


def _nothing() -> None:
    pass


class EpochLoop(ABC):
    """Trains epoch by epoch. Belongs to one thread.

    A leaf sets what it learns before the first epoch: `network`, `optimizers`, and in `learned` the tensors that are not the
    network's. All randomness is the generator's, so that what it was tells all that is to come. A leaf calls `on_batch` after
    every batch; whatever that raises ends the training there, and the epoch that was begun is lost.
    """

    network: nn.Module
    optimizers: Mapping[str, torch.optim.Optimizer]
    learned: Mapping[str, Tensor]

    def __init__(self, num_epochs: int, seed: int, device: str) -> None:
        self.num_epochs, self.device = num_epochs, device
        self.generator = torch.Generator().manual_seed(seed)
        self.history: list[Record] = []
        self.on_batch: Callable[[], None] = _nothing

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.history)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.epoch >= self.num_epochs

    @abstractmethod
    def _train_epoch(self) -> Record:
        """One epoch; what it says."""

    def run(self, on_epoch: Callable[[Record], bool] = lambda _record: True) -> bool:
        """Trains to the end, or until `on_epoch` answers False; whether it came to the end."""
        while not self.is_finished:
            self.history.append(self._train_epoch())
            if not on_epoch(self.history[-1]):
                break
        return self.is_finished

    def to_bytes(self, **state: object) -> bytes:
        """Everything that `load_bytes` goes on from, with whatever JSON the caller puts beside it."""
        named = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        named |= {f"learned.{name}": value for name, value in self.learned.items()}
        for name, optimizer in self.optimizers.items():
            named |= _optimizer_tensors(f"optimizer.{name}", optimizer)
        named["generator"] = self.generator.get_state()
        named[_STATE] = _as_tensor({**state, "history": self.history})
        return checkpoint.to_bytes(named)

    def load_bytes(self, content: bytes) -> None:
        """Goes on from there.

        Raises:
            CheckpointError: if it is of a training of other shape, or damaged.
        """
        tensors = checkpoint.from_bytes(content)
        try:
            self.network.load_state_dict(_under(tensors, "network."))
            with torch.no_grad():
                for name, value in self.learned.items():
                    value.copy_(tensors[f"learned.{name}"])
            for name, optimizer in self.optimizers.items():
                _load_optimizer(optimizer, _under(tensors, f"optimizer.{name}."))
            self.generator.set_state(tensors["generator"])
            self.history = list(state_of(content)["history"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise CheckpointError(f"expected a checkpoint of this training, got {error}") from error


def state_of(content: bytes) -> Record:
    """The JSON in a checkpoint.

    Raises:
        CheckpointError: if there is none.
    """
    tensors = checkpoint.from_bytes(content)
    try:
        state = json.loads(bytes(tensors[_STATE].tolist()))
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"expected a checkpoint of a training, got {error!r}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"expected a checkpoint's state to be an object, got {type(state).__name__}")
    return state


def _as_tensor(state: Mapping[str, object]) -> Tensor:
    return torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_tensors(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What it remembers of each parameter that it has moved."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{number}.{name}": torch.as_tensor(value)
        for number, remembered in state.items()
        for name, value in remembered.items()
        if value is not None
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def set_rate(optimizer: torch.optim.Optimizer, rate: float, momentum: float | None = None) -> None:
    """The learning rate from here on, and the momentum where it changes."""
    for group in optimizer.param_groups:
        group["lr"] = rate
        if momentum is not None:
            group["momentum"] = momentum


def cosine(progress: float, first: float, last: float) -> float:
    """From `first` at 0 to `last` at 1."""
    return last + 0.5 * (first - last) * (1.0 + math.cos(math.pi * progress))


def checked_loss(loss: Tensor, error: type[SearchError] | type[EvaluationError]) -> float:
    """The loss as a number.

    Raises:
        SearchError, EvaluationError: whichever was named, if it is not finite.
    """
    value = float(loss)
    if not math.isfinite(value):
        raise error(f"expected a finite training loss, got {value}: try a smaller learning rate")
    return value


def check_at_least(
    error: type[SearchError] | type[EvaluationError],
    values: Mapping[str, float],
    least: float = 0.0,
    strict: bool = False,
) -> None:
    """Raises the named error for the first value that is not a number of at least (or, `strict`, above) `least`."""
    for name, value in values.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or value < least or (strict and value == least):
            raise error(f"expected {name} to be {'above' if strict else 'at least'} {least:g}, got {value!r:.80}")


def check_whole(error: type[SearchError] | type[EvaluationError], values: Mapping[str, object], least: int = 0) -> None:
    """Raises the named error for the first value that is not a whole number of at least `least`."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise error(f"expected {name} to be a whole number of at least {least}, got {value!r:.80}")


def accuracy_percent(correct: Sequence[Tensor]) -> float:
    """Share of True in all of them, in percent."""
    joined = torch.cat(list(correct))
    return 100.0 * float(joined.float().mean())
