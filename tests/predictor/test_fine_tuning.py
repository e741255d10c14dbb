from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from predictor.benchmarks.measured_cells import SHIPPED_FOLDER
from predictor.checkpoint import from_bytes
from predictor.fine_tuning import (
    Cancelled,
    FineTuneCheckpoints,
    FineTuneConfig,
    FineTuneResult,
    LoggedCase,
    compare,
    fine_tune,
    verdict,
)
from predictor.meta_predictor import MetaPredictor
from predictor.scoring import PairedComparison
from predictor.tasks import MeasuredTask, Metric, SupportSet, Task

QUICK = FineTuneConfig(num_steps=2, tasks_per_batch=2, replay=False, device="cpu")


def comparison(difference: float, error: float, pairs: int = 10) -> PairedComparison:
    return PairedComparison(pairs, 1.0, 1.0 + difference, difference, error)


def test_better_on_one_and_worse_on_none_is_promoted() -> None:
    is_better, reason = verdict({"likelihood": comparison(0.5, 0.1), "tau": comparison(0.0, 0.1)})

    assert is_better
    assert "better on likelihood, worse on none" in reason
    assert "likelihood 1.000 -> 1.500 (±0.100, 10 pairs)" in reason


def test_worse_on_one_is_not_promoted_however_good_the_rest() -> None:
    is_better, reason = verdict({"likelihood": comparison(5.0, 0.1), "tau": comparison(-0.3, 0.1)})

    assert not is_better
    assert "worse on tau" in reason


@pytest.mark.parametrize(("gain", "pairs"), [(0.05, 10), (0.16, 10), (5.0, 9)])
def test_a_gain_that_chance_explains_is_none(gain, pairs) -> None:
    is_better, reason = verdict({"likelihood": comparison(gain, 0.1, pairs), "tau": comparison(-0.09, 0.1)})

    assert not is_better
    assert "no gain beyond chance" in reason


def test_a_gain_just_beyond_chance_counts() -> None:
    assert verdict({"likelihood": comparison(0.17, 0.1, 10), "tau": comparison(-0.09, 0.1)})[0]


@pytest.mark.parametrize("comparisons", [{}, {"tau": PairedComparison.of([], [])}, {"tau": comparison(9.0, 0.0, 1)}])
def test_without_pairs_nothing_is_promoted(comparisons) -> None:
    is_better, reason = verdict(comparisons)

    assert not is_better
    assert "got none" in reason


def test_a_comparison_that_is_no_number_counts_as_worse() -> None:
    is_better, reason = verdict({"likelihood": comparison(math.nan, math.nan), "tau": comparison(0.5, 0.1)})

    assert not is_better
    assert "worse on likelihood" in reason


@pytest.fixture(scope="module")
def measured(space, cells, support_of, convolutions) -> list[MeasuredTask]:
    task = Task("nasbench201", "mine", Metric("accuracy", "%", "maximize"))
    return [MeasuredTask(task, space, support_of(cells[:80], convolutions))]


@pytest.fixture(scope="module")
def logged(cells, support_of, convolutions) -> list[LoggedCase]:
    support = support_of(cells[100:106], convolutions)
    return [LoggedCase(0, support, cell, convolutions(cell)) for cell in cells[106:112]]


def test_a_candidate_comes_back_judged_and_the_champion_stays_as_it_was(tiny_meta, measured, logged) -> None:
    before, progress = tiny_meta.to_bytes(), list[float]()

    result = fine_tune(tiny_meta, measured, logged, QUICK, lambda percent, _stage: progress.append(percent))

    assert (
        MetaPredictor(
            tiny_meta.surrogate, tiny_meta.log_step_sizes, tiny_meta.default_reference, tiny_meta.manifest
        ).to_bytes()
        == before
    )
    candidate = MetaPredictor.from_bytes(result.weights, result.manifest)
    assert candidate.version != tiny_meta.version
    assert candidate.manifest["parent"] == tiny_meta.version
    assert candidate.manifest["priors"] == tiny_meta.manifest["priors"]
    assert candidate.manifest["fine_tuned_on"] == ["nasbench201/mine/accuracy"]
    assert result.comparison["logged_log_likelihood"]["num_pairs"] == 6
    assert result.comparison["episodes_kendall_tau"]["num_pairs"] == 6
    assert progress == sorted(progress)
    assert progress[0] == 0.0
    assert progress[-1] == 100.0
    assert any(0 < percent <= 70 for percent in progress)


def test_what_it_is_judged_by_takes_no_part_in_training(tiny_meta, measured, cells) -> None:
    """Other values of held-out architectures make the same candidate bit for bit; other values of the rest do not."""
    held_out = [int(cell.hash[:8], 16) / 2**32 < 0.3 for cell in cells[:80]]

    def candidate(of: bool) -> bytes:
        values = tuple(
            value + 7.0 * place * (side == of)
            for place, (value, side) in enumerate(zip(measured[0].measured.values, held_out, strict=True))
        )
        changed = SupportSet(measured[0].measured.architectures, values, measured[0].measured.counts)
        return fine_tune(tiny_meta, [MeasuredTask(measured[0].task, measured[0].space, changed)], [], QUICK).weights

    assert 10 < sum(held_out) < 40
    plain = fine_tune(tiny_meta, measured, [], QUICK).weights
    assert candidate(of=True) == plain
    assert candidate(of=False) != plain


def test_without_anything_to_learn_from_the_champion_is_its_own_candidate(tiny_meta, measured) -> None:
    few = [MeasuredTask(measured[0].task, measured[0].space, measured[0].measured.select(range(5)))]

    result = fine_tune(tiny_meta, few, [], QUICK)

    assert result.weights == tiny_meta.to_bytes()
    assert not result.is_better
    assert "got none" in result.reason


@pytest.mark.parametrize("patience", [0, 1, 3, 8])
def test_it_stops_when_it_is_told_to(tiny_meta, measured, logged, patience) -> None:
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > patience

    with pytest.raises(Cancelled):
        fine_tune(tiny_meta, measured, logged, QUICK, should_stop=should_stop)


def test_with_replay_the_shipped_tasks_take_part_but_for_those_kept_out(tiny_meta, measured) -> None:
    if not (SHIPPED_FOLDER / "measured_cells.parquet").is_file():
        pytest.skip("needs the benchmark that ships with the package (scripts/measure_cells.py makes it)")
    config = FineTuneConfig(num_steps=1, tasks_per_batch=2, replay=True, device="cpu")

    result = fine_tune(tiny_meta, measured, [], config)

    assert "nasbench201/mine/accuracy" in result.manifest["fine_tuned_on"]
    assert any("photo_regions" in name for name in result.manifest["fine_tuned_on"])
    assert "nasbench201/digits/accuracy" not in result.manifest["fine_tuned_on"]
    assert np.isfinite(result.comparison["episodes_kendall_tau"]["difference"])


LONGER = replace(QUICK, num_steps=6, checkpoint_every=2)


def saved_until(step: int, tiny_meta, measured) -> bytes:
    """The last checkpoint of a fine-tune that was told to stop after so many steps."""
    saved: dict[int, bytes] = {}
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) >= step

    with pytest.raises(Cancelled):
        fine_tune(
            tiny_meta, measured, [], LONGER, should_stop=should_stop, checkpoints=FineTuneCheckpoints(saved.__setitem__)
        )
    return saved[max(saved)]


@pytest.fixture(scope="module")
def whole(tiny_meta, measured) -> FineTuneResult:
    """What comes out without any interruption."""
    return fine_tune(tiny_meta, measured, [], LONGER)


def test_what_goes_on_from_a_checkpoint_comes_out_as_without_the_interruption(tiny_meta, measured, whole) -> None:
    step = 3
    stages: list[str] = []

    resumed = fine_tune(
        tiny_meta,
        measured,
        [],
        LONGER,
        lambda _percent, stage: stages.append(stage),
        checkpoints=FineTuneCheckpoints(last=saved_until(step, tiny_meta, measured)),
    )

    assert f"going on from step {step}" in stages
    assert sum("outer loop" in stage for stage in stages) == LONGER.num_steps - step
    expected, found = from_bytes(whole.weights), from_bytes(resumed.weights)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-7)
    assert (resumed.is_better, resumed.manifest["data_hash"]) == (whole.is_better, whole.manifest["data_hash"])


def test_it_is_saved_every_so_many_steps_and_at_the_end(tiny_meta, measured) -> None:
    steps: list[int] = []

    fine_tune(
        tiny_meta,
        measured,
        [],
        replace(LONGER, num_steps=5),
        checkpoints=FineTuneCheckpoints(lambda step, _content: steps.append(step)),
    )

    assert steps == [2, 4, 5]


@pytest.mark.parametrize("what", ["settings", "data", "nonsense"])
def test_a_checkpoint_of_something_else_is_not_gone_on_from(tiny_meta, measured, whole, what) -> None:
    saved = saved_until(2, tiny_meta, measured)
    config = replace(LONGER, seed=1) if what == "settings" else LONGER
    fewer = [MeasuredTask(measured[0].task, measured[0].space, measured[0].measured.select(range(70)))]
    tasks = fewer if what == "data" else measured
    stages: list[str] = []

    result = fine_tune(
        tiny_meta,
        tasks,
        [],
        config,
        lambda _percent, stage: stages.append(stage),
        checkpoints=FineTuneCheckpoints(last=b"nonsense" if what == "nonsense" else saved),
    )

    assert any("cannot go on from the checkpoint" in stage for stage in stages)
    assert sum("outer loop" in stage for stage in stages) == LONGER.num_steps
    assert (result.weights == whole.weights) == (what == "nonsense")


def test_the_manifest_says_what_went_in_and_how_it_did(tiny_meta, measured) -> None:
    manifest = fine_tune(tiny_meta, measured, [], QUICK).manifest

    assert (manifest["parent"], len(manifest["data_hash"])) == (tiny_meta.version, 32)
    assert set(manifest["metrics"]) == {"nasbench201/mine/accuracy"}
    assert set(manifest["metrics"]["nasbench201/mine/accuracy"]["5"]) == {"kendall_tau", "nll", "coverage"}


def test_a_version_compared_with_itself_is_neither_better_nor_worse(tiny_meta, measured, logged) -> None:
    judged = compare(tiny_meta, tiny_meta, measured, logged)

    assert {name: (one.num_pairs, one.difference) for name, one in judged.comparisons.items()} == {
        "episodes_log_likelihood": (6, 0.0),
        "episodes_kendall_tau": (6, 0.0),
        "logged_log_likelihood": (6, 0.0),
    }


@pytest.mark.parametrize("wrong", [{"num_steps": -1}, {"tasks_per_batch": 0}, {"checkpoint_every": 0}, {"seed": -1}])
def test_settings_out_of_range_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match=f"expected {next(iter(wrong))} to be at least"):
        FineTuneConfig(**wrong)


def test_what_is_known_of_all_spaces_is_kept(universal_meta, measured, cells) -> None:
    result = fine_tune(universal_meta, measured, [], QUICK)

    candidate = MetaPredictor.from_bytes(result.weights, result.manifest)
    assert candidate.version != universal_meta.version
    assert candidate.universal.sizes == universal_meta.universal.sizes == candidate.manifest["universal_mean"]
    assert all(
        torch.equal(value, candidate.universal.tensors()[name])
        for name, value in universal_meta.universal.tensors().items()
    )
