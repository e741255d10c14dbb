"""What choices are worth on average."""

from __future__ import annotations

import numpy as np
import pytest
from known_forecasts import KnownForecaster

from predictor.architecture import Architecture
from predictor.errors import ExplanationError
from predictor.explain.reading import parts_of
from predictor.explain.summary import AverageEffect, summarise
from predictor.explain.swaps import PartSwaps, Swap
from predictor.search_spaces.declared import DeclaredSpace
from predictor.search_spaces.registry import search_space
from predictor.tasks import Metric

PERCENT, LATENCY = Metric("accuracy", "%", "maximize"), Metric("latency_ms", "ms", "minimize")


@pytest.fixture(scope="module")
def space() -> DeclaredSpace:
    decisions = [{"name": name, "type": "categorical", "values": ["a", "b", "c"]} for name in ("first", "second")]
    return DeclaredSpace("two", {"version": 1, "decisions": decisions})


def chosen(space: DeclaredSpace, architecture: Architecture) -> tuple[str, str]:
    own = space.assignment(architecture)
    return str(own["first", -1]), str(own["second", -1])


def test_effects_of_an_additive_forecast_are_the_same_everywhere(space: DeclaredSpace) -> None:
    def rule(one: Architecture) -> float:
        first, second = chosen(space, one)
        return 70.0 + {"a": 0.0, "b": 1.0, "c": 5.0}[first] + (second == "c")

    summary = summarise(space, KnownForecaster(rule), np.random.default_rng(0), 12)

    found = {(one.group, one.label): (one.effect, one.std_error) for one in summary.effects}
    expected = {("first", "a"): -2.0, ("first", "b"): -1.0, ("first", "c"): 3.0}
    expected |= {("second", "a"): -1 / 3, ("second", "b"): -1 / 3, ("second", "c"): 2 / 3}
    assert {key: effect for key, (effect, _) in found.items()} == pytest.approx(expected)
    assert [error for _, error in found.values()] == pytest.approx([0.0] * 6, abs=1e-9)
    assert [(one.group, one.label) for one in summary.effects][:3] == [("first", "c"), ("first", "b"), ("first", "a")]
    assert list(summary.spreads) == ["first", "second"]
    assert summary.num_architectures == 12


def test_standard_errors_tell_how_far_effects_differ_between_architectures(space: DeclaredSpace) -> None:
    def together(one: Architecture) -> float:
        return 9.0 * (chosen(space, one) == ("a", "a"))

    summary = summarise(space, KnownForecaster(together), np.random.default_rng(0), 30)

    rng = np.random.default_rng(0)
    second = np.array([chosen(space, space.sample(rng))[1] == "a" for _ in range(30)])
    (found,) = [one for one in summary.effects if (one.group, one.label) == ("first", "a")]
    assert found.effect == pytest.approx(6.0 * second.mean())
    assert found.std_error == pytest.approx((6.0 * second).std(ddof=1) / np.sqrt(30))


def test_operations_and_edges_of_given_graphs_are_averaged(diamond: Architecture) -> None:
    forecaster = KnownForecaster(lambda graph: float(sum(one.kind == "conv" for one in graph.operations)))

    summary = summarise(search_space("graph"), forecaster, np.random.default_rng(0), given=[diamond, diamond])

    effects = {(one.group, one.label): one.effect for one in summary.effects}
    assert {group for group, _ in effects} == {"operation", "edge"}
    conv, pool = (effects["operation", label] for label in ("conv(channels=32, kernel_size=3, stride=1)", "max_pool(kernel_size=3, stride=1)"))  # fmt: skip
    assert conv > pool
    assert effects["edge", "gone"] == 0.0


def test_an_average_needs_two_architectures(space: DeclaredSpace, diamond: Architecture) -> None:
    forecaster, rng = KnownForecaster(lambda one: 0.0), np.random.default_rng(0)

    with pytest.raises(ExplanationError, match="at least 2 architectures to average over, got 1"):
        summarise(space, forecaster, rng, 1)
    with pytest.raises(ExplanationError, match="architectures to average over, since graph takes any graph, got none"):
        summarise(search_space("graph"), forecaster, rng, 10)


@pytest.mark.parametrize(
    ("effect", "error", "metric", "sentence"),
    [
        (1.9, 0.2, PERCENT, "conv as edge_2 is worth +1.9 percentage points here (standard error 0.2), better than the average choice there."),
        (1.9, 1.5, PERCENT, "conv as edge_2 is worth +1.9 percentage points here (standard error 1.5), not clearly different from the average choice there."),
        (0.31, 0.1, LATENCY, "conv as edge_2 is worth +0.31 ms of latency_ms here (standard error 0.1), worse than the average choice there."),
        (-4.0, None, LATENCY, "conv as edge_2 is worth -4 ms of latency_ms here (standard error unknown), not clearly different from the average choice there."),
    ],
)  # fmt: skip
def test_effects_are_said_in_words(effect: float, error: float | None, metric: Metric, sentence: str) -> None:
    assert AverageEffect("edge_2", "conv", effect, error, 9).sentence(metric) == sentence


def test_the_best_swap_is_named_if_it_is_better(space: DeclaredSpace) -> None:
    parts = parts_of(space, space.parse({"first": "a", "second": "b"}))
    swaps = tuple(Swap(one.label, one.architecture, 0.0, effect, None) for one, effect in zip(parts.alternatives(0), (-1.0, 2.0), strict=True))  # fmt: skip
    told = PartSwaps(parts.parts[0], swaps)

    assert told.sentence(PERCENT) == (
        "a as first is worth -0.5 percentage points here, against the average alternative; c would change it by +2 "
        "percentage points."
    )
    assert told.sentence(LATENCY).endswith("; b would change it by -1 ms of latency_ms.")
