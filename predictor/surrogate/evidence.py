"""How probable hyperparameters of a residual process are after what was observed, and which are the most probable ones.

Notation: S support architectures, K opinions of the mean, V views, R related tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from predictor.surrogate.hyperparameters import JITTER, NUM_SCALES, GPConfig, GPInputs, Hyperparameters, noise_variance

_OVERLOOKED, _LEADING = 0.2, 0.7  # share below which an opinion is given another start, and what it gets there


class Evidence:
    """How probable hyperparameters are after S observations. What does not depend on them is computed once."""

    def __init__(self, support: GPInputs, targets: Tensor, noise_scale: Tensor, known_variance: Tensor) -> None:
        """From a support set whose views are placed."""
        self._noise_scale, self._known_variance = noise_scale, known_variance
        self._targets, self._support = targets, support
        self._contrast = None if support.contrasts is None else support.contrasts @ support.contrasts.T
        self._views = [
            (number, math.sqrt(3.0) * torch.cdist(view, view), 2.0 * view @ view.T)
            for number, view in enumerate(support.views)
            if view.shape[1]
        ]

    def most_probable(self, config: GPConfig) -> Tensor:
        """By gradient descent from the centres of the priors, and from wherever else `_starts` says: the better of what is found."""
        sizes = self._support.means.shape[1], len(self._support.views), self._contrast is not None
        prior, widths = config.prior_means(*sizes), config.prior_widths(*sizes)
        found = [self._descended(start, prior, widths, config.num_fit_steps) for start in self._starts(prior)]
        return min(found, key=lambda one: one[1])[0]

    def _starts(self, prior: Tensor) -> Iterator[Tensor]:
        """The centres of the priors. Where an opinion that counts little beforehand agrees best with what was observed, also with
        that one leading: from far down its share hardly moves."""
        yield prior
        means = self._support.means
        shares = slice(NUM_SCALES, NUM_SCALES + means.shape[1])
        apart = means - means.mean(0)
        agreement = (self._targets - self._targets.mean()) @ apart / apart.norm(dim=0).clamp(min=JITTER)
        best = int(agreement.argmax())
        counts = prior[shares].softmax(0)
        if float(counts[best]) < _OVERLOOKED:
            leading = (1.0 - _LEADING) * counts
            leading[best] += _LEADING
            start = prior.clone()
            start[shares] = leading.log()
            yield start

    def _descended(self, start: Tensor, prior: Tensor, widths: Tensor, num_steps: int) -> tuple[Tensor, float]:
        """The best hyperparameters on the way down from there, and the negative logarithm of how probable they are."""
        raw = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([raw], lr=0.1)
        best, best_loss = prior.clone(), math.inf
        for _ in range(num_steps):
            optimizer.zero_grad()
            loss = self._negative_logarithm(raw)
            if loss is None:
                break
            loss = loss + 0.5 * ((raw - prior) / widths).square().sum()
            if float(loss.detach()) < best_loss:
                best, best_loss = raw.detach().clone(), float(loss.detach())
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return best, best_loss

    def _negative_logarithm(self, raw: Tensor) -> Tensor | None:
        """Of the evidence, up to a constant; None where the covariance is not positive definite to working precision."""
        hyper = Hyperparameters(raw, self._support)
        mean = self._support.means @ hyper.shares
        total = hyper.slope.square() * torch.outer(mean, mean) + hyper.offset.square()
        if hyper.contrast is not None and self._contrast is not None:
            total = total + hyper.contrast.square() * self._contrast
        for number, distance, product in self._views:
            reach = distance / hyper.lengths[number]
            total = total + hyper.weights[number].square() * (1.0 + reach) * torch.exp(-reach)
            total = total + hyper.linear_weights[number].square() * product
        noise = noise_variance(hyper, self._noise_scale, self._known_variance)
        factor, failed = torch.linalg.cholesky_ex(total + torch.diag(noise))
        if int(failed):
            return None
        half = torch.linalg.solve_triangular(factor, (self._targets - mean)[:, None], upper=False)
        evidence: Tensor = 0.5 * half.square().sum() + factor.diagonal().log().sum()
        return evidence
