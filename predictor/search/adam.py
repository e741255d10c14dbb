"""Adam (Kingma & Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015) with a state that is tensors alone.

Small on purpose: the one in `torch.optim` imports PyTorch's compiler at its first step, which takes seconds of every process
that asks a controller for a proposal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

_FIRST_DECAY, _SECOND_DECAY = 0.9, 0.999
_EPSILON = 1e-8


class Adam:
    """Moves parameters down their gradients."""

    def __init__(self, parameters: Sequence[nn.Parameter], learning_rate: float) -> None:
        self._parameters = parameters
        self._learning_rate = learning_rate
        self._num_steps = 0
        self._first = [torch.zeros_like(one) for one in parameters]
        self._second = [torch.zeros_like(one) for one in parameters]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step; gradients in the order of the parameters."""
        self._num_steps += 1
        first_scale = 1.0 - _FIRST_DECAY**self._num_steps
        second_scale = 1.0 - _SECOND_DECAY**self._num_steps
        with torch.no_grad():
            for parameter, gradient, first, second in zip(
                self._parameters, gradients, self._first, self._second, strict=True
            ):
                first.lerp_(gradient, 1.0 - _FIRST_DECAY)
                second.mul_(_SECOND_DECAY).addcmul_(gradient, gradient, value=1.0 - _SECOND_DECAY)
                spread = (second / second_scale).sqrt_().add_(_EPSILON)
                parameter.addcdiv_(first / first_scale, spread, value=-self._learning_rate)

    def tensors(self) -> dict[str, Tensor]:
        """What it goes on from."""
        found = {"num_steps": torch.tensor([self._num_steps])}
        for number, (first, second) in enumerate(zip(self._first, self._second, strict=True)):
            found[f"{number}.first"], found[f"{number}.second"] = first, second
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `tensors` returned; raises KeyError or ValueError if it is something else."""
        first = [tensors[f"{number}.first"] for number in range(len(self._parameters))]
        second = [tensors[f"{number}.second"] for number in range(len(self._parameters))]
        for moment, parameter in zip([*first, *second], [*self._parameters, *self._parameters], strict=True):
            if moment.shape != parameter.shape:
                raise ValueError(f"expected moments of shape {tuple(parameter.shape)}, got {tuple(moment.shape)}")
        self._num_steps, self._first, self._second = int(tensors["num_steps"]), first, second


def clipped(gradients: Sequence[Tensor], most: float) -> list[Tensor]:
    """Gradients whose common norm is at most that."""
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    scale = (most / (norm + 1e-6)).clamp(max=1.0)
    return [gradient * scale for gradient in gradients]
