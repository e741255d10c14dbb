from __future__ import annotations

import pytest
import torch
from torch.func import functional_call, grad, vmap

from predictor.meta.inner_loop import adaptation_loss
from predictor.surrogate.encoder import relations
from predictor.surrogate.head import GaussianHead
from predictor.surrogate.normalisation import LayerNormalisation


def test_nodes_look_along_edges_both_ways_and_at_those_they_share_a_neighbour_with() -> None:
    adjacency = torch.zeros(1, 4, 4)
    for source, target in ((0, 1), (0, 2), (1, 3), (2, 3)):
        adjacency[0, source, target] = 1.0

    allowed = relations(adjacency, torch.ones(1, 4))[0]

    def lookers(relation: int, node: int) -> set[int]:
        return set(torch.nonzero(allowed[relation, node])[:, 0].tolist()) - {node}

    assert lookers(0, 3) == {1, 2}  # its sources
    assert lookers(1, 0) == {1, 2}  # its targets
    assert lookers(2, 1) == {2}  # with a common target
    assert lookers(3, 2) == {1}  # with a common source
    assert all(bool(allowed[relation, node, node] == 1) for relation in range(4) for node in range(4))


def test_the_loss_has_a_gradient_of_its_gradient(tiny_surrogate, inputs_of, cells) -> None:
    inputs, targets = inputs_of(cells[:10]), torch.linspace(-1, 1, 10)
    parameters = list(tiny_surrogate.parameters())

    mean, log_std, _ = tiny_surrogate(*inputs.tensors())
    loss = adaptation_loss(mean, log_std, targets, torch.ones(10), 0.5)
    first = torch.autograd.grad(loss, parameters, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), parameters)

    assert all(bool(torch.isfinite(g).all()) for g in (*first, *second))
    without = [
        name for (name, _), g in zip(tiny_surrogate.named_parameters(), second, strict=True) if not bool(g.any())
    ]
    assert without == []


def test_many_parameter_sets_run_at_once_and_give_what_each_gives_alone(tiny_surrogate, inputs_of, cells) -> None:
    inputs = inputs_of(cells[:6])
    generator = torch.Generator().manual_seed(0)
    named = {name: value.detach() for name, value in tiny_surrogate.named_parameters()}
    stacked = {name: value + 0.1 * torch.randn((3, *value.shape), generator=generator) for name, value in named.items()}

    def mean(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(tiny_surrogate, parameters, inputs.tensors())[0]

    at_once = vmap(mean)(stacked)

    for number in range(3):
        torch.testing.assert_close(
            at_once[number], mean({name: value[number] for name, value in stacked.items()}), atol=1e-5, rtol=1e-5
        )


def test_a_gradient_reaches_the_features_of_the_nodes(tiny_surrogate, inputs_of, cells) -> None:
    nodes, *rest = inputs_of(cells[:4]).tensors()

    gradient = grad(lambda x: tiny_surrogate(x, *rest)[0].sum())(nodes)

    mask = rest[1]
    assert bool((gradient.abs().sum(-1)[mask > 0] > 0).all())
    assert not gradient[mask == 0].any()


@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_the_spread_stays_within_its_bounds_however_large_the_embedding(size) -> None:
    generator = torch.Generator().manual_seed(0)
    head = GaussianHead(8)

    _, log_std = head(size * torch.randn(50, 8, generator=generator))

    assert bool(((log_std >= -4.0) & (log_std <= 2.0)).all())


@pytest.mark.parametrize("shape", [(4, 6), (4, 5, 6)])
def test_normalisation_equals_pytorchs_and_keeps_its_second_order_gradient_under_vmap(shape) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(3, *shape, dtype=torch.float64, generator=generator)
    layers = torch.nn.Sequential(torch.nn.Linear(6, 6), LayerNormalisation(6)).double()
    pytorchs = torch.nn.Sequential(layers[0], torch.nn.LayerNorm(6).double())
    parameters = {name: value.detach().requires_grad_() for name, value in layers.named_parameters()}

    def loss(own, x):
        return functional_call(layers, own, (x,)).pow(3).mean()

    def after_a_step(own, x):
        gradients = grad(loss)(own, x)
        return loss({name: value - 0.05 * gradients[name] for name, value in own.items()}, x)

    at_once = vmap(after_a_step, (None, 0))(parameters, inputs).sum()
    in_turn = sum(after_a_step(parameters, x) for x in inputs)

    torch.testing.assert_close(layers(inputs), pytorchs(inputs))
    for one, other in zip(
        *(torch.autograd.grad(value, list(parameters.values())) for value in (at_once, in_turn)), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)
