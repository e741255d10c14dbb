"""Searches of several fidelities on a small table that is made here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from known_values import convolutions_in

from predictor.architecture import Architecture
from predictor.benchmarks.base import BenchmarkTask
from predictor.benchmarks.protocols import EVERYTHING, Case
from predictor.contest.search_cases import SearchedTask
from predictor.contest.searchers import MEASURED, check_patterns, is_climbing, measuring, ours, refusal_of, settings_for
from predictor.errors import BenchmarkError, SearchError
from predictor.search.base import Proposal
from predictor.search.registry import make_strategy, strategies
from predictor.search.rungs import ladder
from predictor.search_spaces.transnas_micro import TransNASMicro
from predictor.tasks import Metric, Task

WHOLE = TransNASMicro()
EVERY = list(WHOLE.enumerate())
SOME = EVERY[5::8]  # hundreds of different networks
CLIMBING = ("successive_halving", "hyperband", "asha")


def searched(epochs: tuple[float, ...], full: float | None, cells: Sequence[Architecture] = SOME) -> SearchedTask:
    """Small budgets say a share of what the full one says, and other metrics something else."""
    values = np.array([50.0 + convolutions_in(one) + 0.001 * number for number, one in enumerate(cells)])
    fidelities = {f"accuracy_{level:g}_epochs": values * level / 1_000 for level in epochs}
    fidelities |= {f"loss_{level:g}_epochs": -values for level in epochs}
    levels = {name: float(name.split("_")[1]) for name in fidelities}
    table = BenchmarkTask(
        Task(WHOLE.name, "here", Metric("accuracy", "%", "maximize")),
        "made here",
        WHOLE,
        tuple(WHOLE.format(one) for one in cells),
        np.arange(len(cells)),
        values,
        fidelities=fidelities,
        fidelity_levels=levels,
        max_fidelity=full,
    )
    return SearchedTask(Case("here", "here", None, EVERYTHING, ()), table)


@pytest.fixture(scope="module")
def like_101() -> SearchedTask:
    return searched((4.0, 36.0, 12.0), 108.0)


@pytest.fixture(scope="module")
def like_201() -> SearchedTask:
    return searched((12.0,), 200.0)


def test_a_rung_is_answered_by_the_tables_own_metric_and_costs_its_epochs(like_201) -> None:
    cell, value = like_201.measured.architectures[3], like_201.measured.values[3]

    low, full = (like_201.fidelities(Proposal(cell, fidelity)) for fidelity in (1 / 16, 1.0))

    assert low.values == pytest.approx((value * 12 / 1_000,))
    assert low.fidelity == 1 / 16
    assert full.values == pytest.approx((value,))
    assert [like_201.fidelities.cost(fidelity) for fidelity in (1 / 16, 0.5, 1.0)] == [0.06, 0.06, 1.0]
    with pytest.raises(BenchmarkError, match=r"at least 0\.06"):
        like_201.fidelities.cost(0.05)


def test_the_ladder_is_that_of_the_table(like_101, like_201) -> None:
    long, short = like_101.fidelities.rungs(with_first=True), like_201.fidelities.rungs(with_first=True)

    assert ladder(long["eta"], long["min_fidelity"]) == pytest.approx((1 / 27, 1 / 9, 1 / 3, 1.0))  # type: ignore[arg-type]
    assert ladder(short["eta"], short["min_fidelity"]) == pytest.approx((1 / 16, 1.0))  # type: ignore[arg-type]
    assert (long["num_first"], short["num_first"]) == (27, 64)
    costs = [like_101.fidelities.cost(one) for one in ladder(3, 1 / 27)]
    assert costs == pytest.approx([4 / 108, 12 / 108, 36 / 108, 1.0])


@pytest.mark.parametrize(("epochs", "full"), [((), 108.0), ((4.0,), None)])
def test_where_no_smaller_budget_is_known_climbing_is_refused(epochs, full) -> None:
    asked = searched(epochs, full, SOME[:40])

    for name in CLIMBING:
        assert "smaller budgets" in str(measuring(name).refusal(asked))
    assert measuring("random").refusal(asked) is None


@pytest.mark.parametrize("name", CLIMBING)
def test_what_climbs_pays_for_every_rung_and_is_judged_by_full_trainings(like_101, name: str) -> None:
    result = measuring(name).result("task", like_101, 20, seed=1)

    full = set(like_101.measured.values)
    assert result.values
    assert set(result.values) <= full
    assert len(result.costs) == len(result.values)
    assert result.costs == sorted(result.costs)
    assert 1.0 < result.costs[0] <= 20.0  # others were tried on lower rungs before
    assert max(result.costs) <= 20.0 + 1e-6
    assert len(result.values) < 20
    assert result.values[-1] == like_101.optimum or result.costs[-1] > 15.0
    regrets = result.regrets(20)
    assert np.isinf(regrets[: int(np.ceil(result.costs[0])) - 1]).all()
    assert np.isfinite(regrets[-1])


def test_successive_halving_spends_what_its_bracket_costs(like_101) -> None:
    """27, 9, 3 and 1 on rungs of 4, 12, 36 and 108 epochs: 1 full training each."""
    result = measuring("successive_halving").result("task", like_101, 8, seed=0)

    assert result.costs == pytest.approx([4.0, 8.0])


@pytest.mark.parametrize("name", [*CLIMBING, "asha, promoted by forecast"])
def test_with_forecasts_newcomers_are_chosen_and_costs_counted_alike(like_201, tiny_meta, name: str) -> None:
    own = {one.name: one for one in ours(tiny_meta)}[f"Archcast, {name}"]

    result = own.result("task", like_201, 8, seed=0)

    assert own.refusal(like_201) is None
    assert result.values
    assert result.values[-1] == like_201.optimum or 4.0 < result.costs[-1] <= 8.0 + 1e-6
    # each full training followed at least one of the lower rung, unless its bracket has none (hyperband)
    least = 1.06 if name != "hyperband" else 1.0
    assert result.costs[0] >= least


def test_costs_come_back_from_files_and_files_without_them_are_still_read(like_101, tmp_path) -> None:
    import pyarrow.parquet as pq

    from predictor.contest.search_results import SearchKey, SearchResults

    store, result = SearchResults(tmp_path), measuring("asha").result("task", like_101, 12, seed=0)
    plain = measuring("random").result("task", like_101, 12, seed=0)
    for one in (result, plain):
        store.save(one)
    path = store.path(SearchKey("task", "here", "random", 0))
    pq.write_table(pq.read_table(path).drop_columns("costs"), path)

    assert {one.searcher: one for one in store.load()} == {"asha": result, "random": plain}
    assert plain.costs == []


def test_every_strategy_of_the_registry_is_a_row_with_or_without_forecasts(tiny_meta) -> None:
    rows = {strategy for strategy, _ in MEASURED.values()}
    with_forecasts = {one.search.strategy: one for one in ours(tiny_meta)}  # type: ignore[attr-defined]

    needing = {name for name, info in strategies().items() if info.needs_forecaster}
    assert rows == set(strategies()) - needing
    assert needing <= set(with_forecasts)
    assert {name for name in strategies() if is_climbing(name)} == set(CLIMBING)


def test_the_controller_is_trained_by_reinforce_where_its_row_says_so(like_201) -> None:
    strategy, settings = MEASURED["controller, REINFORCE"]

    assert settings == {"algorithm": "reinforce"}
    assert settings_for(strategy, settings, like_201) == settings
    assert measuring("controller").fingerprint != measuring("controller, REINFORCE").fingerprint
    whole = searched((), None, EVERY)
    made = make_strategy(strategy, whole.problem, settings)
    assert made.state()["settings"]["algorithm"] == "reinforce"
    assert len(measuring("controller, REINFORCE").result("task", whole, 10, 0).values) <= 10


@pytest.mark.parametrize("name", ["controller", "controller, REINFORCE", "q_learning", "has"])
def test_what_needs_decisions_is_refused_on_a_part_of_a_space(like_201, tiny_meta, name: str) -> None:
    own = {one.name: one for one in ours(tiny_meta)}
    inside = "Archcast, hierarchical" if name == "has" else f"Archcast, guided {name}"

    assert "only some of them are listed" in str(measuring(name).refusal(like_201))
    assert "only some of them are listed" in str(own[inside].refusal(like_201))
    assert refusal_of("guided", {"inner": "evolution"}, like_201) is None


def test_patterns_that_fit_nobody_are_named() -> None:
    check_patterns(["*", "ours", "hyperband", "Archcast, guided q*", "Optuna*"])

    with pytest.raises(SearchError, match="got 'nobody'"):
        check_patterns(["random", "nobody"])
    with pytest.raises(SearchError, match=r"got 'gradient', which needs forecasts: 'Archcast, gradient'"):
        check_patterns(["gradient"])
