from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from predictor.architecture import Architecture, Operation
from predictor.encoding import ArchitectureEncoder, SpaceReference
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.surrogate.neighbourhoods import neighbourhood_features
from predictor.surrogate.related_tasks import (
    _RIDGES,
    MAX_RELATED,
    MIN_OBSERVATIONS,
    RelatedTasks,
    Views,
    _ridge,
    are_related,
)
from predictor.surrogate.standardisation import Standardisation
from predictor.tasks import MeasuredTask, Metric, SupportSet, Task

ACCURACY = Metric("accuracy", "%", "maximize")
LOSS = Metric("loss", "nats", "minimize")
LATENCY = Metric("latency_ms", "ms", "minimize")
TOLERANCE = 1e-5  # sums over some hundred landmarks in float32, in an order that depends on the size of the batch
CONVOLUTIONS = tuple(Operation.of("conv", kernel_size=size, stride=1) for size in (1, 3))

Measure = Callable[..., MeasuredTask]


@pytest.fixture(scope="module")
def views(space: NASBench201, cells: list[Architecture]) -> Views:
    encoder = ArchitectureEncoder()
    reference = SpaceReference.of(encoder.batch(cells))

    def read(architectures: Sequence[Architecture]) -> tuple[Tensor, ...]:
        batch = encoder.batch(architectures)
        decisions = np.array([space.features(one) for one in architectures], np.float32)
        return reference.standardised(batch.globals), neighbourhood_features(batch), torch.from_numpy(decisions)

    return read


@pytest.fixture(scope="module")
def measure(space: NASBench201) -> Measure:
    """A task on that data set in which these architectures have these values."""

    def build(
        architectures: Sequence[Architecture],
        values: Sequence[float],
        dataset: str = "other",
        metric: Metric = ACCURACY,
    ) -> MeasuredTask:
        support = SupportSet(tuple(architectures), tuple(map(float, values)), (1,) * len(architectures))
        return MeasuredTask(Task(space.name, dataset, metric), space, support)

    return build


def worth(cell: Architecture) -> float:
    """A function of the decisions that is not additive: convolutions, of which larger ones count more, in short cells."""
    points = cell.operations.count(CONVOLUTIONS[0]) + 2.5 * cell.operations.count(CONVOLUTIONS[1])
    return 60.0 + 5.0 * points / (1.0 + 0.1 * len(cell.edges))


def related(tasks: Sequence[MeasuredTask], views: Views) -> RelatedTasks:
    found = RelatedTasks.of(tasks, views)
    assert found is not None
    return found


def noise(count: int, seed: int) -> list[float]:
    return np.random.default_rng(seed).normal(50.0, 10.0, count).tolist()


def foretold(found: RelatedTasks, architectures: Sequence[Architecture], views: Views) -> Tensor:
    """What the related tasks would say had they measured none of them."""
    return replace(found, measured=torch.full_like(found.measured, torch.nan))(architectures, views)


def goodness_of(task: MeasuredTask) -> Tensor:
    scale = Standardisation.warped(task.task, task.measured.targets)
    return torch.from_numpy(scale.forward(task.measured.targets)).float()


def blended(reliability: Tensor, measured: Tensor, guessed: Tensor) -> Tensor:
    return reliability * measured + (1.0 - reliability) * guessed


@pytest.mark.parametrize(
    ("spread", "least", "most"),
    [
        pytest.param(0.0, 0.9, 1.0, id="reliable"),
        pytest.param(3.0, 0.3, 0.9, id="half reliable"),
        pytest.param(300.0, 0.0, 0.1, id="unreliable"),
    ],
)
def test_what_was_measured_counts_as_far_as_the_task_is_reliable(
    views, measure, cells, spread: float, least: float, most: float
) -> None:
    errors = np.random.default_rng(1).normal(0.0, spread, 100)
    task = measure(cells[:100], [worth(cell) + error for cell, error in zip(cells, errors, strict=False)])

    found = related([task], views)
    opinions = found(cells[:100], views)[:, 0]

    measured, guessed = goodness_of(task), foretold(found, cells[:100], views)[:, 0]
    assert least <= float(found.reliability[0]) <= most
    assert float((measured - guessed).abs().max()) > 1e3 * TOLERANCE
    torch.testing.assert_close(opinions, blended(found.reliability, measured, guessed), atol=TOLERANCE, rtol=0)


def test_a_training_that_failed_altogether_is_an_opinion_within_bounds(views, measure, cells) -> None:
    task = measure(cells, [*[worth(cell) for cell in cells[:-1]], -5_000.0])

    found = related([task], views)
    opinions = found(cells, views)

    assert float(goodness_of(task)[-1]) < -5.0
    assert float(found.reliability[0]) > 0.1
    expected = blended(found.reliability, torch.tensor(-5.0), foretold(found, cells[-1:], views)[0])
    torch.testing.assert_close(opinions[-1], expected, atol=TOLERANCE, rtol=0)
    assert float(opinions.abs().max()) <= 5.0


def test_what_was_not_measured_is_foretold(views, measure, cells) -> None:
    truth = [worth(cell) for cell in cells]

    found = related([measure(cells[:150], truth[:150])], views)

    assert float(spearmanr(found(cells[150:], views)[:, 0], truth[150:]).statistic) > 0.95
    assert float(found.reliability[0]) > 0.9


def test_each_task_answers_for_what_it_measured_and_foretells_the_rest(views, measure, cells) -> None:
    truth = np.array([worth(cell) for cell in cells])
    first, second = measure(cells[:100], truth[:100], "first"), measure(cells[60:160], -truth[60:160], "second")

    found = related([first, second], views)
    together, guessed = found(cells[:160], views), foretold(found, cells[:160], views)

    for column, own in enumerate((first, second)):
        by_hash = dict(zip((cell.hash for cell, _ in own.measured), goodness_of(own), strict=True))
        known = torch.tensor([cell.hash in by_hash for cell in cells[:160]])
        measured = torch.stack([by_hash[cell.hash] for cell in cells[:160] if cell.hash in by_hash])
        expected = blended(found.reliability[column], measured, guessed[known, column])
        torch.testing.assert_close(together[known, column], expected, atol=TOLERANCE, rtol=0)
        torch.testing.assert_close(together[~known, column], guessed[~known, column], atol=TOLERANCE, rtol=0)
    assert float(spearmanr(together[100:, 0], truth[100:160]).statistic) > 0.9
    assert float(spearmanr(together[:60, 1], truth[:60]).statistic) < -0.9


def test_a_task_of_noise_is_hardly_listened_to(views, measure, cells) -> None:
    shares = [related([measure(cells[:60], noise(60, seed))], views).share for seed in range(10)]

    assert np.mean(shares) < 0.01  # a seventieth of what counts where everything can be foretold
    assert max(shares) < 0.07


def test_the_share_is_the_square_of_what_is_foretold_of_the_most_reliable_task(views, measure, cells) -> None:
    clear, unclear = measure(cells[:100], [worth(one) for one in cells[:100]], "clear"), measure(cells, noise(300, 3))

    found = related([clear, unclear], views)

    assert found.share == pytest.approx(0.7 * float(found.reliability.max()) ** 2, rel=1e-6)
    assert found.share == pytest.approx(related([clear], views).share, abs=0.02)  # other landmarks, the same task
    assert 0.6 < found.share <= 0.7


def test_tasks_of_another_metric_count_for_less(views, measure, cells) -> None:
    truth = [worth(cell) for cell in cells[:60]]
    same, other = measure(cells[:60], truth, "same"), measure(cells[:60], [-one for one in truth], "other", LOSS)

    plain = related([same, other], views)
    found = RelatedTasks.of([same, other], views, Task("nasbench201", "own", ACCURACY))

    assert found is not None
    expected = plain.reliability.flip(0) * torch.tensor([1.0, 0.1])  # the same metric first; without a task: by name
    torch.testing.assert_close(found.reliability, expected)
    assert torch.equal(found(cells, views), plain(cells, views).flip(1))  # what they say stays the same
    assert found.share == pytest.approx(0.7 * float(expected.max()) ** 2, rel=1e-6)


VALIDATION_ACCURACY = Metric("val_accuracy", "%", "maximize")


@pytest.mark.parametrize(("slope", "counts"), [(1.0, 1.0), (-1.0, 0.1)], ids=["alike", "opposed"])
def test_another_metric_counts_as_far_as_it_went_with_the_asked_one_elsewhere(
    views, measure, cells, slope: float, counts: float
) -> None:
    truth = np.array([worth(cell) for cell in cells[:60]])
    tasks = [
        measure(cells[:60], truth, "elsewhere"),
        measure(cells[:60], slope * truth, "elsewhere", VALIDATION_ACCURACY),
        measure(cells[:60], truth, "third", VALIDATION_ACCURACY),
    ]

    found = RelatedTasks.of(tasks, views, Task("nasbench201", "own", ACCURACY))
    assert found is not None

    same, others = found.reliability[0], found.reliability[1:]
    measured = [float(related([tasks[row]], views).reliability) for row in (1, 2)]
    expected = sorted(counts * one for one in measured)
    assert sorted(others.tolist()) == pytest.approx(expected, abs=0.02)
    assert float(same) > 0.9


def test_many_metrics_of_one_data_set_count_as_one_between_them(views, measure, cells) -> None:
    truth = [worth(cell) for cell in cells[:60]]
    attacked = [Metric(f"accuracy_under_attack_{number}", "%", "maximize") for number in range(4)]
    tasks = [
        measure(cells[:60], truth, "elsewhere"),
        *(measure(cells[:60], truth, "elsewhere", one) for one in attacked),
    ]

    found = RelatedTasks.of(tasks, views, Task("nasbench201", "own", ACCURACY))
    assert found is not None

    squares = found.reliability.square()
    assert float(squares[1:].sum()) == pytest.approx(float(squares[0]), rel=1e-5)


def test_contrasts_are_how_opinions_differ_from_their_mean_so_that_products_are_their_covariance(
    views, measure, cells
) -> None:
    tasks = [measure(cells[:60], noise(60, seed), str(seed)) for seed in range(3)]
    found = replace(related(tasks, views), reliability=torch.ones(3), agreement=torch.ones(3))
    opinions = torch.randn(7, 3, generator=torch.Generator().manual_seed(5))

    contrasts = found.contrasts(opinions)

    torch.testing.assert_close(contrasts @ contrasts.T, torch.cov(opinions), atol=1e-5, rtol=1e-5)


def test_one_related_task_alone_shows_no_way_of_differing(views, measure, cells) -> None:
    found = related([measure(cells[:60], noise(60, 1))], views)

    assert not found.contrasts(torch.randn(5, 1)).any()


@pytest.mark.parametrize(
    ("reliability", "expected"),
    [
        pytest.param([1.0, 1.0], [0.5, 0.5, 2.0], id="both reliable"),
        pytest.param([0.5, 0.5], [0.25, 0.25, 1.0], id="both half reliable"),
        pytest.param([0.8, 0.4], [0.64, 0.08, 1.44], id="one twice as reliable"),
        pytest.param([0.6, 0.0], [0.6, 0.0, 1.2], id="one unreliable"),
        pytest.param([0.0, 0.0], [0.0, 0.0, 0.0], id="none reliable"),
    ],
)
def test_the_mean_weighs_opinions_by_the_square_of_their_reliability_and_shrinks_them_by_it(
    views, measure, cells, reliability: list[float], expected: list[float]
) -> None:
    plain = related([measure(cells[:30], noise(30, seed), str(seed)) for seed in range(2)], views)
    found = replace(plain, reliability=torch.tensor(reliability))

    mean = found.mean(torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]))

    torch.testing.assert_close(mean, torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("reliability", "share"),
    [
        pytest.param([0.0, 0.0], 0.0, id="none reliable"),
        pytest.param([0.1, 0.5], 0.175, id="one half reliable"),
        pytest.param([1.0, 0.5], 0.7, id="one wholly reliable"),
    ],
)
def test_the_share_falls_faster_than_the_reliability(views, measure, cells, reliability, share: float) -> None:
    plain = related([measure(cells[:30], noise(30, seed), str(seed)) for seed in range(2)], views)

    assert replace(plain, reliability=torch.tensor(reliability)).share == pytest.approx(share, rel=1e-6)


def test_tasks_to_minimise_and_to_maximise_point_the_same_way(views, measure, cells) -> None:
    truth = [worth(cell) for cell in cells[:100]]
    up, down = measure(cells[:100], truth, "up"), measure(cells[:100], [-one for one in truth], "down", LOSS)

    opinions = related([up, down], views)(cells, views)

    # equal but for rounding: what is worth most is best in both
    torch.testing.assert_close(opinions[:, 0], opinions[:, 1], atol=1e-4, rtol=0)
    assert float(spearmanr(opinions[:100, 1], truth).statistic) > 0.99


def test_a_task_with_too_few_observations_is_not_asked(views, measure, cells) -> None:
    few = measure(cells[: MIN_OBSERVATIONS - 1], noise(MIN_OBSERVATIONS - 1, 1), "few")
    enough = measure(cells[:MIN_OBSERVATIONS], noise(MIN_OBSERVATIONS, 1), "enough")

    assert RelatedTasks.of([few], views) is None
    assert RelatedTasks.of([], views) is None
    assert related([few, enough], views)(cells[:5], views).shape == (5, 1)


def test_of_many_tasks_those_that_measured_most_are_asked(views, measure, cells) -> None:
    num_tasks = MAX_RELATED + 3
    tasks = [measure(cells[: 20 + number], noise(20 + number, number), str(number)) for number in range(num_tasks)]

    found = related(tasks, views)

    assert found.measured.shape[1] == MAX_RELATED
    assert (~found.measured.isnan()).sum(0).tolist() == [20 + number for number in reversed(range(3, num_tasks))]


def test_a_task_of_the_same_metric_is_asked_before_those_of_others_that_measured_more(views, measure, cells) -> None:
    others = [measure(cells[:40], noise(40, seed), str(seed), LOSS) for seed in range(MAX_RELATED)]
    same = measure(cells[:25], noise(25, 99), "same")

    found = RelatedTasks.of([*others, same], views, Task("nasbench201", "own", ACCURACY))

    assert found is not None
    assert (~found.measured.isnan()).sum(0).tolist() == [25, *[40] * (MAX_RELATED - 1)]
    assert found.closest.tolist() == [1.0, *[0.0] * (MAX_RELATED - 1)]


def test_what_was_taken_off_the_closest_is_heard_unshrunk(views, measure, cells) -> None:
    task = measure(cells[:60], noise(60, 1))
    found = related([task], views)

    opinions = found(cells[:70], views)
    unshrunk = found.unshrunk(cells[:70], opinions)

    torch.testing.assert_close(unshrunk[:60], goodness_of(task).clamp(-5.0, 5.0), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(unshrunk[60:], opinions[60:, 0], atol=TOLERANCE, rtol=0)
    assert float((unshrunk[:60] - opinions[:60, 0]).abs().max()) > 0.1


def test_an_outlier_among_siblings_is_trusted_less(views, measure, cells) -> None:
    values = [worth(cell) for cell in cells[:80]]
    agreeing = [measure(cells[:80], np.add(values, np.array(noise(80, seed)) / 5), str(seed)) for seed in range(2)]
    contrary = measure(cells[:80], [-value for value in values], "contrary")

    found = related([*agreeing, contrary], views)

    assert float(found.agreement[2]) < float(found.agreement[:2].min())
    assert float(found.reliability[2]) > float(found.reliability[:2].max())
    assert found.shares[2 + 2] < min(found.shares[2:4])


@pytest.mark.parametrize(
    ("other", "is_related"),
    [
        pytest.param(Task("nasbench201", "other", ACCURACY), True, id="another data set"),
        pytest.param(Task("nasbench201", "own", LOSS), True, id="another metric of quality"),
        pytest.param(Task("nasbench201", "own", LATENCY), False, id="a cost"),
        pytest.param(
            Task("nasbench201", "own", Metric("throughput", "img_s", "maximize")), False, id="a cost to maximise"
        ),
        pytest.param(Task("nasbench101", "other", ACCURACY), False, id="another search space"),
        pytest.param(Task("nasbench201", "own", ACCURACY), False, id="the task itself"),
    ],
)
def test_quality_is_told_by_quality_in_the_same_search_space(other: Task, is_related: bool) -> None:
    own = Task("nasbench201", "own", ACCURACY)

    assert are_related(own, other) is is_related
    assert are_related(other, own) is is_related


def test_costs_are_told_by_costs() -> None:
    energy = Task("nasbench201", "own", Metric("energy_mj", "mJ", "minimize"), "a phone")

    assert are_related(Task("nasbench201", "own", LATENCY, "a phone"), energy)
    assert are_related(Task("nasbench201", "own", LATENCY, "a phone"), Task("nasbench201", "own", LATENCY, "a board"))


def test_opinions_survive_the_way_through_tensors(views, measure, cells) -> None:
    tasks = [measure(cells[:50], noise(50, 1), "first"), measure(cells[30:90], noise(60, 2), "second")]
    found = related(tasks, views)

    restored = RelatedTasks.from_tensors(found.tensors())

    assert torch.equal(restored(cells, views), found(cells, views))
    assert restored.hashes == found.hashes
    assert restored.share == found.share
    assert not torch.equal(found(cells, views)[:, 0], found(cells, views)[:, 1])


@pytest.mark.parametrize(
    "name", ["landmarks.0", "landmarks.2", "centers.1", "scales", "weights", "reliability", "measured", "hashes"]
)
def test_tensors_that_lack_something_are_refused(views, measure, cells, name: str) -> None:
    tensors = related([measure(cells[:30], noise(30, 1))], views).tensors()
    del tensors[name]

    with pytest.raises(KeyError, match=name):
        RelatedTasks.from_tensors(tensors)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param("hashes", lambda one: one[:-16], id="a hash less"),
        pytest.param("weights", lambda one: one[:-1], id="a landmark less"),
        pytest.param("weights", lambda one: one[:, 0], id="a vector for a matrix"),
        pytest.param("measured", lambda one: torch.cat([one, one], 1), id="values of another task"),
        pytest.param("reliability", lambda one: torch.cat([one, one]), id="a task more"),
    ],
)
def test_tensors_that_do_not_fit_each_other_are_refused(views, measure, cells, name: str, change) -> None:
    tensors = related([measure(cells[:30], noise(30, 1))], views).tensors()

    with pytest.raises(ValueError, match="expected"):
        RelatedTasks.from_tensors(tensors | {name: change(tensors[name])})


def test_cells_that_are_the_same_network_share_a_value(space, views, measure, cells) -> None:
    measured, asked = (
        space.parse(f"|{first}~0|+|none~0|none~1|+|{second}~0|none~1|nor_conv_1x1~2|")
        for first, second in (("none", "nor_conv_3x3"), ("nor_conv_1x1", "nor_conv_3x3"))
    )  # node 1 leads nowhere, whatever comes into it
    assert measured.hash == asked.hash
    rest = [cell for cell in cells[:100] if cell.hash != measured.hash]
    task = measure([measured, *rest], [99.0, *[worth(cell) for cell in rest]])

    found = related([task], views)
    opinions = found([asked, measured], views)[:, 0]

    guessed = foretold(found, [measured], views)[:, 0]
    expected = blended(found.reliability, goodness_of(task)[:1].clamp(max=5.0), guessed)
    assert float(found.reliability[0]) > 0.3
    torch.testing.assert_close(opinions, expected.expand(2), atol=TOLERANCE, rtol=0)


def test_a_network_that_was_measured_in_two_notations_has_the_mean_of_both(views, measure, cells) -> None:
    values = [worth(cell) for cell in cells[:100]]
    twice = measure([*cells[:100], cells[7]], [*values, values[7] + 8.0])

    found = related([twice], views)
    opinions = found([cells[7], cells[8]], views)[:, 0]

    goodness = goodness_of(twice)
    measured = torch.stack([(goodness[7] + goodness[100]) / 2.0, goodness[8]])
    expected = blended(found.reliability, measured, foretold(found, [cells[7], cells[8]], views)[:, 0])
    assert float(found.reliability[0]) > 0.3
    torch.testing.assert_close(opinions, expected, atol=TOLERANCE, rtol=0)


def test_one_architecture_asked_alone_is_answered_as_in_a_batch(views, measure, cells) -> None:
    found = related([measure(cells[:100], [worth(cell) for cell in cells[:100]])], views)

    together = found(cells[80:160], views)
    alone = torch.cat([found([cell], views) for cell in cells[80:160]])

    torch.testing.assert_close(alone, together, atol=TOLERANCE, rtol=0)
    assert float(together.std()) > 1e3 * TOLERANCE


def test_nothing_asked_is_answered_by_nothing(views, measure, cells) -> None:
    assert related([measure(cells[:30], noise(30, 1))], views)([], views).shape == (0, 1)


def test_values_that_are_all_the_same_say_nothing(views, measure, cells) -> None:
    found = related([measure(cells[:30], [50.0] * 30)], views)

    assert found.share == 0.0
    torch.testing.assert_close(found(cells, views), torch.zeros(len(cells), 1))


def test_the_ridge_is_that_of_least_leave_one_out_error_on_average() -> None:
    """Generalised cross-validation, against its definition with an explicit hat matrix."""
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(40, 6))
    targets = inputs @ rng.normal(size=6) + rng.normal(size=40) + 3.0
    centered = targets - targets.mean()
    scores = {}
    for ridge in _RIDGES:
        hat = inputs @ np.linalg.inv(inputs.T @ inputs + ridge * np.eye(6)) @ inputs.T
        free = 1.0 - (np.trace(hat) + 1.0) / 40  # the constant takes a degree of freedom too
        scores[ridge] = np.mean((centered - hat @ centered) ** 2) / free**2
    best = min(scores, key=scores.__getitem__)

    constant, weights, reliability = _ridge(torch.from_numpy(inputs), torch.from_numpy(targets))

    assert float(constant) == pytest.approx(targets.mean())
    expected = np.linalg.solve(inputs.T @ inputs + best * np.eye(6), inputs.T @ centered)
    np.testing.assert_allclose(weights, expected, rtol=1e-9)
    assert float(reliability) == pytest.approx(1.0 - scores[best] / centered.var(), rel=1e-6)
