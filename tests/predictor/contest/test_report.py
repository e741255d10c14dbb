from __future__ import annotations

import math

import pytest

from predictor.contest.plots import plot_against_observations
from predictor.contest.report import (
    average,
    coverage_table,
    is_any_peer,
    is_single_task,
    protocol_report,
    score_table,
    warnings_table,
    wins_table,
)


def cells(text: str, row: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_cases_are_averaged_for_each_seed_and_the_spread_is_that_of_seeds(result) -> None:
    taus = {("a", 0): 0.1, ("b", 0): 0.3, ("a", 1): 0.5, ("b", 1): 0.7}

    found = average(
        [result(case=case, seed=seed, kendall_tau=tau) for (case, seed), tau in taus.items()], "kendall_tau"
    )

    assert found is not None
    assert (found.mean, found.num_cases) == (pytest.approx(0.4), 2)
    assert found.std == pytest.approx(math.sqrt(2) * 0.2)  # of 0.2 and 0.6


def test_one_task_does_not_outweigh_the_others_where_a_score_has_no_bound(result) -> None:
    found = average([result(case=case, width=width) for case, width in (("a", 1.0), ("b", 2.0), ("c", 1e9))], "width")

    assert found is not None
    assert found.mean == 2.0


def test_there_is_no_average_of_nothing(result) -> None:
    assert average([], "nll") is None
    assert average([result(nll=math.nan)], "nll") is None


def test_a_table_has_ours_first_a_column_for_each_size_and_says_what_is_missing(result) -> None:
    rows = [
        result(contestant="ridge", kind="single-task", case="a", num_observations=10, kendall_tau=0.2),
        *(result(case=case, num_observations=size) for case in "ab" for size in (0, 10)),
    ]

    text = score_table(rows, "kendall_tau")

    assert text.splitlines()[0] == "|  | at 0 | at 10 |"
    assert [line.split("|")[1].strip() for line in text.splitlines()[2:]] == ["Archcast", "ridge"]
    assert cells(text, "Archcast") == ["0.500", "0.500"]
    assert cells(text, "ridge") == ["–", "0.200 (1 of 2)"]


def test_wins_count_against_the_peer_that_is_best_on_that_very_task(result) -> None:
    peers = {"ridge": {"a": 0.4, "b": 0.9}, "forest": {"a": 0.1, "b": 0.2}}
    rows = [result(case=case, kendall_tau=0.5) for case in "ab"]
    rows += [
        result(contestant=name, kind="single-task", case=case, kendall_tau=tau)
        for name, taus in peers.items()
        for case, tau in taus.items()
    ]

    assert cells(wins_table(rows, is_single_task), "5") == ["50 % of 2", "-0.150", "-0.400 (b, ridge)"]


def test_other_kinds_of_peers_and_our_own_parts_do_not_count_as_single_task_peers(result) -> None:
    rows = [
        result(kendall_tau=0.5),
        result(contestant="ridge", kind="single-task", kendall_tau=0.4),
        result(contestant="source mean", kind="source", kendall_tau=0.6),
        result(contestant="from scratch", kind="ablation", kendall_tau=0.9),
    ]

    assert cells(wins_table(rows, is_single_task), "5")[0] == "100 % of 1"
    assert cells(wins_table(rows, is_any_peer), "5")[2] == "-0.100 (a, source mean)"


def test_coverage_comes_with_its_width_and_its_width_at_the_promise(result) -> None:
    rows = [result(coverage=0.8, width=1.0, width_at_90=1.5), result(contestant="x", kind="ranking", coverage=math.nan)]

    assert cells(coverage_table(rows), "Archcast") == ["0.80 / 1.00 / 1.50"]
    assert cells(coverage_table(rows), "x") == ["– / 2.00 / 2.00"]


def test_a_report_has_each_way_of_choosing_supports_and_each_group_by_itself(result) -> None:
    rows = [
        result(case=case, groups=groups, selection=selection)
        for case, groups in (("a", "HELP|FD"), ("b", "HELP"))
        for selection in ("random", "own", "diverse")
    ]

    text = protocol_report(rows, "P3: new device")

    assert text.count("HELP: Kendall τ, mean over 2 tasks") == 3
    assert "FD: Kendall τ" not in text  # one task is told by itself
    for expected in ("at random\n", "at random, asked whatever", "to be diverse", "**a**", "**b**"):
        assert expected in text


def test_a_plot_is_drawn_even_of_a_single_seed(result, tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="plots are an optional extra")
    rows = [result(seed=seed, num_observations=size) for seed in (0, 1) for size in (0, 5)]
    rows += [result(contestant="ridge", kind="single-task", num_observations=5)]
    path = tmp_path / "plots" / "P1.png"

    plot_against_observations(rows, "new task", path)

    assert path.read_bytes().startswith(b"\x89PNG")


def test_warnings_of_errors_stand_side_by_side_and_who_gives_none_has_no_row(result) -> None:
    rows = [result(std_error_rho=0.25, ood_error_rho=0.5)]
    rows += [result(contestant="x", std_error_rho=0.25, ood_error_rho=math.nan)]
    rows += [result(contestant="ridge", kind="single-task", std_error_rho=math.nan, ood_error_rho=math.nan)]

    text = warnings_table(rows)

    assert cells(text, "Archcast") == ["0.25 / 0.50"]
    assert cells(text, "x") == ["0.25 / –"]
    assert "ridge" not in text
