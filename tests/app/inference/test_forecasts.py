"""What the forecaster remembers is what it computed, whether packed one by one or as a whole space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from app.inference import Forecast, Forecaster, ParsedArchitecture, ServedTask, sampled, search_space
from app.inference.proposing import Pools
from predictor import AdaptedPredictor, Architecture, Metric, Predictions, Task

_SPACE = search_space("nasbench201")


class _Predictor:
    """Answers with numbers that depend on the architecture alone, and counts how many it was asked for."""

    model_version = "version"

    def __init__(self) -> None:
        self.num_asked = 0

    def predict(self, architectures: Sequence[Architecture]) -> Predictions:
        self.num_asked += len(architectures)
        mean = np.array([int(one.hash[:12], 16) / 3.0 for one in architectures])
        return Predictions(mean, mean / 7.0, mean - 1.0 / 3.0, mean + 0.1, mean * 0.0)


def _served(predictor: _Predictor, serial: int = 1) -> ServedTask:
    task = Task("nasbench201", "digits", Metric("accuracy", "%", "maximize"))
    adapted = cast("AdaptedPredictor", predictor)
    return ServedTask(1, "digits", 0, task, _SPACE, adapted, 0, None, 0, "version", serial)


def _expected(parsed: ParsedArchitecture) -> Forecast:
    columns = _Predictor().predict([parsed.architecture])
    told = (getattr(columns, name) for name in ("mean", "std", "lower", "upper", "ood_score"))
    return Forecast(*(float(column[0]) for column in (*told, *columns.normal(1.0))))


@pytest.fixture
def forecaster() -> Forecaster:
    return Forecaster()


def test_what_is_remembered_is_exactly_what_was_computed(forecaster: Forecaster) -> None:
    predictor = _Predictor()
    asked = sampled(_SPACE, 20, seed=0)

    first = forecaster.forecast(_served(predictor), asked)
    again = forecaster.forecast(_served(predictor), asked)

    assert first == again == [_expected(one) for one in asked]
    assert predictor.num_asked == len({one.id for one in asked})


def test_another_adaptation_answers_for_itself(forecaster: Forecaster) -> None:
    predictor = _Predictor()
    asked = sampled(_SPACE, 3, seed=0)

    forecaster.forecast(_served(predictor, serial=1), asked)
    forecaster.forecast(_served(predictor, serial=2), asked)

    assert predictor.num_asked == 2 * len(asked)


def test_a_space_forecast_as_a_whole_answers_without_computation(forecaster: Forecaster) -> None:
    predictor = _Predictor()
    served = _served(predictor)
    pool, columns = Pools(forecaster, max_size=200_000).scored(served)
    num_asked = predictor.num_asked
    asked = [*pool.architectures[:3], pool.architectures[-1], pool.architectures[0]]

    together = forecaster.forecast(served, asked)
    alone = [forecaster.known(served, one.genotype) for one in asked]

    assert together == [_expected(one) for one in asked]
    assert alone == [(one, forecast) for one, forecast in zip(asked, together, strict=True)]
    assert columns.std[0] == together[0].std
    assert predictor.num_asked == num_asked


def test_an_architecture_from_outside_the_whole_space_is_computed(forecaster: Forecaster) -> None:
    predictor = _Predictor()
    served = _served(predictor)
    inside, outside = sampled(_SPACE, 2, seed=0)
    forecaster.forecast_whole(served, [inside], {inside.id: 0})

    found = forecaster.forecast(served, [inside, outside])

    assert found == [_expected(inside), _expected(outside)]
    assert predictor.num_asked == 2


def test_nothing_is_known_before_it_was_asked(forecaster: Forecaster) -> None:
    notation: Any = sampled(_SPACE, 1, seed=5)[0].genotype

    assert forecaster.known(_served(_Predictor()), notation) is None
