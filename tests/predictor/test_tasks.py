from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from predictor.errors import InvalidMetricError, InvalidSupportSetError
from predictor.tasks import Metric, Observation, SupportSet, Task, lower_fidelities


@pytest.mark.parametrize(
    ("name", "unit", "family"),
    [
        ("accuracy", "%", "accuracy"),
        ("top1", "percent", "accuracy"),
        ("latency_ms", "ms", "latency"),
        ("energy_mj", "mJ", "energy"),
        ("params", "M", "size"),
        ("throughput", "images/s", "throughput"),
        ("loss_nats", "nats", "loss"),
        ("test_error", "%", "loss"),
        ("train_seconds", "s", "training_time"),
        ("happiness", "smiles", "other"),
    ],
)
def test_a_metrics_name_and_unit_tell_its_family(name, unit, family) -> None:
    assert Metric(name, unit, "maximize").family == family


def test_a_metric_needs_a_name_and_a_direction() -> None:
    with pytest.raises(InvalidMetricError, match="non-empty"):
        Metric("", "%", "maximize")
    with pytest.raises(InvalidMetricError, match="maximize or minimize, got 'up'"):
        Metric("accuracy", "%", "up")  # type: ignore[arg-type]


def test_tasks_that_differ_have_different_names() -> None:
    accuracy, latency = Metric("accuracy", "%", "maximize"), Metric("latency_ms", "ms", "minimize")
    tasks = [
        Task("a", "b", accuracy),
        Task("a", "c", accuracy),
        Task("a", "b", latency),
        Task("a", "b", latency, "raspi4"),
    ]

    assert len({task.name for task in tasks}) == 4


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_observation_must_be_finite(cells, value) -> None:
    with pytest.raises(InvalidSupportSetError, match="finite"):
        Observation(cells[0], value)
    with pytest.raises(InvalidSupportSetError, match="finite"):
        SupportSet((cells[0],), (value,), (1,))


@pytest.mark.parametrize("fidelity", [0.0, -1.0, 1.5, math.nan])
def test_a_fidelity_is_a_share_of_the_full_budget(cells, fidelity) -> None:
    with pytest.raises(InvalidSupportSetError, match="fidelity"):
        Observation(cells[0], 1.0, fidelity=fidelity)


@pytest.mark.parametrize("std_error", [math.nan, math.inf, -math.inf, -0.1])
def test_a_known_error_must_be_finite_and_not_negative(cells, std_error) -> None:
    with pytest.raises(InvalidSupportSetError, match="std_error"):
        Observation(cells[0], 1.0, std_error=std_error)
    with pytest.raises(InvalidSupportSetError, match="std_error"):
        SupportSet((cells[0],), (1.0,), (1,), (std_error,))


def test_known_errors_of_repeats_are_those_of_their_mean_and_unknown_ones_count_as_none(cells) -> None:
    support = SupportSet.of(
        [
            Observation(cells[0], 1.0, seed=0, std_error=0.3),
            Observation(cells[0], 3.0, seed=1, std_error=0.4),
            Observation(cells[1], 5.0, seed=0, std_error=0.6),
            Observation(cells[1], 5.0, seed=1),
            Observation(cells[2], 9.0),
            Observation(cells[3], 9.0, std_error=0.0),
            Observation(cells[4], 9.0, std_error=0.7),
        ]
    )

    found = dict(zip((cell.hash for cell in support.architectures), support.std_errors, strict=True))
    expected = {0: 0.25, 1: 0.3, 2: 0.0, 3: 0.0, 4: 0.7}  # of two: √(0.3² + 0.4²) / 2
    assert found == pytest.approx({cells[place].hash: size for place, size in expected.items()})


def test_known_errors_of_absurd_size_stay_finite_when_they_are_averaged(cells) -> None:
    support = SupportSet.of([Observation(cells[0], 1.0, seed, std_error=1.7e308) for seed in range(4)])

    assert support.std_errors == pytest.approx((0.85e308,))


def test_repeated_measurements_are_averaged_and_low_fidelities_left_out(cells) -> None:
    support = SupportSet.of(
        [
            Observation(cells[0], 1.0, seed=0),
            Observation(cells[1], 5.0),
            Observation(cells[0], 3.0, seed=1),
            Observation(cells[2], 9.0, fidelity=0.5),
        ]
    )

    found = {cell.hash: (value, count) for cell, value, count in zip(
        support.architectures, support.values, support.counts, strict=True
    )}  # fmt: skip
    assert found == {cells[0].hash: (2.0, 2), cells[1].hash: (5.0, 1)}


def test_the_order_in_which_observations_came_does_not_matter(cells) -> None:
    observations = [Observation(cell, float(place)) for place, cell in enumerate(cells[:10])]

    first, second = SupportSet.of(observations), SupportSet.of(reversed(observations))

    assert first == second
    assert first.hash == second.hash


def test_another_value_another_count_or_another_architecture_gives_another_hash(cells) -> None:
    sets = [
        SupportSet((cells[0],), (1.0,), (1,)),
        SupportSet((cells[0],), (1.0 + 1e-12,), (1,)),
        SupportSet((cells[0],), (1.0,), (2,)),
        SupportSet((cells[1],), (1.0,), (1,)),
        SupportSet(),
    ]

    assert len({one.hash for one in sets}) == 5


def test_another_known_error_gives_another_hash(cells) -> None:
    known = [SupportSet((cells[0],), (1.0,), (1,), (std_error,)) for std_error in (0.0, 0.1, 0.2)]

    assert len({one.hash for one in known}) == 3


def test_without_known_errors_a_set_and_its_hash_are_what_they_were_before_errors_could_be_told(cells) -> None:
    untold = SupportSet((cells[0], cells[1]), (1.0, 2.5), (1, 3))

    told_as_none = SupportSet(untold.architectures, untold.values, untold.counts, (0.0, 0.0))

    assert untold == told_as_none
    written = f"{cells[0].hash} 1.0 1\n{cells[1].hash} 2.5 3\n"  # adaptations are stored under it
    assert untold.hash == told_as_none.hash == hashlib.sha256(written.encode()).hexdigest()[:32]


def test_values_must_be_as_many_as_architectures(cells) -> None:
    with pytest.raises(InvalidSupportSetError, match="2 architectures, 1 values"):
        SupportSet((cells[0], cells[1]), (1.0,), (1, 1))
    with pytest.raises(InvalidSupportSetError, match="as many std_errors as architectures, got 1 and 2"):
        SupportSet((cells[0], cells[1]), (1.0, 2.0), (1, 1), (0.1,))


def test_members_can_be_selected_in_any_order(cells) -> None:
    support = SupportSet(tuple(cells[:3]), (1.0, 2.0, 3.0), (1, 2, 3), (0.1, 0.2, 0.3))

    chosen = support.select(np.array([2, 0]))

    assert chosen.values == (3.0, 1.0)
    assert chosen.counts == (3, 1)
    assert chosen.std_errors == (0.3, 0.1)
    assert [cell for cell, _ in chosen] == [cells[2], cells[0]]
    assert len(support.select([])) == 0


def test_every_smaller_budget_is_a_task_of_its_own(cells, space, accuracy_task) -> None:
    observations = [
        Observation(cells[0], 90.0),
        Observation(cells[0], 50.0, fidelity=0.25),
        Observation(cells[1], 40.0, seed=0, fidelity=0.25),
        Observation(cells[1], 44.0, seed=1, fidelity=0.25),
        Observation(cells[2], 70.0, fidelity=0.5, std_error=0.5),
    ]

    quarter, half = lower_fidelities(accuracy_task, space, observations)

    assert dict(zip(quarter.measured.architectures, quarter.measured.values, strict=True)) == {
        cells[0]: 50.0,
        cells[1]: 42.0,
    }
    assert half.measured.values == (70.0,)
    assert half.measured.std_errors == (0.5,)
    assert len({accuracy_task, quarter.task, half.task}) == 3
    assert quarter.task.metric == accuracy_task.metric
    assert lower_fidelities(accuracy_task, space, observations[:1]) == []
