from __future__ import annotations

import numpy as np
import pytest

from predictor.baselines.gaussian_process import DecisionProcess
from predictor.errors import SearchError
from predictor.search.base import DifferentiableForecaster, Outcome, SearchProblem
from predictor.search.constraints import Constraint
from predictor.search.forecasting import AdaptationPace, ForecastTask, LocalForecaster, MeasuredElsewhere, WithRelated
from predictor.search.registry import make_strategy
from predictor.searching import SmoothRelaxation, forecaster_of
from predictor.tasks import MeasuredTask, Metric, Task

LATENCY = Metric("latency", "ms", "minimize")


@pytest.fixture
def problem(space, accuracy_task) -> SearchProblem:
    return SearchProblem(space, (accuracy_task.metric,))


def measured(cells, convolutions, fidelity: float = 1.0) -> list[Outcome]:
    return [Outcome(cell, (convolutions(cell),), fidelity) for cell in cells]


class Counting:
    """Counts adaptations."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._process = DecisionProcess()

    def adapt(self, task, space, support):
        self.sizes.append(len(support))
        return self._process.adapt(task, space, support)


def test_before_anything_is_measured_a_version_forecasts_and_says_so(tiny_meta, problem, accuracy_task, cells) -> None:
    known = forecaster_of(tiny_meta, problem, [accuracy_task])

    (forecast,) = known.predict(cells[:3])

    assert known.is_ready
    assert known.num_observations == 0
    assert np.isfinite(forecast.mean).all()


def test_forecasts_are_those_of_the_version_adapted_to_the_same(
    tiny_meta, problem, accuracy_task, cells, convolutions, support_of
) -> None:
    known = forecaster_of(tiny_meta, problem, [accuracy_task])
    known.tell(measured(cells[:8], convolutions))
    known.tell([Outcome(cells[9], None), Outcome(cells[10], (0.0,), is_forecast=True)])

    (forecast,) = known.predict(cells[20:30])

    from predictor.tasks import Observation, SupportSet

    support = SupportSet.of(Observation(cell, convolutions(cell)) for cell in cells[:8])
    expected = tiny_meta.adapt(accuracy_task, problem.space, support).predict(cells[20:30])
    assert forecast.mean == pytest.approx(expected.mean)
    assert known.num_observations == 8
    assert known.features(cells[20:30]).shape == (10, 16)


def test_it_adapts_again_only_when_it_has_heard_enough(problem, accuracy_task, cells, convolutions) -> None:
    counting = Counting()
    known = LocalForecaster(problem, [ForecastTask(accuracy_task, counting, 5)], pace=AdaptationPace(2, 0.5))
    sizes = []
    for size in range(5, 15):
        known.tell(
            measured(cells[len(sizes) if sizes else 0 : size], convolutions)
            if not sizes
            else measured(cells[size - 1 : size], convolutions)
        )
        known.predict(cells[:1])
        sizes.append(size)

    assert counting.sizes == [5, 8, 12]  # two or more, and half as many again: 5 + 3, 8 + 4


def test_before_it_has_heard_enough_it_is_not_ready(problem, accuracy_task, cells) -> None:
    known = LocalForecaster(problem, [ForecastTask(accuracy_task, DecisionProcess(), 5)])

    assert not known.is_ready
    with pytest.raises(SearchError, match="more observations"):
        known.predict(cells[:1])


def test_as_many_tasks_as_objectives_are_asked_for(problem) -> None:
    with pytest.raises(SearchError, match="a task for each of 1"):
        LocalForecaster(problem, [])


def test_lower_fidelities_are_heard_as_related_tasks(tiny_meta, problem, accuracy_task, cells, convolutions) -> None:
    known, deaf = (forecaster_of(tiny_meta, problem, [accuracy_task]) for _ in range(2))
    known.tell(measured(cells[:40], convolutions, fidelity=0.25))

    (heard,), (plain,) = known.predict(cells[100:160]), deaf.predict(cells[100:160])

    truth = [convolutions(cell) for cell in cells[100:160]]
    assert np.corrcoef(heard.mean, truth)[0, 1] > max(0.5, np.corrcoef(plain.mean, truth)[0, 1])
    assert known.num_observations == 0


def test_related_tasks_are_heard_from_the_beginning(
    tiny_meta, problem, accuracy_task, cells, convolutions, support_of, space
) -> None:
    other = MeasuredTask(
        Task("nasbench201", "elsewhere", accuracy_task.metric), space, support_of(cells[:60], convolutions)
    )
    known = forecaster_of(tiny_meta, problem, [accuracy_task], [other])

    (forecast,) = known.predict(cells[100:160])

    assert np.corrcoef(forecast.mean, [convolutions(cell) for cell in cells[100:160]])[0, 1] > 0.5


def test_feasibility_joins_what_is_stated_forecast_and_measured_elsewhere(
    problem, accuracy_task, cells, convolutions, space, support_of
) -> None:
    process = DecisionProcess()
    nodes = process.adapt(
        Task("nasbench201", "toy", LATENCY), space, support_of(cells[:100], lambda cell: cell.num_nodes)
    )
    limits = [Constraint.parse("accuracy>=62"), MeasuredElsewhere(Constraint.parse("latency<=5.5"), nodes)]
    known = LocalForecaster(problem, [ForecastTask(accuracy_task, process, 2)], limits)
    known.tell(measured(cells[:100], convolutions))

    probable = known.feasibility(cells[200:300])

    holds = np.array([convolutions(cell) >= 62 and cell.num_nodes <= 5.5 for cell in cells[200:300]])
    assert probable[holds].mean() > probable[~holds].mean() + 0.3


def test_a_constraint_on_what_nobody_states_never_holds(problem, accuracy_task, cells) -> None:
    known = LocalForecaster(
        problem, [ForecastTask(accuracy_task, DecisionProcess(), 2)], [Constraint.parse("params<=9")]
    )

    assert known.feasibility(cells[:3]).tolist() == [0.0, 0.0, 0.0]


def test_slopes_of_a_version_are_those_of_small_steps_and_corners_are_forecasts(
    tiny_meta, space, accuracy_task, cells, convolutions, support_of
) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:20], convolutions))
    start, others = cells[50], space.neighbours(cells[50])[:5]
    relaxation = SmoothRelaxation(adapted, start, others)
    weights, step = np.array([0.1, 0.2, 0.05, 0.15, 0.1]), 1e-5

    _, slopes = relaxation(weights)

    for place in range(5):
        ahead, behind = weights.copy(), weights.copy()
        ahead[place] += step
        behind[place] -= step
        numerical = float(relaxation(ahead)[0][0] - relaxation(behind)[0][0]) / (2 * step)
        assert slopes[0, place] == pytest.approx(numerical, rel=1e-3, abs=1e-4)
    for place, other in enumerate(others):
        corner, _ = relaxation(np.eye(5)[place])
        alone, _ = SmoothRelaxation(adapted, other, [start])(np.zeros(1))
        assert corner == pytest.approx(alone, abs=1e-6)


def test_the_middle_of_a_forecast_that_is_followed_lies_in_the_predicted_interval(
    tiny_meta, space, accuracy_task, cells, convolutions, support_of
) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:20], convolutions))
    asked = cells[50:60]
    forecast = adapted.predict(asked)

    found = [float(SmoothRelaxation(adapted, one, [cells[0]])(np.zeros(1))[0][0]) for one in asked]

    assert np.corrcoef(found, forecast.mean)[0, 1] > 0.98
    assert ((forecast.lower <= found) & (found <= forecast.upper)).all()


def test_where_a_predictor_knows_no_slopes_lines_lead_straight_to_its_forecasts(
    problem, accuracy_task, cells, convolutions
) -> None:
    known = LocalForecaster(problem, [ForecastTask(accuracy_task, DecisionProcess(), 2)])
    known.tell(measured(cells[:30], convolutions))

    relaxation = known.relaxation(cells[50], cells[51:54])
    (forecast,) = known.predict(cells[50:54])

    assert isinstance(known, DifferentiableForecaster)
    assert relaxation(np.array([0.0, 1.0, 0.0]))[0] == pytest.approx(forecast.mean[2:3])
    assert relaxation(np.zeros(3))[1][0] == pytest.approx(forecast.mean[1:] - forecast.mean[0])


def test_gradient_search_follows_the_slopes_of_a_version(
    tiny_meta, problem, accuracy_task, cells, convolutions
) -> None:
    known = forecaster_of(tiny_meta, problem, [accuracy_task])
    strategy = make_strategy(
        "gradient", problem, {"num_starts": 1, "num_moves": 4, "num_steps": 2, "acquisition": "mean"}
    )
    outcomes = measured(cells[:30], convolutions)
    for hearer in (known, strategy):
        hearer.tell(outcomes)

    proposals = strategy.ask(2, known)

    best = max(outcomes, key=lambda one: known.predict([one.architecture])[0].mean[0]).architecture
    assert known.predict([proposals[0].architecture])[0].mean[0] > known.predict([best])[0].mean[0]


def test_a_version_with_more_related_tasks_hears_all_of_them(
    tiny_meta, space, accuracy_task, cells, convolutions, support_of
) -> None:
    def other(name: str, sign: float) -> MeasuredTask:
        support = support_of(cells[:60], lambda cell: sign * convolutions(cell))
        return MeasuredTask(Task("nasbench201", name, accuracy_task.metric), space, support)

    first = WithRelated(tiny_meta, accuracy_task, space, [other("a", 1.0)])
    both = first.hearing([other("b", -1.0)])

    from predictor.tasks import SupportSet

    one, two = (each.adapt(accuracy_task, space, SupportSet()).predict(cells[100:140]).mean for each in (first, both))
    truth = [convolutions(cell) for cell in cells[100:140]]
    assert np.corrcoef(one, truth)[0, 1] > np.corrcoef(two, truth)[0, 1]
