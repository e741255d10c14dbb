from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from predictor.surrogate.evidence import Evidence
from predictor.surrogate.hyperparameters import GPConfig, GPInputs, Hyperparameters, noise_variance

COLUMNS = (3, 0, 2)  # of views: one takes no part
NUM_MEANS = 3


def seen(rng: np.random.Generator, count: int, num_related: int = 0) -> GPInputs:
    def drawn(columns: int) -> Tensor:
        return torch.from_numpy(rng.normal(size=(count, columns)))

    return GPInputs(drawn(NUM_MEANS), tuple(map(drawn, COLUMNS)), drawn(num_related) if num_related else None)


def measured(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Targets, noise scales, known variances."""
    known = rng.uniform(size=count) * (rng.uniform(size=count) < 0.5)
    scale = 1 / np.sqrt(rng.integers(1, 5, count))
    return torch.from_numpy(rng.normal(size=count)), torch.from_numpy(scale), torch.from_numpy(known)


def some_hyperparameters(rng: np.random.Generator, has_contrasts: bool) -> Tensor:
    centres = GPConfig().prior_means(NUM_MEANS, len(COLUMNS), has_contrasts)
    return centres + torch.from_numpy(rng.normal(size=len(centres)) * 0.3)


def written_plainly(raw: Tensor, support: GPInputs, targets: Tensor, noise_scale: Tensor, known: Tensor) -> Tensor:
    """The same by the density of the normal distribution, through which gradients pass."""
    hyper = Hyperparameters(raw, support)
    mean = support.means @ hyper.shares
    total = hyper.slope**2 * torch.outer(mean, mean) + hyper.offset**2
    if support.contrasts is not None and hyper.contrast is not None:
        total = total + hyper.contrast**2 * support.contrasts @ support.contrasts.T
    for view, weight, length, linear in zip(
        support.views, hyper.weights, hyper.lengths, hyper.linear_weights, strict=True
    ):
        if view.shape[1]:
            apart = (view[:, None] - view[None]).square().sum(-1) + torch.eye(len(view))  # roots have no slope at 0
            reach = math.sqrt(3.0) * apart.sqrt() * (1 - torch.eye(len(view))) / length
            total = total + weight**2 * (1 + reach) * torch.exp(-reach) + 2 * linear**2 * view @ view.T
    total = total + torch.diag(noise_variance(hyper, noise_scale, known))
    density = torch.distributions.MultivariateNormal(mean, total).log_prob(targets)
    return -density - 0.5 * len(targets) * math.log(2 * math.pi)


@pytest.mark.parametrize("num_related", [0, 2])
@pytest.mark.parametrize("count", [1, 2, 30])
def test_evidence_and_its_gradient_are_those_of_a_normal_distribution(count, num_related) -> None:
    rng = np.random.default_rng(count)
    support, observed = seen(rng, count, num_related), measured(rng, count)
    raw = some_hyperparameters(rng, has_contrasts=num_related > 0)

    found = Evidence(support, *observed).negative_logarithm(raw)

    assert found is not None
    expected = written_plainly(raw.requires_grad_(), support, *observed)
    (slope,) = torch.autograd.grad(expected, raw)
    assert found[0] == pytest.approx(float(expected.detach()), abs=1e-9)
    torch.testing.assert_close(found[1], slope, rtol=1e-8, atol=1e-9)


def test_a_covariance_that_is_not_positive_definite_has_no_evidence() -> None:
    rng = np.random.default_rng(0)
    support, (targets, scale, known) = seen(rng, 8), measured(rng, 8)

    assert Evidence(support, targets, scale, known - 100.0).negative_logarithm(some_hyperparameters(rng, False)) is None


def test_the_most_probable_ones_are_more_probable_than_the_centres_of_the_priors() -> None:
    rng = np.random.default_rng(1)
    support, observed = seen(rng, 25, 2), measured(rng, 25)
    evidence, config = Evidence(support, *observed), GPConfig()
    centres = config.prior_means(NUM_MEANS, len(COLUMNS), has_contrasts=True)
    widths = config.prior_widths(NUM_MEANS, len(COLUMNS), has_contrasts=True)

    found = evidence.most_probable(config)

    at_found, at_centres = evidence.negative_logarithm(found), evidence.negative_logarithm(centres)
    assert at_found is not None
    assert at_centres is not None
    off = (found - centres) / widths
    assert at_found[0] + 0.5 * float(off.square().sum()) < at_centres[0] - 1e-3
    assert float((at_found[1] + off / widths).norm()) < 0.1 * float(at_centres[1].norm())
