"""How probable hyperparameters of a residual process are after what was observed, and which are the most probable ones.

Gradients are written out (Rasmussen & Williams, "Gaussian Processes for Machine Learning", 2006, equation 5.9): that is three to
five times as fast as having them derived, which keeps every matrix of every view.

Notation: S support architectures, P unordered pairs of them (an architecture with itself included), K
opinions of the mean, V views, R related tasks.
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
        self._rows, self._columns = torch.tril_indices(len(targets), len(targets))  # (P,) each
        self._times = torch.where(self._rows == self._columns, 1.0, 2.0).double()  # (P,) that the pair is in a matrix
        self._used = torch.tensor([view.shape[1] > 0 for view in support.views], dtype=torch.bool)  # V
        views = [view for view in support.views if view.shape[1]]
        self._distances = self._of_pairs([math.sqrt(3.0) * torch.cdist(view, view) for view in views])
        contrasts = [] if support.contrasts is None else [support.contrasts @ support.contrasts.T]
        self._products = self._of_pairs([*(2.0 * view @ view.T for view in views), *contrasts])

    def _of_pairs(self, matrices: list[Tensor]) -> Tensor:  # of (S, S) -> (…, P)
        kept = torch.empty(len(matrices), len(self._rows), dtype=torch.float64)
        for number, matrix in enumerate(matrices):
            kept[number] = matrix[self._rows, self._columns]
        return kept

    def most_probable(self, config: GPConfig) -> Tensor:
        """By gradient descent from the centres of the priors, and from wherever else `_starts` says: the better of what is found."""
        sizes = self._support.means.shape[1], len(self._support.views), self._support.contrasts is not None
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
        raw = start.clone()
        optimizer = torch.optim.Adam([raw], lr=0.1)
        best, best_loss = prior.clone(), math.inf
        for _ in range(num_steps):
            found = self.negative_logarithm(raw)
            if found is None:
                break
            off = (raw - prior) / widths
            loss = found[0] + 0.5 * float(off.square().sum())
            if loss < best_loss:
                best, best_loss = raw.clone(), loss
            raw.grad = found[1] + off / widths
            optimizer.step()
        return best, best_loss

    def negative_logarithm(self, raw: Tensor) -> tuple[float, Tensor] | None:
        """Of the evidence, up to a constant, and its gradient; None where the covariance is not positive definite to working
        precision."""
        hyper, means = Hyperparameters(raw, self._support), self._support.means
        mean = means @ hyper.shares
        scaled = self._distances / hyper.lengths[self._used, None]  # (V, P)
        decayed = scaled.neg().exp_()
        alike = torch.addcmul(decayed, scaled, decayed)
        weights, linear = hyper.weights[self._used].square(), self._linear(hyper)
        covariance = self._matrix(weights @ alike + linear @ self._products).add_(hyper.offset.square())
        covariance.addr_(mean, mean, alpha=float(hyper.slope.square()))
        covariance.diagonal().add_(noise_variance(hyper, self._noise_scale, self._known_variance))
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if int(failed):
            return None
        residual = self._targets - mean
        explained = torch.cholesky_solve(residual[:, None], factor)[:, 0]
        value = 0.5 * float(residual @ explained) + float(factor.diagonal().log().sum())
        slack = (
            torch.cholesky_inverse(factor).addr_(explained, explained, alpha=-1.0).mul_(0.5)
        )  # by covariances: (S, S)
        pairs = slack[self._rows, self._columns] * self._times
        of_mean = slack @ mean
        of_shares = means.T @ (2.0 * hyper.slope.square() * of_mean - explained)
        of_noise = (slack.diagonal() * self._noise_scale.square()).sum()
        of_products = 2.0 * linear * (self._products @ pairs)
        scales = torch.stack((mean @ of_mean, slack.sum(), of_noise)) * 2.0 * raw[:NUM_SCALES].mul(2.0).exp()
        per_view = torch.zeros(3, len(self._used), dtype=torch.float64)
        per_view[0, self._used] = 2.0 * weights * (alike @ pairs)
        per_view[1, self._used] = weights * (scaled.square_().mul_(decayed) @ pairs)
        per_view[2, self._used] = of_products[: len(weights)]
        shares = hyper.shares * (of_shares - hyper.shares @ of_shares)
        return value, torch.cat([scales, shares, per_view.flatten(), of_products[len(weights) :]])

    def _linear(self, hyper: Hyperparameters) -> Tensor:  # of products
        linear = hyper.linear_weights[self._used].square()
        return linear if hyper.contrast is None else torch.cat([linear, hyper.contrast.square()[None]])

    def _matrix(self, pairs: Tensor) -> Tensor:  # (P,) -> (S, S)
        matrix = torch.empty(len(self._targets), len(self._targets), dtype=torch.float64)
        matrix[self._rows, self._columns] = pairs
        matrix[self._columns, self._rows] = pairs
        return matrix
