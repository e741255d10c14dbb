"""What several tests ask of forecasts."""

from __future__ import annotations

import numpy as np

from predictor.prediction import Predictions


def assert_sound(predictions: Predictions, count: int) -> None:
    assert len(predictions) == count
    for column in (predictions.mean, predictions.std, predictions.lower, predictions.upper, predictions.ood_score):
        assert column.shape == (count,)
        assert bool(np.isfinite(column).all())
    assert bool((predictions.std > 0).all())
    assert bool((predictions.lower <= predictions.mean).all())
    assert bool((predictions.mean <= predictions.upper).all())
    assert bool(((predictions.ood_score >= 0) & (predictions.ood_score <= 1)).all())


def assert_equal(first: Predictions, second: Predictions) -> None:
    for name in ("mean", "std", "lower", "upper", "ood_score"):
        # the surrogate computes in float32, whose last digit depends on where in memory a tensor happens to lie
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-6, atol=1e-6)
