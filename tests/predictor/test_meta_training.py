from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from predictor.calibration import WIDTHS
from predictor.meta_training import calibrated
from predictor.scoring import score_episodes
from predictor.tasks import MeasuredTask

NUMBERS = (5, 20)


@pytest.fixture(scope="module")
def kept_out(accuracy_task, space, cells, support_of, convolutions) -> list[MeasuredTask]:
    """A task of which another data set knows nearly everything, and one that has no relative."""
    luck = dict(zip((cell.hash for cell in cells), np.random.default_rng(0).normal(size=len(cells)), strict=True))
    known = support_of(cells[:80], lambda cell: convolutions(cell) + 0.5 * luck[cell.hash])
    stranger = replace(
        accuracy_task, metric=replace(accuracy_task.metric, name="latency_ms", unit="ms", direction="minimize")
    )
    return [MeasuredTask(accuracy_task, space, known), MeasuredTask(stranger, space, known)]


@pytest.fixture(scope="module")
def sources(accuracy_task, space, cells, support_of, convolutions) -> list[MeasuredTask]:
    elsewhere = replace(accuracy_task, dataset="elsewhere")
    return [MeasuredTask(elsewhere, space, support_of(cells[60:200], convolutions))]


def test_widths_are_learned_alone_and_once_more_beside_relatives_where_there_are_any(
    universal_meta, kept_out, sources
) -> None:
    seen: list[float] = []

    found = calibrated(universal_meta, kept_out, NUMBERS, on_progress=seen.append, sources=sources)

    alone, beside = (found.manifest[name] for name in ("widths", "widths_with_related"))
    assert alone["numbers"] == beside["numbers"] == list(NUMBERS)
    assert alone["factors"] != beside["factors"]
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1.0)
    assert found.version == universal_meta.version


def test_widths_beside_relatives_are_learned_of_costs_and_of_quality_apart(
    universal_meta, kept_out, sources, accuracy_task
) -> None:
    stranger = kept_out[1]
    elsewhere = MeasuredTask(replace(stranger.task, dataset="elsewhere"), stranger.space, stranger.measured)

    both = calibrated(universal_meta, kept_out, NUMBERS, sources=[*sources, elsewhere]).manifest
    quality = calibrated(universal_meta, kept_out, NUMBERS, sources=sources).manifest

    assert set(WIDTHS) <= set(both)
    assert both["widths_with_related"] == quality["widths_with_related"]
    assert both["widths_of_costs_with_related"] != quality["widths_with_related"]
    assert "widths_of_costs_with_related" not in quality


def test_intervals_beside_relatives_then_cover_nine_tenths(universal_meta, kept_out, sources) -> None:
    found = calibrated(universal_meta, kept_out, NUMBERS, sources=sources)
    related = found.related(kept_out[0].task, kept_out[0].space, sources)

    scores = score_episodes(
        found, kept_out[:1], NUMBERS, num_repeats=4, seed=1, related={kept_out[0].task.name: related}
    )

    assert 0.8 < np.mean([one.coverage for one in scores]) < 0.97


def test_without_sources_nothing_is_said_of_widths_beside_relatives(universal_meta, kept_out) -> None:
    told = calibrated(universal_meta, kept_out, NUMBERS)

    assert "widths_with_related" not in told.manifest
    assert told.manifest["widths"]["numbers"] == list(NUMBERS)


def test_a_version_with_nothing_kept_out_takes_intervals_as_they_are(universal_meta, sources) -> None:
    assert calibrated(universal_meta, [], NUMBERS, sources=sources).manifest["widths"] == {
        "numbers": [0],
        "factors": [1.0],
    }
