from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from predictor.architecture import Architecture
from predictor.descriptors import DatasetDescriptor
from predictor.tasks import MeasuredTask, Metric, Task
from predictor.warm_start import TaskAffinity, WarmStart, observed_affinity, task_distances

ACCURACY = Metric("accuracy", "%", "maximize")
DESCRIPTORS = {
    **{
        f"small{n}": DatasetDescriptor.of("image", num_classes=10, num_examples=1_000 + n, resolution=8)
        for n in range(4)
    },
    **{
        f"large{n}": DatasetDescriptor.of("image", num_classes=10, num_examples=1_000_000 + n, resolution=8)
        for n in range(4)
    },
}
Value = Callable[[Architecture], float]


@pytest.fixture(scope="module")
def earlier(space, cells, convolutions, support_of) -> list[MeasuredTask]:
    """On large data sets convolutions are good, on small ones bad."""

    def measured(name: str, number: int) -> MeasuredTask:
        rng, sign = np.random.default_rng(number), 1.0 if name.startswith("large") else -1.0
        noisy: Value = lambda cell: sign * convolutions(cell) + float(rng.normal(0.0, 0.5))  # noqa: E731
        return MeasuredTask(Task(space.name, name, ACCURACY), space, support_of(cells[:120], noisy))

    return [measured(name, number) for number, name in enumerate(DESCRIPTORS) if not name.endswith("3")]


def convolutions_of(proposals: Sequence[Architecture], convolutions: Value) -> float:
    return float(np.mean([convolutions(one) for one in proposals]))


def test_tasks_that_rank_alike_have_an_observed_affinity(earlier) -> None:
    small, other_small, large = earlier[0], earlier[1], earlier[3]

    assert (observed_affinity(small, other_small) or 0.0) > 0.8
    assert observed_affinity(small, large) == 0.0


def test_what_was_measured_on_too_few_shared_architectures_tells_nothing(
    space, cells, convolutions, support_of
) -> None:
    first, second = (
        MeasuredTask(Task(space.name, name, ACCURACY), space, support_of(part, convolutions))
        for name, part in (("small0", cells[:60]), ("small1", cells[50:120]))
    )

    assert observed_affinity(first, second) is None


def test_which_numbers_tell_tasks_apart_is_learned_from_earlier_ones(earlier) -> None:
    affinity = TaskAffinity.learned(earlier, DESCRIPTORS)
    new = Task("nasbench201", "large3", ACCURACY)

    alike = affinity(new, earlier[3].task, DESCRIPTORS)
    unlike = affinity(new, earlier[0].task, DESCRIPTORS)

    assert affinity.num_pairs == 15
    assert alike > 0.8
    assert unlike < 0.2


def test_distances_name_metric_device_and_data_sets_that_nobody_described() -> None:
    first = Task("s", "small0", ACCURACY)

    apart = task_distances(first, Task("s", "unknown", Metric("loss", "", "minimize"), "gpu"), DESCRIPTORS)

    assert apart[-3:].tolist() == [1.0, 1.0, 1.0]
    assert task_distances(first, first, DESCRIPTORS).sum() == 0.0


@pytest.mark.parametrize(("name", "is_large"), [("large3", True), ("small3", False)])
def test_a_task_begins_with_what_was_good_on_tasks_like_it(
    tiny_meta, space, cells, earlier, convolutions, name: str, is_large: bool
) -> None:
    from predictor.search_spaces.listed import ListedSpace

    warm = WarmStart.of(tiny_meta, earlier, DESCRIPTORS)
    unseen = ListedSpace(space, cells[120:])

    proposals = warm.propose(Task(space.name, name, ACCURACY), unseen, 5, np.random.default_rng(0))

    typical = convolutions_of(cells[120:], convolutions)
    assert len({one.hash for one in proposals}) == 5
    assert (convolutions_of(proposals, convolutions) > typical) == is_large


def test_where_no_earlier_task_is_of_the_space_the_zero_shot_forecast_decides(tiny_meta, space, cells) -> None:
    from predictor.search_spaces.listed import ListedSpace
    from predictor.tasks import SupportSet

    task, listed = Task(space.name, "small0", ACCURACY), ListedSpace(space, cells[:60])
    warm = WarmStart.of(tiny_meta, [], DESCRIPTORS)

    scores = warm.scores(task, listed, cells[:60])

    forecast = tiny_meta.adapt(task, listed, SupportSet()).predict(cells[:60]).mean
    assert np.corrcoef(scores, forecast)[0, 1] == pytest.approx(1.0)
