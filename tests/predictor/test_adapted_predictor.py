"""Adaptations that related tasks have a say in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from forecast_checks import assert_equal

from predictor.adaptation_parts import Parts
from predictor.adapted_predictor import AdaptedPredictor
from predictor.architecture import Architecture
from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.registry import read_all
from predictor.champion import shipped_champion
from predictor.checkpoint import from_bytes, to_bytes
from predictor.errors import CheckpointError
from predictor.meta_predictor import MetaPredictor
from predictor.scoring import kendall_tau
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.registry import search_space
from predictor.surrogate.hyperparameters import GPInputs
from predictor.surrogate.related_tasks import RelatedTasks
from predictor.surrogate.residual_gp import ResidualGP
from predictor.tasks import MeasuredTask, Metric, SupportSet, Task

PERCENT = Metric("accuracy", "%", "maximize")
NUM_SEEDS = 12


def measured(task: Task, space: SearchSpace, architectures: Sequence[Architecture], values) -> MeasuredTask:
    return MeasuredTask(
        task, space, SupportSet(tuple(architectures), tuple(map(float, values)), (1,) * len(architectures))
    )


def opinions_of(meta: MetaPredictor, task: Task, space: SearchSpace, others: Sequence[MeasuredTask]) -> RelatedTasks:
    found = meta.related(task, space, others)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def digits() -> BenchmarkTask:
    """300 cells that were really trained."""
    tasks = read_all(None, max_architectures_per_task=300)
    return next(one for one in tasks if one.task.name == "nasbench201/digits/accuracy")


@pytest.fixture(scope="module")
def after_few_epochs(digits: BenchmarkTask) -> MeasuredTask:
    """What the same cells reached earlier in training, as a task of its own."""
    name = max(digits.fidelities, key=lambda one: digits.fidelity_levels[one])
    task = replace(digits.task, dataset="digits, few epochs")
    return measured(task, digits.space, digits.architectures, digits.fidelities[name])


@pytest.fixture
def elsewhere(accuracy_task, space, cells, convolutions) -> MeasuredTask:
    """A task on another data set, with other values in the same order."""
    return measured(
        replace(accuracy_task, dataset="elsewhere"), space, cells[:80], [2 * convolutions(c) for c in cells[:80]]
    )


@pytest.mark.parametrize(("count", "gain"), [(0, 0.1), (5, 0.08)])
def test_a_related_task_makes_forecasts_of_trained_cells_better(
    tiny_meta, digits, after_few_epochs, count, gain
) -> None:
    related = opinions_of(tiny_meta, digits.task, digits.space, [after_few_epochs])
    taus = []
    for seed in range(NUM_SEEDS):
        order = np.random.default_rng(seed).permutation(len(digits)).tolist()
        known = [digits.architectures[row] for row in order[:count]]
        support = measured(digits.task, digits.space, known, digits.values[order[:count]]).measured
        asked, truth = [digits.architectures[row] for row in order[100:]], digits.values[order[100:]]
        each = [tiny_meta.adapt(digits.task, digits.space, support, one).predict(asked) for one in (None, related)]
        taus.append([kendall_tau(one.mean, truth) for one in each])

    without, with_related = np.mean(taus, axis=0)

    assert with_related > without + gain


@pytest.mark.parametrize(("count", "gain"), [(20, 0.02), (100, 0.003)])
def test_forests_make_forecasts_of_trained_cells_better_where_nothing_related_is_known(digits, count, gain) -> None:
    """By the shipped version, which never saw this data set; over six draws."""
    champion = MetaPredictor.load(shipped_champion())
    taus = []
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(len(digits)).tolist()
        known = [digits.architectures[row] for row in order[:count]]
        support = measured(digits.task, digits.space, known, digits.values[order[:count]]).measured
        asked, truth = [digits.architectures[row] for row in order[100:]], digits.values[order[100:]]
        adapted = [
            champion.adapt(digits.task, digits.space, support, parts=parts) for parts in (Parts(forests=False), Parts())
        ]
        taus.append([kendall_tau(one.predict(asked).mean, truth) for one in adapted])

    without, with_forests = np.mean(taus, axis=0)

    assert with_forests > without + gain


@pytest.mark.parametrize("count", [0, 3, 12])
def test_an_adaptation_with_related_tasks_that_was_stored_answers_the_same(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions, elsewhere, count
) -> None:
    related = opinions_of(tiny_meta, accuracy_task, space, [elsewhere])
    support = support_of(cells[60 : 60 + count], convolutions)
    adapted = tiny_meta.adapt(accuracy_task, space, support, related)

    restored = tiny_meta.restore(accuracy_task, space, adapted.to_bytes())

    assert_equal(restored.predict(cells), adapted.predict(cells))
    assert restored.to_bytes() == adapted.to_bytes()
    alone = tiny_meta.adapt(accuracy_task, space, support).predict(cells)
    assert float(np.abs(restored.predict(cells).mean - alone.mean).max()) > 0.5


def test_a_stored_adaptation_whose_opinions_are_damaged_is_refused(tiny_meta, accuracy_task, space, elsewhere) -> None:
    related = opinions_of(tiny_meta, accuracy_task, space, [elsewhere])
    tensors = from_bytes(tiny_meta.adapt(accuracy_task, space, SupportSet(), related).to_bytes())

    for damaged in (
        {name: value for name, value in tensors.items() if name != "related.hashes"},
        {**tensors, "related.weights": tensors["related.weights"][:-1].clone()},
    ):
        with pytest.raises(CheckpointError, match=tiny_meta.version):
            tiny_meta.restore(accuracy_task, space, to_bytes(damaged))


def test_before_anything_was_observed_the_forecast_lies_between_surrogate_and_opinion_by_the_share(
    tiny_meta, accuracy_task, space, cells, elsewhere
) -> None:
    related = opinions_of(tiny_meta, accuracy_task, space, [elsewhere])
    alone = tiny_meta.adapt(accuracy_task, space, SupportSet())
    adapted = tiny_meta.adapt(accuracy_task, space, SupportSet(), related)
    asked = cells[:40]

    # the prior's location, 70 %, is 0 in standardised units
    spreads = [np.exp(one.log_std(asked)) for one in (alone, adapted)]
    own, blended = (
        -one.errors_in_std(asked, np.full(40, 70.0)) * spread
        for one, spread in zip((alone, adapted), spreads, strict=True)
    )
    opinion = related.mean(related(asked, adapted._around.views)).numpy()
    np.testing.assert_allclose(blended, (1.0 - related.share) * own + related.share * opinion, atol=1e-5)  # float32
    np.testing.assert_allclose(spreads[1], spreads[0])  # opinions move the mean and say nothing of the spread
    assert float(np.abs(blended - own).max()) > 0.1


def test_observations_overrule_an_opinion_that_is_wrong(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    turned = measured(
        replace(accuracy_task, dataset="turned"), space, cells[:80], [-convolutions(c) for c in cells[:80]]
    )
    related = opinions_of(tiny_meta, accuracy_task, space, [turned])
    truth = np.array([convolutions(cell) for cell in cells[150:]])

    before, after = (
        tiny_meta.adapt(accuracy_task, space, support_of(cells[80 : 80 + count], convolutions), related)
        .predict(cells[150:])
        .mean
        for count in (0, 30)
    )

    assert kendall_tau(before, truth) < -0.3
    assert kendall_tau(after, truth) > 0.7


@pytest.mark.parametrize("count", [0, 2, 12])
def test_tasks_without_an_architecture_in_common_work(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions, count
) -> None:
    other = measured(replace(accuracy_task, dataset="other"), space, cells[:50], [convolutions(c) for c in cells[:50]])
    related = opinions_of(tiny_meta, accuracy_task, space, [other])
    support = support_of(cells[100 : 100 + count], convolutions)

    found = tiny_meta.adapt(accuracy_task, space, support, related).predict(cells[200:])

    assert bool(np.isfinite(found.mean).all())
    assert kendall_tau(found.mean, np.array([convolutions(cell) for cell in cells[200:]])) > 0.5


def test_only_related_tasks_with_enough_observations_are_heard(tiny_meta, accuracy_task, space, cells) -> None:
    latency = Metric("latency_ms", "ms", "minimize")
    values = [1.0 + len(cell.operations) for cell in cells]
    unrelated = [
        measured(accuracy_task, space, cells[:50], values[:50]),
        measured(replace(accuracy_task, metric=latency), space, cells[:50], values[:50]),
        measured(replace(accuracy_task, search_space="nasbench101"), space, cells[:50], values[:50]),
        measured(replace(accuracy_task, dataset="few"), space, cells[:19], values[:19]),
    ]

    assert tiny_meta.related(accuracy_task, space, unrelated) is None
    assert tiny_meta.related(accuracy_task, space, []) is None


def test_an_adaptation_without_its_process_is_without_related_tasks_too(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions, elsewhere
) -> None:
    related = opinions_of(tiny_meta, accuracy_task, space, [elsewhere])
    support = support_of(cells[:12], convolutions)

    plain, stripped = (
        tiny_meta.adapt(accuracy_task, space, support, one).without_process().predict(cells) for one in (None, related)
    )

    assert_equal(plain, stripped)


@pytest.fixture(scope="module")
def graphs(random_graph) -> list[Architecture]:
    rng = np.random.default_rng(0)
    drawn = [random_graph(rng, int(rng.integers(2, 12))) for _ in range(160)]
    return list({graph.hash: graph for graph in drawn}.values())[:120]


@pytest.mark.parametrize("count", [0, 3, 20])
def test_in_the_open_space_of_graphs_related_tasks_are_heard(tiny_meta, graphs, count) -> None:
    space, task = search_space("graph"), Task("graph", "mine", PERCENT)
    values = np.array([50.0 + graph.num_nodes for graph in graphs])
    other = measured(Task("graph", "other", PERCENT), space, graphs[:70], values[:70])
    related = opinions_of(tiny_meta, task, space, [other])
    support = measured(task, space, graphs[70 : 70 + count], values[70 : 70 + count]).measured

    adapted = tiny_meta.adapt(task, space, support, related)

    found = adapted.predict(graphs[90:])
    assert kendall_tau(found.mean, values[90:]) > 0.6
    assert_equal(tiny_meta.restore(task, space, adapted.to_bytes()).predict(graphs[90:]), found)


def test_opinions_in_an_open_space_do_not_depend_on_what_the_asking_task_has_observed(tiny_meta, graphs) -> None:
    """The statistics of the process are relative to its own observations there; those of related tasks are not."""
    space, task = search_space("graph"), Task("graph", "mine", PERCENT)
    values = np.random.default_rng(1).normal(50.0, 5.0, len(graphs))
    other = measured(Task("graph", "other", PERCENT), space, graphs[:60], values[:60])
    related = opinions_of(tiny_meta, task, space, [other])

    answers = []
    for count in (0, 5, 30):
        support = measured(task, space, graphs[60 : 60 + count], values[60 : 60 + count]).measured
        around = tiny_meta.adapt(task, space, support, related)._around
        answers.append(related(graphs[90:], around.views))

    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], atol=1e-5, rtol=0)  # float32 sums over the landmarks


def test_related_tasks_that_measured_different_architectures_are_kept_with_the_adaptation(tiny_meta, cells) -> None:
    space = search_space("nasbench201")
    asked = Task(space.name, "asked", PERCENT)
    first = measured(Task(space.name, "first", PERCENT), space, cells[:25], range(25))
    second = measured(Task(space.name, "second", PERCENT), space, cells[15:40], range(25))
    adapted = tiny_meta.adapt(asked, space, SupportSet(), opinions_of(tiny_meta, asked, space, [first, second]))

    restored = tiny_meta.restore(asked, space, adapted.to_bytes())

    assert_equal(restored.predict(cells[:60]), adapted.predict(cells[:60]))


def test_a_large_request_is_answered_in_its_order(tiny_meta, cells, monkeypatch) -> None:
    space = search_space("nasbench201")
    adapted = tiny_meta.adapt(Task(space.name, "asked", PERCENT), space, SupportSet())
    whole = adapted.predict(cells[:60])

    monkeypatch.setattr("predictor.adapted_predictor._MAX_NODES", 40)  # more than ten chunks, side by side
    pieces = adapted.predict(cells[:60])

    np.testing.assert_allclose(pieces.mean, whole.mean, rtol=1e-5)  # float32 in batches of another size


def test_an_adaptation_that_was_kept_before_operations_were_counted_still_answers(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    parts = Parts(forests=False)  # nor were there any
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:12], convolutions), parts=parts)
    process = adapted._process
    fewer = GPInputs(process.support.means, process.support.views[:-1])
    raw = torch.cat([process.raw[:4], process.raw[4:].reshape(3, -1)[:, :-1].flatten()])
    older = AdaptedPredictor(
        adapted._around,
        adapted._parameters,
        ResidualGP(raw, fewer, process.targets, process.noise_scale),
        adapted._experience,
    )

    restored = tiny_meta.restore(accuracy_task, space, older.to_bytes())

    assert_equal(restored.predict(cells), older.predict(cells))
