"""What is equal is computed once: thousands of nodes in a batch are of a few hundred kinds.

Notation: M rows, K different ones, F columns.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

_FEW = 256  # rows, for which it does not pay


def distinct_rows(x: Tensor) -> tuple[Tensor, Tensor]:  # (M, F) -> (K, F), (M,)
    """The different rows, and for every row its place among them. All rows, if there are few or they look alike by chance."""
    if len(x) >= _FEW:
        found, places = torch.unique(x @ _direction(x.shape[1]).to(x), return_inverse=True)
        first = torch.empty(len(found), dtype=torch.long, device=x.device)
        first[places] = torch.arange(len(x), device=x.device)  # whichever of them: they are equal
        rows = x.index_select(0, first)
        if torch.equal(rows.index_select(0, places), x):
            return rows, places
    return x, torch.arange(len(x), device=x.device)


@cache
def _direction(size: int) -> Tensor:  # (F,) on which rows that differ lie apart
    return torch.from_numpy(np.random.default_rng(size).normal(size=size)).float()
