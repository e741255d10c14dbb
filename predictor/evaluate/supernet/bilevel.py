"""Gradients of architecture parameters in the bilevel problem: min over α of L_val(w*(α), α), w*(α) = argmin L_train(w, α).

Source: Liu, Simonyan & Yang, "DARTS", ICLR 2019, equations 5 to 8. The first-order gradient takes the weights as they are. The
unrolled one takes them after one training step and adds, by the chain rule, what the step itself owes to α:

    ∇α L_val(w', α) − ξ ∇²α,w L_train(w, α) ∇w' L_val(w', α),   w' = w − ξ (momentum · buffer + ∇w L_train(w, α) + decay · w)

The product of the mixed second derivative with a vector is a central difference of two gradients, as in the paper, or exact, by
differentiating the gradient's product with the vector. The difference steps over kinks of ReLU and pooling and over the bends of
batch normalisation: in small networks it may be far off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Tensors = tuple[Tensor, ...]
Loss = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
"""A loss of (weights, architecture parameters)."""

MixedProduct = Callable[[Loss, Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], Tensors]
"""∇²α,w L_train(w, α) · direction, from (L_train, w, α, direction)."""

DIFFERENCE = 0.01
"""ε · ‖∇w' L_val‖ of the central difference: the paper's."""


@dataclass(frozen=True)
class TrainingStep:
    """The step that is unrolled: stochastic gradient descent with momentum. No buffers: momentum has yet to begin."""

    rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    buffers: Sequence[Tensor] = field(default=())

    def taken(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensors:
        """The weights after it."""
        buffers = self.buffers or [torch.zeros_like(one) for one in weights]
        return tuple(
            weight - self.rate * (self.momentum * buffer + gradient + self.weight_decay * weight)
            for weight, gradient, buffer in zip(weights, gradients, buffers, strict=True)
        )


def first_order_gradient(validation: Loss, weights: Sequence[Tensor], architecture: Sequence[Tensor]) -> Tensors:
    """∇α L_val(w, α)."""
    fixed = [one.detach() for one in weights]
    return torch.autograd.grad(validation(fixed, architecture), list(architecture))


def unrolled_gradient(
    training: Loss,
    validation: Loss,
    weights: Sequence[Tensor],
    architecture: Sequence[Tensor],
    step: TrainingStep,
    product: MixedProduct | None = None,
) -> Tensors:
    """The second-order gradient; the product is a central difference unless another way is given."""
    moved = _moved(training, weights, architecture, step)
    of_both = torch.autograd.grad(validation(moved, architecture), [*architecture, *moved])
    direct, direction = of_both[: len(architecture)], of_both[len(architecture) :]
    through_step = (product or difference_product)(training, weights, architecture, direction)
    return tuple(one - step.rate * other for one, other in zip(direct, through_step, strict=True))


def difference_product(
    training: Loss,
    weights: Sequence[Tensor],
    architecture: Sequence[Tensor],
    direction: Sequence[Tensor],
    difference: float = DIFFERENCE,
) -> Tensors:
    """∇²α,w L_train(w, α) · direction, by central difference along the direction; nothing where the direction is nothing."""
    length = float(torch.stack([one.square().sum() for one in direction]).sum().sqrt())
    if length == 0.0:
        return tuple(torch.zeros_like(one) for one in architecture)
    epsilon = difference / length
    ahead, behind = (
        torch.autograd.grad(
            training([w.detach() + sign * epsilon * d for w, d in zip(weights, direction, strict=True)], architecture),
            list(architecture),
        )
        for sign in (1.0, -1.0)
    )
    return tuple((one - other) / (2.0 * epsilon) for one, other in zip(ahead, behind, strict=True))


def exact_product(
    training: Loss, weights: Sequence[Tensor], architecture: Sequence[Tensor], direction: Sequence[Tensor]
) -> Tensors:
    """∇²α,w L_train(w, α) · direction, as the gradient in α of the directional derivative in w."""
    leaves = [one.detach().requires_grad_() for one in weights]
    gradients = torch.autograd.grad(training(leaves, architecture), leaves, create_graph=True)
    along = torch.stack([(one * other).sum() for one, other in zip(gradients, direction, strict=True)]).sum()
    return torch.autograd.grad(along, list(architecture), materialize_grads=True)


def _moved(
    training: Loss, weights: Sequence[Tensor], architecture: Sequence[Tensor], step: TrainingStep
) -> list[Tensor]:
    """w', as leaves."""
    leaves = [one.detach().requires_grad_() for one in weights]
    gradients = torch.autograd.grad(training(leaves, [one.detach() for one in architecture]), leaves)
    with torch.no_grad():
        return [one.requires_grad_() for one in step.taken(leaves, gradients)]
