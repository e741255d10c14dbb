from __future__ import annotations

import numpy as np
import pytest

from predictor.architecture import Architecture
from predictor.contest.plots import plot_warnings
from predictor.contest.shifts import (
    PARTS,
    Answers,
    buckets,
    draw_from_part,
    giant,
    nonsense,
    told_apart,
    with_unknown_kinds,
)
from predictor.errors import BenchmarkError
from predictor.prediction import Predictions

FEW = "at most one convolution"


def answers(score: np.ndarray, error: np.ndarray) -> Answers:
    ones = np.ones(len(score))
    return Answers(np.asarray(score, float), 2.0 * ones, 3.0 * ones, np.asarray(error, float), ones)


def convolutions(cell: Architecture) -> int:
    return [one.kind for one in cell.operations].count("conv")


def test_only_the_part_is_measured_and_no_network_of_it_is_asked_about_again(measured) -> None:
    draw = draw_from_part(measured, PARTS[FEW], 20, 200, seed=0)

    hashes = {one.hash for one in draw.support.architectures}
    assert len(hashes) == len(draw.support) == 20
    assert all(convolutions(cell) <= 1 for cell in draw.support.architectures)
    assert len(draw.asked) == 200
    assert not hashes & {one.hash for one in draw.asked}
    assert {convolutions(cell) <= 1 for cell in draw.asked} == {True, False}


def test_draws_depend_on_the_seed_alone(measured) -> None:
    first, again, other = (draw_from_part(measured, PARTS[FEW], 20, 50, seed).support.hash for seed in (0, 0, 1))

    assert first == again != other


def test_a_part_that_is_too_small_is_refused(measured) -> None:
    with pytest.raises(BenchmarkError, match="expected 20 networks to measure, got 0"):
        draw_from_part(measured, lambda _: False, 20, 50, seed=0)


def test_answers_are_in_standard_deviations_of_the_values() -> None:
    predictions = Predictions(
        *(np.array(values) for values in ([1.0, 2.0], [4.0, 4.0], [0.0, 1.0], [2.0, 3.0], [0.0, 0.5]))
    )

    found = Answers.of(predictions, 2.0, np.array([2.0, 8.0]))

    assert found.error.tolist() == [0.5, 3.0]
    assert found.std.tolist() == [2.0, 2.0]
    assert found.width.tolist() == [1.0, 1.0]
    assert found.inside.tolist() == [1.0, 0.0]
    assert np.isnan(Answers.of(predictions, 2.0).error).all()


def test_fifths_are_ascending_and_never_part_equal_scores() -> None:
    different = buckets(answers(np.arange(10.0)[::-1], np.arange(10.0)))
    mostly_zero = buckets(answers(np.array([0.0] * 7 + [0.1, 0.5, 0.9]), np.arange(10.0)))

    assert [one.ood_score.tolist() for one in different] == [[1.0, 0.0], [3.0, 2.0], [5.0, 4.0], [7.0, 6.0], [9.0, 8.0]]
    assert len(mostly_zero[0]) == 7
    assert sum(map(len, mostly_zero)) == 10
    assert [len(one) for one in buckets(answers(np.zeros(10), np.arange(10.0)))] == [10]


def test_a_score_that_grows_with_the_error_warns_of_it() -> None:
    found = answers(np.array([0.0, 0.1, 0.9]), np.array([0.5, 1.0, 7.0]))

    assert found.warning("ood_score") == pytest.approx(1.0)
    assert np.isnan(found.warning("std"))
    assert Answers.joined([found, found]).warning("ood_score") == pytest.approx(1.0)


def test_the_share_of_pairs_told_apart_counts_ties_half() -> None:
    assert told_apart(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert told_apart(np.array([1.0]), np.array([0.0, 1.0, 2.0])) == pytest.approx(0.5)


def test_unknown_kinds_take_the_place_of_known_ones_and_leave_the_graph_alone(cells) -> None:
    rng = np.random.default_rng(0)
    cell = next(one for one in cells if one.num_nodes == 8)  # six operations between input and output

    third, everything = (with_unknown_kinds(cell, share, rng) for share in (1 / 3, 1.0))

    for one, count in ((third, 2), (everything, 6)):
        assert [operation.kind.startswith("mystery_") for operation in one.operations].count(True) == count
        assert one.edges == cell.edges
        assert {one.operations[0].kind, one.operations[-1].kind} == {"input", "output"}


def test_giants_are_large_and_different(cells) -> None:
    rng = np.random.default_rng(0)

    first, second = giant(rng), giant(rng)

    assert min(first.num_nodes, second.num_nodes) > 200
    assert first.edges != second.edges


def test_every_kind_of_nonsense_is_there(cells) -> None:
    found = nonsense(cells[:5], 20, np.random.default_rng(0))

    assert [len(graphs) for graphs in found.values()] == [20, 20, 2]


def test_a_figure_is_drawn_even_where_no_score_tells_anything_apart(tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="plots are an optional extra")
    path = tmp_path / "plots" / "ood.png"

    plot_warnings({"a part": answers(np.zeros(10), np.arange(10.0))}, path)

    assert path.read_bytes().startswith(b"\x89PNG")
