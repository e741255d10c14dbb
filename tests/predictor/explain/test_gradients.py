"""Integrated gradients of real adaptations: the whole forecast, and shares that add up to it."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from predictor.adapted_predictor import AdaptedPredictor
from predictor.architecture import Architecture, Operation
from predictor.errors import ExplanationError
from predictor.explain.gradients import GradientConfig, GradientExplanation, explain_gradients
from predictor.explain.reading import decision_names, parts_of
from predictor.explain.smooth_forecast import SmoothForecast
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.registry import search_space
from predictor.tasks import MeasuredTask, Metric, Task

LATENCY = Metric("latency_ms", "ms", "minimize")


@pytest.fixture(scope="module", params=[(0, False), (3, True), (30, False), (30, True)], ids=str)
def adapted(request, tiny_meta, accuracy_task, space, cells, support_of, convolutions) -> AdaptedPredictor:
    """With and without a residual process, and related tasks."""
    count, has_related = request.param
    related = None
    if has_related:
        values = support_of(cells[100:180], lambda cell: 2.0 * convolutions(cell))
        other = MeasuredTask(replace(accuracy_task, dataset="elsewhere"), space, values)
        related = tiny_meta.related(accuracy_task, space, [other])
    return tiny_meta.adapt(accuracy_task, space, support_of(cells[:count], convolutions), related)


def explained(adapted: AdaptedPredictor, space: SearchSpace, architecture: Architecture) -> GradientExplanation:
    pytest.importorskip("captum", reason="integrated gradients are an optional extra")
    parts = parts_of(space, architecture)
    return explain_gradients(
        parts, adapted, decision_names(space), np.random.default_rng(0), GradientConfig(num_variants=16)
    )


def forecast_of(adapted: AdaptedPredictor, architecture: Architecture) -> float:
    smooth = SmoothForecast(adapted)
    looks = smooth.looks([architecture])
    return float(smooth.value(looks.tensors, looks.mask, smooth.spreads(architecture)))


def test_the_smooth_forecast_is_the_forecast(adapted: AdaptedPredictor, cells: list[Architecture]) -> None:
    for cell in cells[200:210]:
        expected = float(adapted.predict([cell]).mean[0])
        assert forecast_of(adapted, cell) == pytest.approx(expected, rel=1e-4)  # the surrogate computes in float32


def test_so_it_is_of_a_metric_that_is_taken_as_logarithms(tiny_meta, space, cells, support_of, convolutions) -> None:
    task = Task("nasbench201", "toy", LATENCY, "cpu")
    adapted = tiny_meta.adapt(task, space, support_of(cells[:12], lambda cell: convolutions(cell) / 20.0))

    for cell in cells[200:205]:
        assert forecast_of(adapted, cell) == pytest.approx(float(adapted.predict([cell]).mean[0]), rel=1e-4)


def test_so_it_is_in_the_space_of_all_graphs(tiny_meta, support_of) -> None:
    space, rng = search_space("graph"), np.random.default_rng(1)
    graphs = [space.sample(rng) for _ in range(14)]
    task = Task("graph", "toy", Metric("accuracy", "%", "maximize"))
    adapted = tiny_meta.adapt(task, space, support_of(graphs[:10], lambda graph: 50.0 + graph.num_nodes))

    for graph in graphs[10:]:
        assert forecast_of(adapted, graph) == pytest.approx(float(adapted.predict([graph]).mean[0]), rel=1e-4)


def test_base_and_shares_add_up_to_the_forecast(adapted: AdaptedPredictor, space, cells) -> None:
    """The axiom of completeness; the tolerance is what the numeric integration promises."""
    for cell in cells[200:203]:
        answer = explained(adapted, space, cell)

        shares = [one.share for one in (*answer.nodes, *answer.edges)]
        total = sum([*shares, *answer.decisions.values(), answer.statistics, answer.related_tasks])
        distance = answer.forecast - answer.base
        assert total + answer.completeness_error == pytest.approx(distance)
        assert abs(answer.completeness_error) <= 0.01 * abs(distance) or answer.num_steps == 512
        assert abs(answer.completeness_error) <= 0.05 * abs(distance) + 1e-3
        assert answer.forecast == pytest.approx(float(adapted.predict([cell]).mean[0]), rel=1e-4)
        assert 0.0 <= answer.coverage <= 1.0


def test_every_node_and_edge_has_a_share(adapted: AdaptedPredictor, space, cells) -> None:
    answer = explained(adapted, space, cells[200])

    canonical = cells[200].canonical()
    assert [one.node for one in answer.nodes] == list(range(canonical.num_nodes))
    assert [(one.source, one.target) for one in answer.edges] == list(canonical.edges)
    kinds = [operation.kind for operation in canonical.operations]
    assert [one.operation.split("(")[0] for one in answer.nodes] == kinds
    ends = [one.share for one, kind in zip(answer.nodes, kinds, strict=True) if kind in ("input", "output")]
    assert ends == [0.0, 0.0]  # they are the same in all that it is compared with
    assert any(abs(one.share) > 1e-3 for one in answer.nodes)
    assert any(abs(one.share) > 1e-3 for one in answer.edges)
    assert list(answer.decisions) == [one.name for one in space.decisions]
    has_related = adapted.insides.surroundings.related is not None
    assert (answer.related_tasks != 0.0) == has_related


def test_shares_do_not_depend_on_the_order_of_nodes(tiny_meta, support_of) -> None:
    space, rng = search_space("graph"), np.random.default_rng(1)
    graphs = [space.sample(rng) for _ in range(11)]
    task = Task("graph", "toy", Metric("accuracy", "%", "maximize"))
    adapted = tiny_meta.adapt(task, space, support_of(graphs[:10], lambda graph: 50.0 + graph.num_nodes))
    own = graphs[10]
    order = rng.permutation(own.num_nodes).tolist()
    place = {node: number for number, node in enumerate(order)}
    turned = Architecture.build(
        [own.operations[node] for node in order], [(place[source], place[target]) for source, target in own.edges]
    )

    first, second = (explained(adapted, space, one) for one in (own, turned))

    assert first.nodes == second.nodes
    assert first.edges == second.edges


def test_a_convolution_that_helps_has_the_larger_share(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    """Where each 3 × 3 convolution adds five points, and all else nothing."""
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:200], convolutions))
    three = str(Operation.of("conv", kernel_size=3, stride=1).kind)
    helping, others = [], []
    for cell in cells[200:215]:
        for one in explained(adapted, space, cell).nodes:
            if one.operation == "conv(kernel_size=3, stride=1)":
                helping.append(one.share)
            elif not one.operation.startswith(("input", "output")):
                others.append(one.share)

    assert three == "conv"
    assert np.mean(helping) > np.mean(others) + 0.5


def test_without_captum_it_is_said_what_is_missing(adapted: AdaptedPredictor, space, cells, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    parts = parts_of(space, cells[0])

    with pytest.raises(ExplanationError, match="extra `explain`"):
        explain_gradients(parts, adapted, decision_names(space), np.random.default_rng(0), GradientConfig(2, 1))


@pytest.mark.parametrize("numbers", [{"num_steps": 1}, {"num_variants": 0}])
def test_settings_that_tell_nothing_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(ExplanationError, match="at least 2 steps and 1 variant"):
        GradientConfig(**numbers)


def test_half_an_edge_is_between_none_and_a_whole_one(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    """What makes it worth integrating: no jump where an edge is nearly there."""
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:30], convolutions))
    smooth = SmoothForecast(adapted)
    looks = smooth.looks([cells[200]])
    spreads = smooth.spreads(cells[200])

    def at(share: float) -> float:
        nodes, counted, adjacency, *rest = looks.tensors
        return float(smooth.value((nodes, counted, adjacency * share, *rest), looks.mask, spreads))  # type: ignore[arg-type]

    steps = np.diff([at(share) for share in np.linspace(0.0, 1.0, 41)])

    assert np.abs(steps).max() < 0.25 * np.abs(steps).sum()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("count", [0, 20])
def test_with_a_universal_mean_the_smooth_forecast_is_the_forecast_and_shares_add_up(
    universal_meta, accuracy_task, space, cells, support_of, convolutions, count
) -> None:
    adapted = universal_meta.adapt(accuracy_task, space, support_of(cells[:count], convolutions))

    assert SmoothForecast(adapted).num_of_trees == (2 if count == 0 else 4)  # forests beside it
    assert forecast_of(adapted, cells[50]) == pytest.approx(float(adapted.predict([cells[50]]).mean[0]), rel=1e-4)
    found = explained(adapted, space, cells[50])
    shares = [one.share for one in (*found.nodes, *found.edges)] + [*found.decisions.values(), found.statistics]
    assert found.base + sum(shares) + found.related_tasks + found.completeness_error == pytest.approx(
        found.forecast, rel=1e-4
    )
    assert found.related_tasks == 0.0
