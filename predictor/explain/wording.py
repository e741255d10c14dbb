"""Effects in words."""

from __future__ import annotations

from predictor.tasks import Metric


def in_unit(effect: float, metric: Metric) -> str:
    """With its sign and its unit: +1.9 percentage points, -0.31 ms of latency_ms."""
    unit = "percentage points" if metric.unit in ("%", "percent") else f"{metric.unit} of {metric.name}"
    return f"{effect:+.3g} {unit}"


def verdict(effect: float, std_error: float | None, metric: Metric) -> str:
    """Which way it goes, as far as that is clear: twice the standard error."""
    if std_error is None or abs(effect) <= 2.0 * std_error:
        return "not clearly different from"
    return "better than" if effect * metric.sign > 0 else "worse than"
