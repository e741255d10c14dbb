from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from predictor.evaluate.supernet.bilevel import (
    Loss,
    TrainingStep,
    difference_product,
    exact_product,
    first_order_gradient,
    unrolled_gradient,
)
from predictor.evaluate.supernet.operations import MIXED
from predictor.evaluate.supernet.parameters import ArchitectureParameters
from predictor.evaluate.supernet.stack import StackConfig, cell_space, seeded_stack
from predictor.search_spaces.registry import search_space


def through_autograd(
    training: Loss, validation: Loss, weights: Sequence[Tensor], architecture: Sequence[Tensor], step: TrainingStep
) -> tuple[Tensor, ...]:
    """The gradient through the unrolled step itself, which keeps its graph."""
    leaves = [one.detach().requires_grad_() for one in weights]
    gradients = torch.autograd.grad(training(leaves, architecture), leaves, create_graph=True)
    return torch.autograd.grad(validation(step.taken(leaves, gradients), architecture), list(architecture))


def test_on_a_quadratic_the_unrolled_gradient_is_the_one_by_hand() -> None:
    # L_train = (w - a)² / 2 and L_val = (w - 3)² / 2, so w' = w - ξ (w - a) and dL_val/da = (w' - 3) ξ
    weight, parameter = (
        torch.tensor([1.0], dtype=torch.float64),
        torch.tensor([2.0], dtype=torch.float64).requires_grad_(),
    )

    (found,) = unrolled_gradient(
        lambda w, a: (w[0] - a[0]).square().sum() / 2,
        lambda w, a: (w[0] - 3.0).square().sum() / 2 + 0.0 * a[0].sum(),
        [weight], [parameter], TrainingStep(rate=0.1),
    )  # fmt: skip

    assert float(found) == pytest.approx((1.1 - 3.0) * 0.1, abs=1e-10)  # central differences are exact on a quadratic


@pytest.mark.parametrize("name", ["nasbench201", "darts"])
def test_on_a_supernet_the_unrolled_gradient_is_that_of_autograd_through_the_step(name) -> None:
    cells = cell_space(search_space(name)).cells
    generator = torch.Generator().manual_seed(0)
    network = seeded_stack(cells, 1, 3, StackConfig(2, 1, 2), MIXED, 0).double()
    parameters = ArchitectureParameters.initial(cells, True, generator)
    architecture = [one.detach().double().requires_grad_() for one in parameters.tensors]
    names, weights = zip(*((name, value.detach()) for name, value in network.named_parameters()), strict=True)
    buffers = [torch.randn(w.shape, generator=generator, dtype=torch.float64) for w in weights]

    def loss(seed: int) -> Loss:
        drawn = torch.Generator().manual_seed(seed)
        images = torch.randn(8, 1, 5, 5, generator=drawn, dtype=torch.float64)
        labels = torch.randint(3, (8,), generator=drawn)

        def of(own: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
            named = dict(zip(names, own, strict=True))
            return functional.cross_entropy(
                functional_call(network, named, (images, parameters.mixtures(others))), labels
            )

        return of

    step = TrainingStep(0.05, 0.9, 1e-3, buffers)
    expected = through_autograd(loss(1), loss(2), weights, architecture, step)
    close = partial(difference_product, difference=1e-6)  # small enough to step over no kink
    found = unrolled_gradient(loss(1), loss(2), weights, architecture, step, close)
    exact = unrolled_gradient(loss(1), loss(2), weights, architecture, step, exact_product)
    plain = first_order_gradient(loss(2), weights, architecture)

    for one, two, other in zip(found, exact, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-10)
        torch.testing.assert_close(two, other, rtol=1e-9, atol=1e-12)
    assert any(not torch.allclose(one, other, rtol=1e-2) for one, other in zip(plain, expected, strict=True))


def test_a_training_step_without_momentum_so_far_begins_it() -> None:
    step = TrainingStep(0.5, momentum=0.9, weight_decay=0.1)

    (moved,) = step.taken([torch.tensor([2.0])], [torch.tensor([1.0])])

    assert float(moved) == pytest.approx(2.0 - 0.5 * (1.0 + 0.1 * 2.0))


@pytest.mark.parametrize("product", [difference_product, exact_product])
def test_along_no_direction_there_is_no_product(product) -> None:
    parameter = torch.ones(2, requires_grad=True)

    (found,) = product(lambda w, a: (w[0] * a[0]).sum(), [torch.ones(2)], [parameter], [torch.zeros(2)])

    assert found.tolist() == [0.0, 0.0]


def test_the_step_that_is_unrolled_is_the_one_that_the_optimiser_takes() -> None:
    weight = torch.tensor([2.0, -1.0], requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.3, momentum=0.9, weight_decay=0.01)
    weight.grad = torch.tensor([0.5, 1.0])
    optimizer.step()
    step = TrainingStep(0.3, 0.9, 0.01, [optimizer.state[weight]["momentum_buffer"].clone()])
    weight.grad = torch.tensor([-1.0, 0.25])

    (foreseen,) = step.taken([weight.detach().clone()], [weight.grad])
    optimizer.step()

    torch.testing.assert_close(foreseen, weight.detach())
