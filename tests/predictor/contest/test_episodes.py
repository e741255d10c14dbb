from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from predictor.contest.episodes import LEAST_QUERY, draw_episode
from predictor.errors import BenchmarkError
from predictor.tasks import Task

SIZES = (0, 5, 20)


def shortened(measured, count):
    return replace(
        measured,
        notations=measured.notations[:count],
        rows=measured.rows[:count],
        values=measured.values[:count],
        fidelities={},
        params=None,
    )


def decisions(architectures) -> np.ndarray:
    return np.array([[one.genotype.count(name) for name in ("3x3", "1x1", "skip", "none")] for one in architectures])


def test_support_sets_contain_each_other_and_all_sizes_ask_about_the_same(measured) -> None:
    episode = draw_episode(measured, SIZES, seed=0, num_query=100)
    draws = [episode.draw(size) for size in SIZES]

    assert [len(draw.support) for draw in draws] == [0, 5, 20]
    assert draws[1].support_rows.tolist() == draws[2].support_rows[:5].tolist()
    assert all(draw.query_rows.tolist() == draws[0].query_rows.tolist() for draw in draws)
    assert len(draws[0].asked) == 100


def test_values_belong_to_their_architectures(measured) -> None:
    draw = draw_episode(measured, SIZES, seed=3, num_query=50).draw(20)
    known = dict(zip(measured.notations, measured.values, strict=True))

    assert draw.support.values == tuple(known[one.genotype] for one in draw.support.architectures)
    assert draw.truth.tolist() == [known[one.genotype] for one in draw.asked]


@pytest.mark.parametrize("seed", range(4))
def test_no_network_of_the_support_set_is_asked_about_in_another_notation(measured, seed) -> None:
    hashes = [one.hash for one in measured.architectures]
    assert len(set(hashes)) < len(hashes), "expected cells that are the same network"

    draw = draw_episode(measured, SIZES, seed, num_query=10_000).draw(20)
    known = {one.hash for one in draw.support.architectures}

    assert len(known) == 20
    assert not known & {one.hash for one in draw.asked}
    assert len(draw.asked) == sum(one not in known for one in hashes)


def test_a_draw_depends_on_task_and_seed_alone(measured) -> None:
    first, again = (draw_episode(measured, SIZES, 0, 50).draw(20) for _ in range(2))
    other_seed = draw_episode(measured, SIZES, 1, 50).draw(20)
    other_task = draw_episode(
        replace(measured, task=Task("nasbench201", "other", measured.task.metric)), SIZES, 0, 50
    ).draw(20)

    assert first.support.hash == again.support.hash
    assert first.query_rows.tolist() == again.query_rows.tolist()
    assert len({first.support.hash, other_seed.support.hash, other_task.support.hash}) == 3


def test_sizes_that_leave_too_few_to_ask_about_are_left_out(measured) -> None:
    episode = draw_episode(shortened(measured, 45), (0, 5, 20, 50), seed=0, num_query=2_000)

    assert max(episode.sizes) < 50
    assert len(episode.query_rows) >= LEAST_QUERY
    with pytest.raises(BenchmarkError, match="expected a size of"):
        episode.draw(50)


def test_a_task_that_is_too_small_is_refused(measured) -> None:
    with pytest.raises(BenchmarkError, match="expected at least 20 architectures"):
        draw_episode(shortened(measured, 12), (5,), seed=0, num_query=100)


def test_asked_apart_from_the_own_support_set_are_other_networks_than_those_of_larger_ones(measured) -> None:
    episode = draw_episode(measured, (0, 10, 60), 0, 100)

    draws = {size: episode.own_draw(size) for size in episode.sizes}

    for size, draw in draws.items():
        assert np.array_equal(draw.support_rows, episode.draw(size).support_rows)
        assert not {one.hash for one in draw.support.architectures} & {one.hash for one in draw.asked}
        assert len(draw.asked) == 100
    assert np.array_equal(draws[60].query_rows, episode.query_rows)
    later = {one.hash for one in draws[60].support.architectures}
    assert later & {one.hash for one in draws[0].asked}  # which no other size would ask about


def test_diverse_support_sets_are_spread_out_and_never_asked_about(measured) -> None:
    episode = draw_episode(measured, SIZES, seed=0, num_query=300)
    random, diverse = episode.draw(20), episode.diverse_draw(20, decisions)
    known = {one.hash for one in diverse.support.architectures}

    assert len(known) == 20
    assert not known & {one.hash for one in diverse.asked}
    assert set(diverse.query_rows.tolist()) <= set(random.query_rows.tolist())
    variety = [len(np.unique(decisions(draw.support.architectures), axis=0)) for draw in (random, diverse)]
    assert variety[1] > variety[0]


def test_diverse_support_sets_are_filled_up_where_features_tell_little_apart(measured) -> None:
    episode = draw_episode(measured, SIZES, seed=0, num_query=300)

    draw = episode.diverse_draw(20, lambda architectures: np.zeros((len(architectures), 3)))

    assert len({one.hash for one in draw.support.architectures}) == 20
    assert len(episode.diverse_draw(0, decisions).support) == 0
