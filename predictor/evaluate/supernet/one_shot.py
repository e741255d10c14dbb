"""One-shot accuracies as observations: which fidelity they have.

A value with inherited weights says something of what training alone would reach, on another scale and with errors of its own: it is
what a smaller budget said. It is recorded as an observation of the task itself, at a fidelity that is reserved for it, so that
forecasts learn from it as from any lower fidelity (`predictor.tasks.lower_fidelities`) and never mistake it for a training of few
epochs (decision 0033).
"""

from __future__ import annotations

ONE_SHOT_FIDELITY = 2.0**-10
"""The share of the full budget that one-shot values are recorded at: below that of any training, and exact in binary, so that a
task's own scale gives it back."""
