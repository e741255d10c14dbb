"""A policy over the steps of a search space: a recurrent network that decides one step after another (the controller of
Zoph & Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017, section 3.1).

Its input at a step is what was decided at the last one that applied; options that are not open have probability 0, and steps
with a single open option are passed over.

Notation: B paths, T steps, O options of the step that has most.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from predictor.search_spaces.stepwise import Path, Stepwise

_CLOSED = -1e9  # logit of an option that is not open


@dataclass(frozen=True)
class Draw:
    """A path that the policy drew, with the logarithm of its probability then."""

    path: Path
    log_probability: float


@dataclass(frozen=True)
class Evaluated:
    """(B,) what the policy says about paths now."""

    log_probabilities: Tensor
    entropies: Tensor  # mean over the steps that were decided


class Policy(nn.Module):
    """Parameters and the arithmetic; deterministic given the generator that it was made with."""

    def __init__(self, steps: Stepwise, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self._steps = steps
        self._sizes = [len(step.options) for step in steps.steps]
        self._first = np.cumsum([0, *self._sizes]).tolist()  # of each step's options among all options
        num_options = self._first[-1]
        self._begin = num_options  # the input before anything is decided
        self._embedding = nn.Embedding(num_options + 1, hidden)
        self._cell = nn.LSTMCell(hidden, hidden)
        self._heads = nn.Linear(hidden, num_options)
        self._hidden = hidden
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-0.1, 0.1, generator=generator)

    def draw(self, rng: np.random.Generator) -> Draw:
        """One path of open options."""
        path: list[int] = []
        total = 0.0
        state, last = self._initial(1), self._begin
        for step, size in enumerate(self._sizes):
            options = self._steps.open_options(tuple(path))
            if len(options) == 1:
                path.append(options[0])
                continue
            with torch.no_grad():
                state = self._advanced(state, torch.tensor([last]))
                logits = self._logits(state[0], step, _mask([options], size))
                log_probabilities = torch.log_softmax(logits, dim=1)[0].double().numpy()
            drawn = _drawn(log_probabilities, rng)
            path.append(drawn)
            total += float(log_probabilities[drawn])
            last = self._first[step] + drawn
        return Draw(tuple(path), total)

    def forward(self, paths: Sequence[Path]) -> Evaluated:
        """What it says about paths of open options."""
        state, last = self._initial(len(paths)), torch.full((len(paths),), self._begin)
        totals, entropies, decided = (torch.zeros(len(paths)) for _ in range(3))
        for step, size in enumerate(self._sizes):
            opened = [self._steps.open_options(path[:step]) for path in paths]
            applies = torch.tensor([len(options) > 1 for options in opened])  # (B,)
            if not applies.any():
                continue
            advanced = self._advanced(state, last)
            state = (_chosen(applies, advanced[0], state[0]), _chosen(applies, advanced[1], state[1]))
            log_probabilities = torch.log_softmax(self._logits(state[0], step, _mask(opened, size)), dim=1)  # (B, O)
            taken = torch.tensor([path[step] for path in paths])
            totals = totals + applies * log_probabilities.gather(1, taken[:, None])[:, 0]
            entropies = entropies - applies * (log_probabilities.exp() * log_probabilities).sum(dim=1)
            decided = decided + applies
            last = torch.where(applies, self._first[step] + taken, last)
        return Evaluated(totals, entropies / decided.clamp(min=1.0))

    def probabilities(self, beginning: Path) -> NDArray[np.float64]:  # (O,)
        """Of the options of the step after the beginning of a path."""
        state, last = self._initial(1), self._begin
        step = len(beginning)
        with torch.no_grad():
            for number in range(step + 1):
                options = self._steps.open_options(beginning[:number])
                if len(options) > 1 or number == step:
                    state = self._advanced(state, torch.tensor([last]))
                if len(options) > 1 and number < step:
                    last = self._first[number] + beginning[number]
            logits = self._logits(state[0], step, _mask([options], self._sizes[step]))
            return np.asarray(torch.softmax(logits, dim=1)[0].double().numpy())

    def _initial(self, count: int) -> tuple[Tensor, Tensor]:
        return torch.zeros(count, self._hidden), torch.zeros(count, self._hidden)

    def _advanced(self, state: tuple[Tensor, Tensor], last: Tensor) -> tuple[Tensor, Tensor]:
        hidden, cell = self._cell(self._embedding(last), state)
        return hidden, cell

    def _logits(self, hidden: Tensor, step: int, mask: Tensor) -> Tensor:  # (B, O)
        begin, end = self._first[step], self._first[step + 1]
        logits = nn.functional.linear(hidden, self._heads.weight[begin:end], self._heads.bias[begin:end])
        return logits.masked_fill(~mask, _CLOSED)


def _mask(opened: Sequence[Sequence[int]], size: int) -> Tensor:  # (B, size)
    mask = torch.zeros(len(opened), size, dtype=torch.bool)
    for row, options in enumerate(opened):
        mask[row, list(options)] = True
    return mask


def _chosen(applies: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(applies[:, None], new, old)


def _drawn(log_probabilities: NDArray[np.float64], rng: np.random.Generator) -> int:
    probabilities = np.exp(log_probabilities)
    return int(rng.choice(len(probabilities), p=probabilities / probabilities.sum()))


def tensors_as_text(tensors: dict[str, Tensor]) -> str:
    """Tensors as a safetensors file in base 64."""
    return base64.b64encode(save({name: tensor.contiguous() for name, tensor in tensors.items()})).decode("ascii")


def tensors_from_text(text: str) -> dict[str, Tensor]:
    """What `tensors_as_text` wrote; raises ValueError if it is another text."""
    try:
        tensors: dict[str, Tensor] = load(base64.b64decode(text, validate=True))
    except SafetensorError as error:
        raise ValueError(f"expected tensors, got {error}") from error
    return tensors
