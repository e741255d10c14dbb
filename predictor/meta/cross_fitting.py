"""The inner loop on a support set, and on parts of it so that every observation has a mean that did not see it.

Notation: S support architectures, P parameter tensors, K steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from predictor.meta.inner_loop import Parameters, inner_loop
from predictor.surrogate.surrogate import SurrogateInputs

MIN_FOR_FOLDS = 4
_MAX_NODE_PAIRS = 2_000_000  # that attention looks at in one inner loop
_FEWEST_FOLDS, _MOST_FOLDS = 4, 10
_MAX_FOLDED = 200  # observations times folds, beyond the fewest folds
_MAX_ADAPTED = 256  # support architectures that the inner loop looks at
_MAX_ASKED_AT_ONCE = 512  # support architectures; of more, no fold is asked about those that it saw
_FARTHEST = 20.0  # standardised units beyond which the surrogate is not believed


def cross_fitted(
    stateless: nn.Module,
    initial: Parameters,
    log_step_sizes: Tensor,  # (K, P)
    inputs: SurrogateInputs,
    targets: Tensor,  # (S,)
    ranking_weight: float,
) -> tuple[dict[str, Tensor], Tensor]:
    """Parameters adapted to everything, and for each observation the mean that was adapted without it: (S,).

    Folds run as one vmap; the last "fold" leaves nothing out. Observations beyond the inner loop's limit are left out of
    every fold, so the mean of the last one is already honest for them.
    """
    device = log_step_sizes.device
    inputs, targets = SurrogateInputs(*(tensor.to(device) for tensor in inputs.tensors())), targets.to(device)
    count, pairs_each = len(targets), inputs.nodes.shape[1] ** 2
    num_folds = _num_folds(count)
    fold = torch.randperm(count, generator=torch.Generator().manual_seed(0)) % max(num_folds, 1)
    weights = torch.ones(num_folds + 1, count, device=device)
    for number in range(num_folds):
        weights[number, fold == number] = 0.0
    looked_at = torch.arange(min(count, _MAX_ADAPTED, max(2 * _MAX_NODE_PAIRS // pairs_each, 1)))
    part = SurrogateInputs(*(tensor[looked_at] for tensor in inputs.tensors()))
    is_large = len(looked_at) * pairs_each > _MAX_NODE_PAIRS // 4

    def one(fold_weights: Tensor) -> dict[str, Tensor]:
        known = targets[looked_at]
        return dict(inner_loop(stateless, initial, log_step_sizes, part, known, fold_weights, ranking_weight))

    def answered(parameters: dict[str, Tensor], rows: Tensor) -> Tensor:
        mean: Tensor = functional_call(stateless, parameters, tuple(tensor[rows] for tensor in inputs.tensors()))[0]
        return believable(mean)

    which = torch.where(torch.arange(count) < len(looked_at), fold, num_folds) if num_folds else torch.zeros_like(fold)
    with torch.no_grad():
        every = _finite_or(initial, vmap(one, chunk_size=1 if is_large else None)(weights[:, looked_at]))
        if is_large or count > _MAX_ASKED_AT_ONCE:
            left_out = torch.empty(count, dtype=targets.dtype)
            for number in range(num_folds + 1):
                rows = (which == number).nonzero()[:, 0]
                left_out[rows] = answered({name: value[number] for name, value in every.items()}, rows.to(device)).cpu()
        else:
            means = vmap(answered, in_dims=(0, None))(every, torch.arange(count, device=device)).cpu()
            left_out = means.gather(0, which[None, :])[0]
    return {name: value[-1].clone() for name, value in every.items()}, left_out


def _num_folds(count: int) -> int:
    """Many where observations are few: each fold leaves out a part that adaptation then misses."""
    if count < MIN_FOR_FOLDS:
        return 0
    return min(max(_MAX_FOLDED // count, _FEWEST_FOLDS), _MOST_FOLDS, count)


def believable(mean: Tensor) -> Tensor:
    """Means in standardised units, where the surrogate was asked about something too strange to answer for: bounded."""
    return mean.nan_to_num().clamp(-_FARTHEST, _FARTHEST)


def _finite_or(initial: Mapping[str, Tensor], adapted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The initial parameters in place of an adaptation that diverged; `adapted` leads with the folds."""
    stayed = torch.stack([value.flatten(1).isfinite().all(1) for value in adapted.values()]).all(0)
    return {
        name: torch.where(stayed.reshape(-1, *[1] * initial[name].dim()), value, initial[name])
        for name, value in adapted.items()
    }
