from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from forecast_checks import assert_equal, assert_sound
from scipy.stats import spearmanr

from predictor.adapted_predictor import AdaptedPredictor, Experience
from predictor.architecture import Architecture, Operation
from predictor.calibration import NORMAL_90
from predictor.checkpoint import from_bytes, to_bytes
from predictor.errors import CheckpointError
from predictor.meta_predictor import MetaPredictor
from predictor.search_spaces.registry import declared_search_space, search_space
from predictor.tasks import Metric, SupportSet, Task

LATENCY = Task("nasbench201", "toy", Metric("latency_ms", "ms", "minimize"), "raspi4")
FRACTION = Task("nasbench201", "toy", Metric("accuracy", "fraction", "maximize"))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 30])
def test_any_number_of_observations_gives_sound_forecasts_in_percent(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions, count
) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:count], convolutions))

    predictions = adapted.predict(cells)

    assert_sound(predictions, len(cells))
    assert float(predictions.lower.min()) >= 0.0
    assert float(predictions.upper.max()) <= 100.0
    assert adapted.num_observations == count
    assert adapted.model_version == tiny_meta.version


@pytest.mark.parametrize("count", [0, 1, 4, 20])
def test_latencies_are_forecast_above_zero(tiny_meta, space, cells, support_of, count) -> None:
    adapted = tiny_meta.adapt(LATENCY, space, support_of(cells[:count], lambda cell: 0.5 + len(cell.operations)))

    predictions = adapted.predict(cells)

    assert_sound(predictions, len(cells))
    assert float(predictions.lower.min()) > 0.0


def test_an_accuracy_told_as_a_fraction_is_forecast_as_a_fraction_from_the_first_question_on(
    tiny_meta, space, cells
) -> None:
    predictions = tiny_meta.adapt(FRACTION, space, SupportSet()).predict(cells)

    assert_sound(predictions, len(cells))
    assert 0.3 < float(predictions.mean.mean()) < 0.95
    assert float(predictions.upper.max()) <= 1.0


def test_more_observations_make_better_forecasts(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    asked, truth = cells[100:], np.array([convolutions(cell) for cell in cells[100:]])
    errors, ranks, widths = [], [], []

    for count in (5, 20, 60):
        predictions = tiny_meta.adapt(accuracy_task, space, support_of(cells[:count], convolutions)).predict(asked)
        errors.append(float(np.mean(np.abs(predictions.mean - truth))))
        ranks.append(float(spearmanr(predictions.mean, truth).statistic))
        widths.append(float(np.mean(predictions.upper - predictions.lower)))

    assert errors[2] < errors[1] < errors[0]
    assert ranks[2] > 0.8
    assert widths[2] < widths[0]


def test_metrics_to_minimise_are_learned_as_well(tiny_meta, space, cells, support_of, convolutions) -> None:
    def seconds(cell: Architecture) -> float:
        return 1.0 + 2.0 ** ((convolutions(cell) - 60.0) / 5.0)

    predictions = tiny_meta.adapt(LATENCY, space, support_of(cells[:60], seconds)).predict(cells[100:])

    truth = [seconds(cell) for cell in cells[100:]]
    assert float(spearmanr(predictions.mean, truth).statistic) > 0.8
    assert np.mean((predictions.lower <= truth) & (truth <= predictions.upper)) > 0.7


@pytest.mark.parametrize("count", [0, 2, 12])
def test_an_adaptation_that_was_stored_answers_the_same(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions, count
) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:count], convolutions))

    restored = tiny_meta.restore(accuracy_task, space, adapted.to_bytes())

    assert_equal(restored.predict(cells), adapted.predict(cells))
    np.testing.assert_allclose(restored.features(cells), adapted.features(cells), rtol=1e-5, atol=1e-6)
    assert restored.num_observations == count
    assert restored.support_hash == adapted.support_hash
    assert restored.to_bytes() == adapted.to_bytes()


def test_an_adaptation_of_another_version_is_refused(tiny_meta, accuracy_task, space) -> None:
    payload = tiny_meta.adapt(accuracy_task, space, SupportSet()).to_bytes()
    other = MetaPredictor(
        tiny_meta.surrogate, tiny_meta.log_step_sizes + 0.1, tiny_meta.default_reference, tiny_meta.manifest
    )

    with pytest.raises(CheckpointError, match=tiny_meta.version):
        other.restore(accuracy_task, space, payload)
    with pytest.raises(CheckpointError):
        tiny_meta.restore(accuracy_task, space, payload[:-10])
    with pytest.raises(CheckpointError):
        tiny_meta.restore(accuracy_task, space, tiny_meta.to_bytes())


def test_the_same_observations_always_give_the_same_forecasts(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    support = support_of(cells[:25], convolutions)
    copy = MetaPredictor.from_bytes(tiny_meta.to_bytes(), tiny_meta.manifest)

    answers = [meta.adapt(accuracy_task, space, support).predict(cells) for meta in (tiny_meta, tiny_meta, copy)]

    assert_equal(answers[0], answers[1])
    assert_equal(answers[0], answers[2])


def test_adapting_and_asking_leave_the_champion_as_it_was(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    before = {name: value.clone() for name, value in tiny_meta.surrogate.state_dict().items()}

    tiny_meta.adapt(accuracy_task, space, support_of(cells[:10], convolutions)).predict(cells)

    for name, value in tiny_meta.surrogate.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_adaptations_may_be_asked_from_many_threads_at_once(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    supports = [support_of(cells[start : start + 10], convolutions) for start in (0, 50, 100)]
    adapted = [tiny_meta.adapt(accuracy_task, space, support) for support in supports]
    expected = [one.predict(cells[:60]).mean for one in adapted]

    def ask(number: int) -> bool:
        if number % 10 == 0:
            again = tiny_meta.adapt(accuracy_task, space, supports[number % 3]).predict(cells[:60]).mean
            return bool(np.array_equal(again, expected[number % 3]))
        return bool(np.array_equal(adapted[number % 3].predict(cells[:60]).mean, expected[number % 3]))

    with ThreadPoolExecutor(6) as pool:
        right = list(pool.map(ask, range(90)))

    assert all(right)


def test_a_batch_is_answered_as_each_of_its_members_alone(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions, monkeypatch
) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:10], convolutions))
    whole = adapted.predict(cells[:40])

    monkeypatch.setattr("predictor.adapted_predictor._MAX_NODES", 60)
    in_pieces = adapted.predict(cells[:40])

    np.testing.assert_allclose(in_pieces.mean, whole.mean, atol=1e-3)
    np.testing.assert_allclose(in_pieces.std, whole.std, rtol=1e-3)
    np.testing.assert_allclose(adapted.features(cells[:40]), adapted.features(cells)[:40], atol=1e-4)


def test_architectures_that_stand_twice_in_a_question_get_the_same_answer(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    predictions = tiny_meta.adapt(accuracy_task, space, support_of(cells[:10], convolutions)).predict([cells[50]] * 3)

    np.testing.assert_allclose(predictions.mean, predictions.mean[0], rtol=1e-5)  # float32 sums
    np.testing.assert_allclose(predictions.std, predictions.std[0], rtol=1e-5)


def test_nothing_asked_is_answered_by_nothing(tiny_meta, accuracy_task, space) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, SupportSet())

    assert len(adapted.predict([])) == 0
    assert adapted.features([]).shape[0] == 0


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 12])
def test_observations_that_are_all_the_same_are_believed(
    tiny_meta, accuracy_task, space, cells, support_of, count
) -> None:
    predictions = tiny_meta.adapt(accuracy_task, space, support_of(cells[:count], lambda _: 50.0)).predict(cells)

    assert_sound(predictions, len(cells))
    assert abs(float(np.median(predictions.mean)) - 50.0) < 10.0


@pytest.mark.parametrize("count", [2, 6])
def test_a_support_set_may_hold_one_architecture_several_times(tiny_meta, accuracy_task, space, cells, count) -> None:
    support = SupportSet((cells[0],) * count, tuple(70.0 + number for number in range(count)), (1,) * count)

    assert_sound(tiny_meta.adapt(accuracy_task, space, support).predict(cells[:20]), 20)


@pytest.mark.parametrize("values", [(1e200, -1e200, 3.0, 1e180, 5.0), (1e-300, 1e-200, 1e-250, 0.0, 1e-100)])
def test_values_of_absurd_size_do_not_break_the_arithmetic(tiny_meta, space, cells, values) -> None:
    task = Task("nasbench201", "toy", Metric("wonder", "units", "maximize"))

    predictions = tiny_meta.adapt(task, space, SupportSet(tuple(cells[:5]), values, (1,) * 5)).predict(cells[:20])

    assert bool(np.isfinite(predictions.mean).all())
    assert bool((predictions.lower <= predictions.upper).all())


def test_more_repeated_measurements_make_an_observation_weigh_more(tiny_meta, accuracy_task, space, cells) -> None:
    values = tuple(70.0 + 3.0 * (number % 2) for number in range(8))

    def gap(count: int) -> float:
        adapted = tiny_meta.adapt(accuracy_task, space, SupportSet(tuple(cells[:8]), values, (count,) * 8))
        return float(np.abs(adapted.predict(cells[:8]).mean - values).mean())

    assert gap(50) < gap(1)


@pytest.fixture(scope="session")
def half_wrong(cells, convolutions) -> Callable[..., SupportSet]:
    """The first cells, every second of them off by 15 % on average, with or without being told so."""

    def build(count: int, is_told: bool) -> SupportSet:
        errors = np.where(np.arange(count) % 2 == 1, 15.0, 0.0)
        values = np.array([convolutions(cell) for cell in cells[:count]])
        values += errors * np.random.default_rng(4).normal(size=count)
        told = tuple(errors.tolist()) if is_told else ()
        return SupportSet(tuple(cells[:count]), tuple(values.tolist()), (1,) * count, told)

    return build


@pytest.mark.parametrize("count", [20, 60])
def test_forecasts_are_better_where_it_is_known_which_observations_are_uncertain(
    tiny_meta, accuracy_task, space, cells, convolutions, half_wrong, count
) -> None:
    asked, truth = cells[100:], np.array([convolutions(cell) for cell in cells[100:]])

    told, blind = (
        tiny_meta.adapt(accuracy_task, space, half_wrong(count, is_told)).predict(asked) for is_told in (True, False)
    )

    assert np.mean((told.mean - truth) ** 2) < 0.7 * np.mean((blind.mean - truth) ** 2)
    assert spearmanr(told.mean, truth).statistic > spearmanr(blind.mean, truth).statistic + 0.05


def test_the_widths_of_intervals_are_judged_by_observations_that_are_not_uncertain(
    tiny_meta, accuracy_task, space, half_wrong, monkeypatch
) -> None:
    judged: list[int] = []

    def counted(errors: torch.Tensor) -> float:
        judged.append(len(errors))
        return 1.0

    monkeypatch.setattr("predictor.adapted_predictor.own_factor", counted)

    for is_told in (True, False):
        tiny_meta.adapt(accuracy_task, space, half_wrong(20, is_told))

    assert judged == [10, 20]


def test_an_error_counts_alike_in_the_unit_of_any_metric(tiny_meta, space, cells, half_wrong) -> None:
    percent = half_wrong(20, is_told=True)
    fraction = SupportSet(
        percent.architectures,
        tuple(value / 100.0 for value in percent.values),
        percent.counts,
        tuple(std_error / 100.0 for std_error in percent.std_errors),
    )
    in_percent = Task("nasbench201", "toy", Metric("accuracy", "%", "maximize"))

    first = tiny_meta.adapt(in_percent, space, percent).predict(cells)
    second = tiny_meta.adapt(FRACTION, space, fraction).predict(cells)

    np.testing.assert_allclose(first.mean, 100.0 * second.mean, atol=0.05)  # the inner loop computes in float32


def test_an_adaptation_that_was_stored_still_knows_the_errors(
    tiny_meta, accuracy_task, space, cells, half_wrong
) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, half_wrong(20, is_told=True))

    restored = tiny_meta.restore(accuracy_task, space, adapted.to_bytes())

    assert_equal(restored.predict(cells), adapted.predict(cells))
    assert restored.to_bytes() == adapted.to_bytes()
    assert int((from_bytes(adapted.to_bytes())["gp.known_variance"] > 0).sum()) == 10


def test_without_known_errors_an_adaptation_is_stored_as_it_was_before_errors_could_be_told(
    tiny_meta, accuracy_task, space, half_wrong
) -> None:
    untold = half_wrong(20, is_told=False)
    told_as_none = SupportSet(untold.architectures, untold.values, untold.counts, (0.0,) * 20)

    first, second = (tiny_meta.adapt(accuracy_task, space, one).to_bytes() for one in (untold, told_as_none))

    assert first == second
    assert {name for name in from_bytes(first) if name.startswith("gp.") and "view" not in name} == {
        "gp.raw", "gp.means", "gp.targets", "gp.noise_scale"
    }  # fmt: skip


def test_a_stored_adaptation_whose_errors_are_of_another_number_is_refused(
    tiny_meta, accuracy_task, space, half_wrong
) -> None:
    tensors = from_bytes(tiny_meta.adapt(accuracy_task, space, half_wrong(20, is_told=True)).to_bytes())

    with pytest.raises(CheckpointError):
        tiny_meta.restore(
            accuracy_task, space, to_bytes({**tensors, "gp.known_variance": tensors["gp.known_variance"][:7]})
        )


@pytest.mark.parametrize("count", [1, 3])
def test_with_too_few_observations_for_the_process_known_errors_change_no_forecast(
    tiny_meta, accuracy_task, space, cells, half_wrong, count
) -> None:
    told, blind = (tiny_meta.adapt(accuracy_task, space, half_wrong(count, is_told)) for is_told in (True, False))

    assert_equal(told.predict(cells), blind.predict(cells))
    assert (told.support_hash == blind.support_hash) == (count == 1)  # the second is the first that is uncertain


@pytest.mark.parametrize("std_error", [1e-300, 1e30, 1e308])
def test_known_errors_of_absurd_size_do_not_break_the_arithmetic(tiny_meta, space, cells, std_error) -> None:
    for task in (LATENCY, FRACTION):
        support = SupportSet(tuple(cells[:5]), (0.1, 0.2, 0.3, 0.4, 0.5), (1,) * 5, (std_error,) * 5)
        assert_sound(tiny_meta.adapt(task, space, support).predict(cells[:20]), 20)


def test_graphs_of_unknown_operations_are_further_out_of_distribution_than_members(
    tiny_meta, accuracy_task, space, cells
) -> None:
    strange = [Operation.of("warp_drive", flux=99), Operation.of("tachyon"), Operation.of("conv", kernel_size=31)]
    nonsense = Architecture.build(strange * 6, [(i, i + 1) for i in range(17)], {"mood": "odd"})
    adapted = tiny_meta.adapt(accuracy_task, space, SupportSet())

    members, outsider = adapted.predict(cells), adapted.predict([nonsense])

    assert float(outsider.ood_score[0]) > 0.5
    assert float(np.quantile(members.ood_score, 0.95)) < 0.3
    assert float(outsider.std[0]) > float(np.median(members.std))


def test_a_support_set_larger_than_the_surrogate_looks_at_is_adapted_to(
    tiny_meta, accuracy_task, space, convolutions
) -> None:
    rng = np.random.default_rng(1)
    many = tuple({cell.hash: cell for cell in (space.sample(rng) for _ in range(2200))}.values())[:1500]
    support = SupportSet(many, tuple(map(convolutions, many)), (1,) * len(many))

    adapted = tiny_meta.adapt(accuracy_task, space, support)

    predictions = adapted.predict(many[:50])
    assert_sound(predictions, 50)
    assert adapted.num_observations == len(many) > 1000
    np.testing.assert_allclose(predictions.mean, support.values[:50], atol=1.0)


def test_the_process_holds_no_more_observations_than_it_can(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions, monkeypatch
) -> None:
    monkeypatch.setattr("predictor.meta_predictor.MAX_OBSERVATIONS", 20)
    support = support_of(cells[:40], convolutions)

    adapted = tiny_meta.adapt(accuracy_task, space, support)

    assert from_bytes(adapted.to_bytes())["gp.targets"].shape == (20,)
    assert adapted.num_observations == 40
    assert adapted.support_hash == support.hash


@pytest.mark.parametrize("step_size", [50.0, 1e30])
def test_an_inner_loop_that_diverges_still_leaves_sound_forecasts(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions, step_size
) -> None:
    wild = MetaPredictor(
        tiny_meta.surrogate,
        torch.full_like(tiny_meta.log_step_sizes, float(np.log(step_size))),
        tiny_meta.default_reference,
        tiny_meta.manifest,
    )

    for count in (3, 12):
        adapted = wild.adapt(accuracy_task, space, support_of(cells[:count], convolutions))
        assert_sound(adapted.predict(cells), len(cells))


OPTIMIZER: dict[str, Any] = {
    "version": 1,
    "decisions": [
        {"name": "depth", "type": "integer", "low": 1, "high": 4},
        {"name": "width", "type": "ordinal", "values": [16, 32, 64], "repeat": "depth"},
        {"name": "op", "type": "categorical", "values": ["conv", "mixer"], "repeat": "depth"},
        {"name": "dropout", "type": "real", "low": 0.0, "high": 0.5},
        {"name": "rate", "type": "real", "low": 0.0001, "high": 0.1, "scale": "log"},
    ],
}


def test_a_declared_space_with_real_decisions_works_end_to_end(tiny_meta) -> None:
    definition = {**OPTIMIZER, "decisions": [*OPTIMIZER["decisions"][:4]]}
    own = declared_search_space("own_space", definition)
    task = Task("own_space", "mine", Metric("score", "points", "maximize"))
    rng = np.random.default_rng(0)
    drawn = [own.sample(rng) for _ in range(100)]
    values = np.array([own.features(one) for one in drawn]) @ np.random.default_rng(1).normal(
        size=len(own.features(drawn[0]))
    )
    support = SupportSet(tuple(drawn[:60]), tuple(map(float, values[:60])), (1,) * 60)

    adapted = tiny_meta.adapt(task, own, support)
    predictions = adapted.predict(drawn[60:])

    assert_sound(predictions, 40)
    assert float(spearmanr(predictions.mean, values[60:]).statistic) > 0.6
    restored = tiny_meta.restore(task, own, adapted.to_bytes())
    assert_equal(restored.predict(drawn[60:]), predictions)


def test_a_space_of_a_single_architecture_can_be_asked_about(tiny_meta) -> None:
    definition = {"version": 1, "decisions": [{"name": "op", "type": "categorical", "values": ["conv"]}]}
    single = declared_search_space("single", definition)
    task = Task("single", "mine", Metric("accuracy", "%", "maximize"))
    only = single.sample(np.random.default_rng(0))

    before = tiny_meta.adapt(task, single, SupportSet()).predict([only])
    after = tiny_meta.adapt(task, single, SupportSet((only,), (42.0,), (3,))).predict([only])

    assert_sound(before, 1)
    assert abs(float(after.mean[0]) - 42.0) < 15.0


@pytest.mark.parametrize("count", [0, 1, 5, 15, 16, 40])
def test_the_open_space_of_graphs_works_with_few_and_with_many_observations(tiny_meta, random_graph, count) -> None:
    graphs, task = search_space("graph"), Task("graph", "mine", Metric("accuracy", "%", "maximize"))
    rng = np.random.default_rng(0)
    drawn = [random_graph(rng, int(rng.integers(2, 12))) for _ in range(60)]
    support = SupportSet(tuple(drawn[:count]), tuple(50.0 + one.num_nodes for one in drawn[:count]), (1,) * count)

    adapted = tiny_meta.adapt(task, graphs, support)

    predictions = adapted.predict(drawn)
    assert_sound(predictions, 60)
    assert_equal(tiny_meta.restore(task, graphs, adapted.to_bytes()).predict(drawn), predictions)
    if count == 40:
        assert float(spearmanr(predictions.mean[40:], [one.num_nodes for one in drawn[40:]]).statistic) > 0.5


def test_one_large_graph_among_small_ones_is_answered(tiny_meta, random_graph) -> None:
    graphs, task = search_space("graph"), Task("graph", "mine", Metric("accuracy", "%", "maximize"))
    long = Architecture.build([Operation.of("conv", kernel_size=3)] * 250, [(i, i + 1) for i in range(249)])
    small = [random_graph(np.random.default_rng(seed), 5) for seed in range(20)]

    adapted = tiny_meta.adapt(task, graphs, SupportSet((*small[:5], long), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (1,) * 6))

    assert_sound(adapted.predict([*small, long, *small]), 41)


def test_widths_learned_offline_multiply_the_intervals(tiny_meta, accuracy_task, space, cells) -> None:
    task = Task("nasbench201", "toy", Metric("wonder", "units", "maximize"))
    wider = MetaPredictor.from_bytes(
        tiny_meta.to_bytes(), {**tiny_meta.manifest, "widths": {"numbers": [0, 100], "factors": [0.5, 0.5]}}
    )
    support = SupportSet(tuple(cells[:3]), (1.0, 2.0, 3.0), (1, 1, 1))

    narrow, plain = (meta.adapt(task, space, support).predict(cells) for meta in (wider, tiny_meta))

    assert bool((narrow.upper - narrow.lower < plain.upper - plain.lower).all())


def test_before_anything_is_measured_intervals_are_as_wide_as_tasks_differ_whatever_widths_were_learned(
    tiny_meta, accuracy_task, space, cells
) -> None:
    narrow = {"widths": {"numbers": [1, 100], "factors": [0.3, 0.3]}}  # learned from tasks of which something was
    told = MetaPredictor.from_bytes(tiny_meta.to_bytes(), {**tiny_meta.manifest, **narrow})

    found, plain = (meta.adapt(accuracy_task, space, SupportSet()).predict(cells) for meta in (told, tiny_meta))

    below = found.mean - found.lower  # the prior's spread of locations is 10, and 100 % is near above
    assert bool((below > NORMAL_90 * 10.0).all())
    assert bool((found.mean - found.lower < NORMAL_90 * 10.0 + 30.0).all())
    np.testing.assert_array_equal(found.lower, plain.lower)


def test_before_anything_is_measured_costs_are_in_the_order_of_their_middles(tiny_meta, space, cells) -> None:
    """However much the spreads of networks differ: a location that is unknown raises all means alike."""
    task = Task("nasbench201", "toy", Metric("latency_ms", "ms", "minimize"), "cpu")
    adapted = tiny_meta.adapt(task, space, SupportSet())
    parameters = {name: value.clone() for name, value in adapted.insides.parameters.items()}
    name = next(name for name in parameters if name.endswith("log_std.weight"))
    parameters[name] *= 100.0
    uneven = AdaptedPredictor(adapted.insides.surroundings, parameters, None, Experience(0, ""))

    found, plain = uneven.predict(cells), adapted.predict(cells)

    spreads = np.exp(uneven.log_std(cells))
    assert spreads.max() > 1.05 * spreads.min()
    np.testing.assert_array_equal(np.argsort(found.mean), np.argsort(plain.mean))
    assert np.ptp(found.upper / found.mean) > 0.05


def test_before_anything_is_measured_intervals_of_what_is_no_network_of_the_space_are_wider_still(
    tiny_meta, accuracy_task, space, cells
) -> None:
    strange = Architecture(tuple(Operation(f"wonder_{place}") for place in range(5)), ((0, 1), (1, 2), (2, 3), (3, 4)))
    predictions = tiny_meta.adapt(accuracy_task, space, SupportSet()).predict([cells[0], strange])

    ordinary, odd = predictions.upper - predictions.lower

    assert predictions.ood_score[1] > predictions.ood_score[0]
    assert odd > 1.5 * ordinary


def test_errors_in_spreads_are_0_at_the_forecast_and_grow_away_from_it(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:10], convolutions))
    predictions = adapted.predict(cells[20:25])

    below, above = (adapted.errors_in_std(cells[20:25], end) for end in (predictions.lower, predictions.upper))

    np.testing.assert_allclose(below, -1.6448536, rtol=1e-6)
    np.testing.assert_allclose(above, 1.6448536, rtol=1e-6)
