"""Repeated measurements of one architecture become one value and its spread.

Notation: R rows, G groups of rows that measure the same thing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictor.benchmarks.table import Values


def averaged(values: Values, group_of_row: NDArray[np.int64]) -> tuple[Values, Values]:  # (R,), (R,) -> (G,), (G,)
    """Mean of each group's finite values, NaN if it has none, and their sample standard deviation, NaN if fewer than two."""
    num_groups = int(group_of_row.max()) + 1
    finite = np.isfinite(values)
    groups, kept = group_of_row[finite], values[finite]
    counts = np.bincount(groups, minlength=num_groups).astype(np.float64)
    totals = np.bincount(groups, weights=kept, minlength=num_groups)
    means = np.divide(totals, counts, out=np.full(num_groups, np.nan), where=counts > 0)
    squares = np.bincount(groups, weights=np.square(kept - means[groups]), minlength=num_groups)
    variances = np.divide(squares, counts - 1, out=np.full(num_groups, np.nan), where=counts > 1)
    return means, np.sqrt(variances)
