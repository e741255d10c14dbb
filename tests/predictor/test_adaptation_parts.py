"""What an adaptation is made of: each part left out, the universal mean, forests, and how much room relatives leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from forecast_checks import assert_equal
from numpy.typing import NDArray

from predictor.adaptation_parts import Parts
from predictor.architecture import Architecture
from predictor.checkpoint import from_bytes, to_bytes
from predictor.encoding import NUM_GLOBAL_FEATURES
from predictor.errors import CheckpointError
from predictor.meta_predictor import MetaPredictor
from predictor.meta_training import with_manifest
from predictor.prediction import Predictions
from predictor.search_spaces.nasbench201 import NASBench201
from predictor.surrogate.hyperparameters import GPConfig, GPInputs
from predictor.surrogate.related_tasks import RelatedTasks
from predictor.surrogate.residual_gp import ResidualGP
from predictor.tasks import MeasuredTask, Metric, SupportSet, Task

LATENCY = Task("nasbench201", "toy", Metric("latency_ms", "ms", "minimize"), "raspi4")


class UndecidedCells(NASBench201):
    """The same cells as if they did not come from decisions."""

    def features(self, architecture: Architecture) -> tuple[float, ...]:
        return ()

    def features_of_all(self, architectures: Sequence[Architecture]) -> NDArray[np.float32]:
        return np.zeros((len(architectures), 0), np.float32)


def test_without_the_inner_loop_forecasts_are_those_after_steps_of_no_length(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    support = support_of(cells[:20], convolutions)
    still = torch.full_like(tiny_meta.log_step_sizes, -torch.inf)
    motionless = MetaPredictor(tiny_meta.surrogate, still, tiny_meta.default_reference, tiny_meta.manifest)

    without = tiny_meta.adapt(accuracy_task, space, support, parts=Parts(inner_loop=False))

    assert_equal(without.predict(cells), motionless.adapt(accuracy_task, space, support).predict(cells))
    adapted = tiny_meta.adapt(accuracy_task, space, support)
    assert not np.allclose(without.features(cells), adapted.features(cells))


def test_without_decisions_the_process_answers_as_in_a_space_that_has_none(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    support = support_of(cells[:20], convolutions)

    def forecasts(of: NASBench201, parts: Parts) -> Predictions:
        # forests try columns at random: of other columns others
        return tiny_meta.adapt(accuracy_task, of, support, parts=replace(parts, forests=False)).predict(cells)

    without = forecasts(space, Parts(decisions=False))

    assert_equal(without, forecasts(UndecidedCells(), Parts()))
    assert not np.allclose(without.mean, forecasts(space, Parts()).mean)


def test_without_graph_statistics_the_surrogate_is_the_same_and_the_process_is_not(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    support = support_of(cells[:20], convolutions)
    whole = tiny_meta.adapt(accuracy_task, space, support)

    without = tiny_meta.adapt(accuracy_task, space, support, parts=Parts(graph_statistics=False))

    assert_equal(without.without_process().predict(cells), whole.without_process().predict(cells))
    assert not np.allclose(without.predict(cells).mean, whole.predict(cells).mean)


def test_an_adaptation_without_a_part_is_restored_without_it(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    parts = Parts(decisions=False, graph_statistics=False)
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:20], convolutions), parts=parts)

    restored = tiny_meta.restore(accuracy_task, space, adapted.to_bytes())

    assert_equal(restored.predict(cells), adapted.predict(cells))


def test_before_anything_is_measured_all_opinions_have_their_share(universal_meta, accuracy_task, space, cells) -> None:
    whole = universal_meta.adapt(accuracy_task, space, SupportSet())
    alone = universal_meta.adapt(accuracy_task, space, SupportSet(), parts=Parts(universal_mean=False))

    around = whole.insides.surroundings
    said = around.universal_opinions(universal_meta.encoder.batch(cells)).double().numpy()
    of_surrogate, *of_universal = around.own_shares
    std = np.exp(whole.log_std(cells))
    center, own = (
        around.scale.forward(np.zeros(len(cells))) - one.errors_in_std(cells, np.zeros(len(cells))) * std
        for one in (whole, alone)
    )
    assert of_universal == pytest.approx([0.2, 0.6])  # two spaces were learned from
    assert np.allclose(center, of_surrogate * own + said @ of_universal, atol=1e-4)
    assert said.std(axis=0).min() > 0.1
    assert_equal(whole.without_process().predict(cells), alone.without_process().predict(cells))


def test_the_universal_mean_helps_where_little_was_measured(
    universal_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    support, asked = support_of(cells[:5], convolutions), cells[5:]
    truth = [convolutions(cell) for cell in asked]

    whole = universal_meta.adapt(accuracy_task, space, support).predict(asked).mean
    without = universal_meta.adapt(accuracy_task, space, support, parts=Parts(universal_mean=False)).predict(asked).mean

    assert np.corrcoef(whole, truth)[0, 1] > np.corrcoef(without, truth)[0, 1] + 0.05


def test_of_a_metric_that_it_did_not_learn_the_universal_mean_says_nothing(
    universal_meta, tiny_meta, space, cells
) -> None:
    task = Task("nasbench201", "toy", Metric("latency_ms", "ms", "minimize"))

    assert universal_meta.adapt(task, space, SupportSet()).insides.surroundings.universal is None
    assert np.allclose(
        universal_meta.adapt(task, space, SupportSet()).predict(cells).mean,
        tiny_meta.adapt(task, space, SupportSet()).without_process().predict(cells).mean,
        rtol=0.2,
    )


@pytest.mark.parametrize("count", [0, 3, 20])
@pytest.mark.parametrize("parts", [Parts(), Parts(universal_mean=False)])
def test_an_adaptation_with_a_universal_mean_is_restored(
    universal_meta, accuracy_task, space, cells, support_of, convolutions, count, parts
) -> None:
    again = MetaPredictor.from_bytes(universal_meta.to_bytes(), universal_meta.manifest)
    adapted = universal_meta.adapt(accuracy_task, space, support_of(cells[:count], convolutions), parts=parts)

    restored = again.restore(accuracy_task, space, adapted.to_bytes())

    assert again.version == universal_meta.version
    assert_equal(restored.predict(cells), adapted.predict(cells))


@pytest.mark.parametrize("count", [9, 10])
def test_forests_are_grown_from_ten_observations_on(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions, count
) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:count], convolutions))

    assert (adapted.insides.forests is not None) == (count >= 10)
    assert adapted.without_process().insides.forests is None


def test_where_costs_are_forecast_no_forest_is_grown(tiny_meta, space, cells, support_of, convolutions) -> None:
    assert tiny_meta.adapt(LATENCY, space, support_of(cells[:30], convolutions)).insides.forests is None


@pytest.mark.parametrize("noise", [0.0, 10.0])
def test_beside_related_tasks_a_forests_opinion_has_its_share_of_what_is_left_to_the_task_itself(
    universal_meta, accuracy_task, space, cells, support_of, convolutions, related_of, configs_seen, noise
) -> None:
    related, support = related_of(accuracy_task, noise), support_of(cells[:20], convolutions)

    adapted = universal_meta.adapt(accuracy_task, space, support, related)

    assert adapted.insides.forests is not None
    (config,) = configs_seen
    num_means = adapted.insides.process.support.means.shape[1]
    assert num_means == len(config.shares) == len(config.log_widths_of_shares)
    assert sum(config.shares) == pytest.approx(1.0)
    assert config.shares[-1] == pytest.approx(0.25 * (1.0 - related.share))
    assert config.log_widths_of_shares == (1.5,) * (num_means - 1) + (0.4,)
    opinion = adapted.said_by_forests(cells[30:40])[:, 0]
    torch.testing.assert_close(adapted.gp_inputs(cells[30:40]).means[:, -1], opinion)


@pytest.mark.parametrize("is_better_alone", [False, True])
def test_whether_related_tasks_are_heard_is_told_before_forests_are_grown(
    universal_meta, accuracy_task, space, cells, support_of, convolutions, related_of, monkeypatch, is_better_alone
) -> None:
    judged = []

    def density(process: ResidualGP) -> float:
        judged.append(process.support.means.shape[1])
        return float((process.support.contrasts is None) == is_better_alone)

    monkeypatch.setattr(ResidualGP, "leave_one_out_log_density", property(density))
    related, support = related_of(accuracy_task, 0.0), support_of(cells[:80], convolutions)

    adapted = universal_meta.adapt(accuracy_task, space, support, related)

    assert judged == [3, 3]  # the surrogate, one relative twice; the surrogate, the universal mean's two
    insides = adapted.insides
    assert insides.forests is not None
    assert insides.process.support.means.shape[1] == 4
    assert (insides.surroundings.related is None) == is_better_alone
    restored = universal_meta.restore(accuracy_task, space, adapted.to_bytes())
    assert_equal(restored.predict(cells), adapted.predict(cells))


@pytest.mark.parametrize("of", ["accuracy", "latency"])
def test_of_many_observations_some_tell_whether_related_tasks_are_heard_and_all_are_learned_from(
    universal_meta, accuracy_task, space, cells, support_of, convolutions, related_of, monkeypatch, of
) -> None:
    judged = []

    def density(process: ResidualGP) -> float:
        judged.append(len(process.targets))
        return 0.0

    monkeypatch.setattr(ResidualGP, "leave_one_out_log_density", property(density))
    task = accuracy_task if of == "accuracy" else LATENCY
    support = support_of(cells[:220], convolutions)

    adapted = universal_meta.adapt(task, space, support, related_of(task, 0.0))

    assert judged == [200, 200]
    assert len(adapted.insides.process.targets) == len(support) == 220


def test_forests_read_no_part_that_is_left_out(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    support = support_of(cells[:60], convolutions)

    asked_of = {}
    for parts in (Parts(), Parts(decisions=False), Parts(graph_statistics=False)):
        forests = tiny_meta.adapt(accuracy_task, space, support, parts=parts).insides.forests
        assert forests is not None
        nodes = [forest.nodes.flatten(0, 1) for forest in (forests.opinion, forests.correction)]
        asked_of[parts] = {int(row[0]) for forest in nodes for row in forest[forest[:, 2] != forest[:, 3]]}

    statistics = set(range(NUM_GLOBAL_FEATURES))
    decisions = set(range(NUM_GLOBAL_FEATURES, NUM_GLOBAL_FEATURES + 30))  # six of five choices
    assert asked_of[Parts()] & statistics
    assert asked_of[Parts()] & decisions
    assert not asked_of[Parts(decisions=False)] & decisions
    assert not asked_of[Parts(graph_statistics=False)] & statistics


def test_an_adaptation_whose_forests_are_damaged_is_refused(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    tensors = from_bytes(tiny_meta.adapt(accuracy_task, space, support_of(cells[:20], convolutions)).to_bytes())
    del tensors["forests.opinion"]

    with pytest.raises(CheckpointError, match="expected an adaptation of version"):
        tiny_meta.restore(accuracy_task, space, to_bytes(tensors))


@pytest.mark.parametrize(("noise", "speaks"), [(0.0, False), (30.0, True)])
def test_related_tasks_that_are_trusted_speak_in_place_of_the_universal_mean(
    universal_meta, accuracy_task, space, cells, support_of, convolutions, noise, speaks
) -> None:
    errors = dict(
        zip((cell.hash for cell in cells), noise * np.random.default_rng(0).normal(size=len(cells)), strict=True)
    )
    known = support_of(cells[100:200], lambda cell: convolutions(cell) + errors[cell.hash])
    other = MeasuredTask(replace(accuracy_task, dataset="elsewhere"), space, known)
    related = universal_meta.related(accuracy_task, space, [other])

    adapted = universal_meta.adapt(accuracy_task, space, support_of(cells[:20], convolutions), related)

    assert (adapted.insides.surroundings.universal is not None) == speaks
    assert adapted.insides.surroundings.related is related
    restored = universal_meta.restore(accuracy_task, space, adapted.to_bytes())
    assert_equal(restored.predict(cells), adapted.predict(cells))


@pytest.fixture
def related_of(universal_meta, space, cells, support_of, convolutions) -> Callable[[Task, float], RelatedTasks]:
    """What another data set says of a task, measured with so much noise."""

    def build(task: Task, noise: float) -> RelatedTasks:
        errors = noise * np.random.default_rng(0).normal(size=len(cells))
        told = dict(zip((cell.hash for cell in cells), errors, strict=True))
        known = support_of(cells[100:200], lambda cell: convolutions(cell) + told[cell.hash])
        related = universal_meta.related(task, space, [MeasuredTask(replace(task, dataset="elsewhere"), space, known)])
        assert related is not None
        return related

    return build


@pytest.fixture
def configs_seen(monkeypatch: pytest.MonkeyPatch) -> list[GPConfig]:
    """What every process that is fitted is told beforehand."""
    found: list[GPConfig] = []
    fit = ResidualGP.fit

    def noted(
        support: GPInputs, targets: torch.Tensor, counts: torch.Tensor, config: GPConfig, *rest: Any
    ) -> ResidualGP:
        found.append(config)
        return fit(support, targets, counts, config, *rest)

    monkeypatch.setattr(ResidualGP, "fit", noted)
    return found


def test_the_better_related_tasks_are_the_less_room_is_left_to_what_holds_in_every_space(
    universal_meta, accuracy_task, space, cells, support_of, convolutions, related_of, configs_seen
) -> None:
    support = support_of(cells[:20], convolutions)
    good, bad = (related_of(accuracy_task, noise) for noise in (0.0, 10.0))

    for related in (None, good, bad):
        universal_meta.adapt(accuracy_task, space, support, related)

    alone, beside_good, beside_bad = (config.room for config in configs_seen)
    assert alone == ()
    for room, related in ((beside_good, good), (beside_bad, bad)):
        less = 1.0 - 0.5 * float(related.reliability.max()) ** 2
        assert room == pytest.approx((less, less, less, 1.0, 1.0, less))
    assert beside_good[0] < 0.6 < beside_bad[0]


def test_where_costs_are_forecast_every_view_keeps_its_room(
    universal_meta, space, cells, support_of, convolutions, related_of, configs_seen
) -> None:
    related = related_of(LATENCY, 0.0)

    universal_meta.adapt(LATENCY, space, support_of(cells[:20], convolutions), related)

    assert related.trust > 0.9
    assert [config.room for config in configs_seen] == [(1.0,) * 6]


@pytest.mark.parametrize(("noise", "factor"), [(0.0, 0.25), (30.0, 4.0)])
def test_beside_related_tasks_that_are_trusted_intervals_have_widths_that_were_learned_with_such(
    universal_meta, accuracy_task, space, cells, support_of, convolutions, related_of, noise, factor
) -> None:
    tables = {"widths": [4.0, 4.0], "widths_with_related": [0.25, 0.25]}
    manifest = {name: {"numbers": [0, 100], "factors": factors} for name, factors in tables.items()}
    told = with_manifest(universal_meta, manifest)
    support, related = support_of(cells[:20], convolutions), related_of(accuracy_task, noise)

    found, plain = (
        meta.adapt(accuracy_task, space, support, related).log_std(cells[30:40]) for meta in (told, universal_meta)
    )

    np.testing.assert_allclose(np.exp(found - plain), factor)


def test_a_task_that_is_better_off_without_its_relatives_has_the_widths_of_one_without_any(
    universal_meta, accuracy_task, space, cells, support_of, convolutions, related_of, monkeypatch
) -> None:
    density = property(lambda gp: float(gp.support.contrasts is None))  # whoever hears no relatives foretells better
    monkeypatch.setattr(ResidualGP, "leave_one_out_log_density", density)
    tables = {"widths": [4.0, 4.0], "widths_with_related": [0.25, 0.25]}
    told = with_manifest(
        universal_meta, {name: {"numbers": [0, 100], "factors": factors} for name, factors in tables.items()}
    )
    support, related = support_of(cells[:80], convolutions), related_of(accuracy_task, 0.0)

    adapted = told.adapt(accuracy_task, space, support, related)
    plain = universal_meta.adapt(accuracy_task, space, support, related)

    assert adapted.insides.surroundings.related is None
    np.testing.assert_allclose(np.exp(adapted.log_std(cells[90:95]) - plain.log_std(cells[90:95])), 4.0)
