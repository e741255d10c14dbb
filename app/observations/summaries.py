"""What repeated measurements of one architecture come to."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for a single measurement."""
    return math.fsum(values) / len(values), statistics.stdev(values) if len(values) > 1 else None
