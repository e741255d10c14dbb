from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import pad

from predictor.search_spaces.fbnet import FBNet
from predictor.search_spaces.nasbench101 import NASBench101
from predictor.surrogate.fast_surrogate import FastSurrogate


def spread_out(surrogate, factor: float):
    """The surrogate's parameters, enlarged, so that attention is far from even."""
    return {name: factor * value.detach() for name, value in surrogate.named_parameters()}


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_it_answers_as_the_surrogate_does_for_graphs_of_all_sizes(tiny_surrogate, inputs_of, cells, factor) -> None:
    rng = np.random.default_rng(0)
    others = [space.sample(rng) for space in (NASBench101(), FBNet()) for _ in range(5)]
    inputs = inputs_of([*cells[:5], *others])
    parameters = spread_out(tiny_surrogate, factor)

    *graphs, context = inputs.tensors()
    answered = FastSurrogate(parameters)(*graphs, context[0])

    with torch.no_grad():
        expected = torch.func.functional_call(tiny_surrogate, parameters, inputs.tensors())
    for own, other in zip(answered, expected, strict=True):
        torch.testing.assert_close(own, other, atol=2e-5, rtol=2e-5)  # float32, sums in another order


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_it_answers_as_the_surrogate_does_for_chains_of_one_length(tiny_surrogate, inputs_of, factor) -> None:
    rng = np.random.default_rng(0)
    inputs = inputs_of([FBNet().sample(rng) for _ in range(6)])
    parameters = spread_out(tiny_surrogate, factor)

    *graphs, context = inputs.tensors()
    answered = FastSurrogate(parameters)(*graphs, context[0])

    with torch.no_grad():
        expected = torch.func.functional_call(tiny_surrogate, parameters, inputs.tensors())
    for own, other in zip(answered, expected, strict=True):
        torch.testing.assert_close(own, other, atol=2e-5, rtol=2e-5)  # float32, sums in another order


def test_padding_changes_no_answer(tiny_surrogate, inputs_of, cells) -> None:
    fast = FastSurrogate(dict(tiny_surrogate.named_parameters()))
    nodes, adjacency, mask, whole, context = inputs_of(cells[:5]).tensors()

    alone = fast(nodes, adjacency, mask, whole, context[0])
    padded = fast(pad(nodes, (0, 0, 0, 9)), pad(adjacency, (0, 9, 0, 9)), pad(mask, (0, 9)), whole, context[0])

    for own, other in zip(padded, alone, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)
