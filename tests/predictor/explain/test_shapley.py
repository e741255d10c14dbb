"""How parts share what a forecast differs from the average by."""

from __future__ import annotations

import math

import numpy as np
import pytest
from known_forecasts import KnownForecaster

from predictor.architecture import Architecture
from predictor.errors import ExplanationError
from predictor.explain.reading import parts_of
from predictor.explain.shapley import ShapleyConfig, ShapleyExplanation, explain_shapley
from predictor.search_spaces.declared import DeclaredSpace
from predictor.search_spaces.registry import search_space

EXACT = ShapleyConfig(num_variants=20, num_pairs=8)
SAMPLED = ShapleyConfig(num_pairs=8, max_exact=0)
GAIN = {"a": 0.0, "b": 1.0, "c": 5.0}


@pytest.fixture(scope="module")
def switches() -> DeclaredSpace:
    """Four decisions between three values each; every notation is another network."""
    decisions = [{"name": f"switch_{n}", "type": "categorical", "values": list(GAIN)} for n in range(4)]
    return DeclaredSpace("switches", {"version": 1, "decisions": decisions})


def settings(switches: DeclaredSpace, architecture: Architecture) -> list[float]:
    own = switches.assignment(architecture)
    return [GAIN[str(own[f"switch_{n}", -1])] for n in range(4)]


def explained(space, notation, rule, config: ShapleyConfig, seed: int = 0) -> ShapleyExplanation:
    rng = np.random.default_rng(seed)
    return explain_shapley(parts_of(space, space.parse(notation)), KnownForecaster(rule), rng, config)


def all_c(switches: DeclaredSpace) -> str:
    return switches.format(switches.parse({f"switch_{n}": "c" for n in range(4)}))


def variants(switches: DeclaredSpace, count: int, seed: int = 0) -> np.ndarray:
    """The values in the variants that an explanation with that seed draws."""
    rng, parts = np.random.default_rng(seed), parts_of(switches, switches.parse(all_c(switches)))
    drawn = [parts.variant(rng) for _ in range(count)]
    return np.array([[GAIN[str(one[f"switch_{n}", -1])] for n in range(4)] for one in drawn])


def test_values_of_an_additive_forecast_are_the_distances_from_the_average(switches: DeclaredSpace) -> None:
    weights = np.array([1.0, -2.0, 0.0, 0.5])
    answer = explained(switches, all_c(switches), lambda one: 7.0 + float(weights @ settings(switches, one)), EXACT)

    background = variants(switches, 20)
    assert answer.is_exact
    assert [one.value for one in answer.values] == pytest.approx(weights * (5.0 - background.mean(axis=0)))
    errors = np.abs(weights) * background.std(axis=0, ddof=1) / math.sqrt(20)
    assert [one.std_error for one in answer.values] == pytest.approx(errors)
    assert answer.base == pytest.approx(7.0 + weights @ background.mean(axis=0))


def test_two_that_only_work_together_share_equally(switches: DeclaredSpace) -> None:
    def both(one: Architecture) -> float:
        first, second, *_ = settings(switches, one)
        return 10.0 * (first == 5.0) * (second == 5.0)

    answer = explained(switches, all_c(switches), both, EXACT)

    # a variant that has neither, one, or both of them leaves 10, 10 or 0 to share
    background = variants(switches, 20)[:, :2] == 5.0
    first = np.where(background.all(1), 0.0, np.where(background[:, 1], 10.0, np.where(background[:, 0], 0.0, 5.0)))
    second = np.where(background.all(1), 0.0, np.where(background[:, 0], 10.0, np.where(background[:, 1], 0.0, 5.0)))
    values = [one.value for one in answer.values]
    assert values == pytest.approx([first.mean(), second.mean(), 0.0, 0.0])


def test_symmetric_decisions_get_equal_values_on_a_symmetric_background(switches: DeclaredSpace) -> None:
    class Symmetric:
        """As the parts of the architecture, but for one variant, which treats all decisions alike."""

        def __init__(self) -> None:
            self._parts = parts_of(switches, switches.parse(all_c(switches)))
            self.architecture, self.parts, self.mixed = self._parts.architecture, self._parts.parts, self._parts.mixed

        def variant(self, rng):
            return {**self._parts.variant(rng), **{(f"switch_{n}", -1): "a" for n in range(4)}}

    forecaster = KnownForecaster(lambda one: math.prod(2.0 + value for value in settings(switches, one)))

    answer = explain_shapley(Symmetric(), forecaster, np.random.default_rng(0), EXACT)  # type: ignore[arg-type]

    assert [one.value for one in answer.values] == pytest.approx([(7.0**4 - 2.0**4) / 4] * 4)
    assert [one.std_error for one in answer.values] == pytest.approx([0.0] * 4, abs=1e-9)


@pytest.mark.parametrize("config", [EXACT, SAMPLED])
@pytest.mark.parametrize(
    "name", ["nasbench201", "nasbench101", "nasbench_graph", "graph", "ofa_mobilenetv3", "autoformer"]
)
def test_base_and_values_add_up_to_the_forecast(name: str, config: ShapleyConfig) -> None:
    space = search_space(name)

    def rule(one: Architecture) -> float:
        return int(one.hash[:6], 16) / 2**24  # anything but additive

    answer = explained(space, space.format(space.sample(np.random.default_rng(5))), rule, config)

    assert answer.base + sum(one.value for one in answer.values) == pytest.approx(answer.forecast)
    assert answer.is_exact == (len(answer.values) <= config.max_exact)


def test_random_orders_lead_to_the_exact_values(switches: DeclaredSpace) -> None:
    def rule(one: Architecture) -> float:
        first, second, third, fourth = settings(switches, one)
        return first * second - 2.0 * third + 0.5 * fourth * first

    exact = explained(switches, all_c(switches), rule, ShapleyConfig(num_variants=400))
    sampled = explained(switches, all_c(switches), rule, ShapleyConfig(num_pairs=400, max_exact=0), seed=1)

    assert not sampled.is_exact
    for one, other in zip(exact.values, sampled.values, strict=True):
        assert abs(one.value - other.value) < 4.0 * math.hypot(one.std_error, other.std_error)


def test_conditional_decisions_share_too(conditional_space) -> None:
    notation = {"depth": 3, "op": ["conv3x3"] * 3, "width": [32] * 3, "rate": 0.01, "only": "this"}

    def rule(one: Architecture) -> float:
        own = conditional_space.assignment(one)
        return float(sum(value == 32 for (name, _), value in own.items() if name == "width"))

    answer = explained(conditional_space, notation, rule, EXACT)

    values = {one.part.name: one.value for one in answer.values}
    assert answer.forecast == 3.0
    assert answer.base + sum(values.values()) == pytest.approx(3.0)
    assert values["rate"] == pytest.approx(0.0)
    assert all(value > 0.0 for name, value in values.items() if name != "rate")


def test_nothing_to_decide_is_nothing_to_share(switches: DeclaredSpace) -> None:
    space = DeclaredSpace("fixed", {"version": 1, "decisions": [{"name": "op", "type": "categorical", "values": ["conv3x3"]}]})  # fmt: skip

    answer = explained(space, {"op": "conv3x3"}, lambda one: 3.0, EXACT)

    assert (answer.forecast, answer.base, answer.values) == (3.0, 3.0, ())


@pytest.mark.parametrize("numbers", [{"num_variants": 1}, {"num_pairs": 3}])
def test_samples_that_tell_nothing_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(ExplanationError, match="at least 2 variants and 4 pairs"):
        ShapleyConfig(**numbers)
