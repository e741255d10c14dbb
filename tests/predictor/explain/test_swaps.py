"""The forecast with one part decided otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from known_forecasts import WEIGHTS, WORTH, KnownForecaster, additive

from predictor.architecture import Architecture
from predictor.errors import ExplanationError
from predictor.explain.asking import Asked
from predictor.explain.reading import parts_of
from predictor.explain.swaps import explain_swaps
from predictor.search_spaces.registry import search_space

# every network of which has one notation alone, so that a rule on notations is a rule on networks
CELL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|avg_pool_3x3~2|"


def cell_parts():
    space = search_space("nasbench201")
    return parts_of(space, space.parse(CELL))


def test_effects_of_an_additive_forecast_are_what_each_edge_adds() -> None:
    explained = explain_swaps(cell_parts(), KnownForecaster(additive))

    assert explained.forecast == pytest.approx(50 + 4.0 + 1.25 + 2.0 + 3.75 + 0.25 - 4.5)
    for part, weight in zip(explained.parts, WEIGHTS, strict=True):
        own = WORTH[part.part.chosen]
        effects = {one.label: one.effect for one in part.swaps if one.label != "none"}  # which may cut others off
        expected = {label: weight * (worth - own) for label, worth in WORTH.items() if label not in (part.part.chosen, "none")}  # fmt: skip
        assert effects == pytest.approx(expected)
        assert all(one.std_error == 1.0 for one in part.swaps)


def test_worth_and_spread_are_of_all_alternatives() -> None:
    (first, *_) = explain_swaps(cell_parts(), KnownForecaster(additive)).parts

    forecasts = [one.forecast for one in first.swaps]
    assert first.worth == pytest.approx(56.75 - np.mean(forecasts))
    assert first.spread == pytest.approx(np.std([56.75, *forecasts]))


def test_a_network_that_stays_the_same_has_the_same_forecast() -> None:
    space = search_space("nasbench201")
    dead = space.parse(
        "|none~0|+|nor_conv_3x3~0|none~1|+|none~0|nor_conv_1x1~1|skip_connect~2|"
    )  # nothing feeds node 1

    explained = explain_swaps(parts_of(space, dead), KnownForecaster(additive))

    (part,) = [one for one in explained.parts if one.part.name == "edge_1_3"]
    assert [one.effect for one in part.swaps] == [0.0] * 4


def test_an_edge_that_goes_is_a_swap(diamond: Architecture) -> None:
    forecaster = KnownForecaster(lambda graph: float(len(graph.edges)))

    explained = explain_swaps(parts_of(search_space("graph"), diamond), forecaster)

    (edge,) = [one for one in explained.parts if one.part.kind == "edge"]
    assert [(one.label, one.effect) for one in edge.swaps] == [("gone", -1.0)]


def test_what_nothing_tells_has_no_standard_error() -> None:
    class Silent(KnownForecaster):
        def difference_std(self, architecture, others):
            return np.full(len(others), np.nan)

    explained = explain_swaps(cell_parts(), Silent(additive))

    assert {one.std_error for part in explained.parts for one in part.swaps} == {None}


def test_each_network_is_asked_for_once_and_within_the_limit() -> None:
    space, forecaster = search_space("nasbench201"), KnownForecaster(additive)
    cells = [space.sample(np.random.default_rng(seed)) for seed in range(10)]
    asked = Asked(forecaster, lambda: None, limit=10)

    asked.values([*cells, *cells])
    asked.values(cells)

    assert len(forecaster.asked) == asked.num_forecasts == len({one.hash for one in cells})
    with pytest.raises(ExplanationError, match="at most 10 forecasts, got one of"):
        asked.values([space.sample(np.random.default_rng(seed)) for seed in range(10, 30)])


def test_work_ends_where_the_check_says_so() -> None:
    class LateError(Exception):
        pass

    def check() -> None:
        raise LateError

    with pytest.raises(LateError):
        explain_swaps(cell_parts(), KnownForecaster(additive), check)


def test_differences_are_as_uncertain_as_two_forecasts_are_together(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:40], convolutions))
    own, others = cells[100], [cells[100], *cells[101:110]]

    errors = adapted.difference_std(own, others)

    assert errors[0] == pytest.approx(0.0, abs=1e-6)  # nothing is more certain than that it is the same
    singly = adapted.predict([own, *others]).std  # with the noise of a measurement, never less certain than together
    assert (errors[1:] > 0.0).all()
    assert (errors[1:] < singly[0] + singly[2:]).all()
    assert adapted.difference_std(others[3], [own])[0] == pytest.approx(errors[3], rel=1e-4)
    assert adapted.difference_std(own, []).shape == (0,)


def test_before_there_is_a_process_nothing_tells_how_uncertain_differences_are(
    tiny_meta, accuracy_task, space, cells, support_of, convolutions
) -> None:
    adapted = tiny_meta.adapt(accuracy_task, space, support_of(cells[:3], convolutions))

    assert np.isnan(adapted.difference_std(cells[10], cells[11:14])).all()
