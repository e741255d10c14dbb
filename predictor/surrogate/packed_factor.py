"""A Cholesky factor in half the memory, or in a quarter where rounding does no harm.

Notation: S rows and columns, Q right-hand sides.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LARGE = 512  # rows from which memory is worth a conversion with every product
_EVEN_ENOUGH = 0.03  # smallest by largest diagonal element: rounding then changes standard deviations by 1e-4 at most


class PackedFactor:
    """A lower triangular matrix in half the memory of a square one, the second diagonal block transposed into the empty half
    of the first (rectangular full packed format; Gustavson et al., ACM Transactions on Mathematical Software 37(2), 2010).

    Large, well-conditioned ones are kept in float32. It computes in the numbers of the right-hand side either way."""

    def __init__(self, factor: Tensor) -> None:
        """From the whole square, (S, S), zero above the diagonal."""
        size = len(factor)
        half, rest = size - size // 2, size // 2
        packed = factor.new_empty(size + 1, half, dtype=_kept_as(factor))
        self._first, self._second, self._below = packed[1 : half + 1], packed[:rest, :rest].T, packed[half + 1 :]
        self._first.copy_(factor[:half, :half])
        self._second.triu_(1).add_(factor[half:, half:])
        self._below.copy_(factor[half:, :half])

    def solve(self, right: Tensor) -> tuple[Tensor, Tensor]:  # (S, Q) -> (S / 2, Q), (S / 2, Q)
        """The factor's inverse times `right`, in an upper and a lower half."""
        half = self._first.shape[1]
        upper = torch.linalg.solve_triangular(self._first.to(right.dtype), right[:half], upper=False)
        remaining = torch.addmm(right[half:], self._below.to(right.dtype), upper, alpha=-1.0)
        return upper, torch.linalg.solve_triangular(self._second.to(right.dtype), remaining, upper=False)

    def squared_lengths(self, right: Tensor) -> Tensor:  # (S, Q) -> (Q,)
        """Of the columns of the factor's inverse times `right`."""
        upper, lower = self.solve(right)
        return upper.square_().sum(0) + lower.square_().sum(0)


def _kept_as(factor: Tensor) -> torch.dtype:
    diagonal = factor.diagonal()
    is_even = len(factor) >= _LARGE and bool(diagonal.min() >= _EVEN_ENOUGH * diagonal.max())
    return torch.float32 if is_even else factor.dtype
