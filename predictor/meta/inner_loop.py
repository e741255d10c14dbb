"""The inner loop of MAML with torch.func: what serving adapts with, and what batched meta-training differentiates through.

Model-agnostic meta-learning (Finn et al., ICML 2017) with step sizes learned per parameter tensor and step (Li et al.,
"Meta-SGD", 2017; Antoniou et al., "How to train your MAML", ICLR 2019). `learn2learn_loop` does the same with learn2learn;
a test holds the two to the same numbers.

Notation: S observations, K steps, P parameter tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from predictor.surrogate.surrogate import SurrogateInputs

Parameters = Mapping[str, Tensor]

_RANKING_MARGIN = 0.1


@dataclass(frozen=True)
class InnerLoopConfig:
    """How often the inner loop steps, how far at first, and how much ranking counts in its loss."""

    num_steps: int = 4
    initial_step_size: float = 0.02
    ranking_weight: float = 0.5


def initial_log_step_sizes(surrogate: nn.Module, config: InnerLoopConfig) -> Tensor:  # (K, P)
    """Logarithms of the step sizes before anything is learned."""
    num_tensors = len(list(surrogate.parameters()))
    return torch.full((config.num_steps, num_tensors), config.initial_step_size).log()


def gaussian_loss(mean: Tensor, log_std: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the negative log likelihood, less its constant; all (S,)."""
    squared = ((targets - mean) * torch.exp(-log_std)) ** 2
    return (weights * (0.5 * squared + log_std)).sum() / weights.sum().clamp(min=1e-6)


def ranking_loss(mean: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Pairwise hinge: how far pairs are from standing in the right order by a margin; all (S,)."""
    order = torch.sign(targets[:, None] - targets[None, :])  # (S, S)
    pair_weights = weights[:, None] * weights[None, :] * order.abs()
    hinge = torch.relu(_RANKING_MARGIN - order * (mean[:, None] - mean[None, :]))
    return (pair_weights * hinge).sum() / pair_weights.sum().clamp(min=1e-6)


def adaptation_loss(
    mean: Tensor, log_std: Tensor, targets: Tensor, weights: Tensor, ranking_weight: float
) -> Tensor:  # (S,) each -> ()
    """What the inner loop descends and the outer loop is scored by."""
    return gaussian_loss(mean, log_std, targets, weights) + ranking_weight * ranking_loss(mean, targets, weights)


def inner_loop(
    surrogate: nn.Module,
    parameters: Parameters,
    log_step_sizes: Tensor,  # (K, P)
    support: SurrogateInputs,
    targets: Tensor,  # (S,)
    weights: Tensor,  # (S,)
    ranking_weight: float,
) -> Parameters:
    """The parameters after K gradient steps on the support set; differentiable, and fit for vmap over tasks."""

    def loss(current: Parameters) -> Tensor:
        mean, log_std, _ = functional_call(surrogate, dict(current), support.tensors())
        return adaptation_loss(mean, log_std, targets, weights, ranking_weight)

    current = dict(parameters)
    for step_sizes in log_step_sizes.exp():
        gradients = grad(loss)(current)
        current = {
            name: value - step_size * gradients[name]
            for (name, value), step_size in zip(current.items(), step_sizes, strict=True)
        }
    return current
