from __future__ import annotations

import pytest

from predictor import checkpoint
from predictor.benchmarks.protocols import protocol
from predictor.champion import shipped_champion
from predictor.contest.versions import directory_of, seen, version_for
from predictor.errors import CheckpointError

CASE = protocol("P2S").cases[0]  # NAS-Bench-201 on CIFAR-10, TransNAS left out too


def manifest(trained_on=(), validation=(), **others) -> dict[str, object]:
    return {"trained_on": list(trained_on), "kept_out": {"validation": list(validation), "test": []}, **others}


@pytest.mark.parametrize(
    "leaking",
    [
        manifest(trained_on=["fbnet/imagenet/latency_ms/fpga", "nasbench201/cifar100/accuracy"]),
        manifest(validation=["transnas_micro/taskonomy_jigsaw/val_accuracy"]),
        manifest(fine_tuned_on=[CASE.task]),
    ],
)
def test_whatever_a_version_learned_from_counts_as_seen(leaking) -> None:
    assert len(seen(leaking, CASE)) == 1


def test_what_was_kept_out_for_tests_and_other_spaces_are_no_leak() -> None:
    clean = manifest(trained_on=["fbnet/imagenet/latency_ms/fpga"]) | {
        "kept_out": {"validation": ["mnasnet/imagenet/val_accuracy"], "test": [CASE.task]}
    }

    assert seen(clean, CASE) == ()


@pytest.mark.parametrize("silent", [{}, {"trained_on": []}, {"trained_on": [], "kept_out": {}}])
def test_a_version_that_does_not_say_what_it_saw_is_refused(silent) -> None:
    with pytest.raises(CheckpointError, match="trained_on"):
        seen(silent, CASE)


def test_a_version_that_saw_what_is_asked_is_refused_by_name(tiny_meta, tmp_path) -> None:
    said = {**tiny_meta.manifest, **manifest(trained_on=["nasbench201/cifar100/accuracy"])}
    checkpoint.write(tmp_path / "leaking", tiny_meta.to_bytes(), said)
    checkpoint.write(tmp_path / "clean", tiny_meta.to_bytes(), {**said, "trained_on": []})

    with pytest.raises(CheckpointError, match="nasbench201/cifar100/accuracy"):
        version_for(CASE, tmp_path / "leaking")
    assert version_for(CASE, tmp_path / "clean").version == tiny_meta.version


def test_what_a_version_saw_decides_and_not_the_name_of_its_training(tiny_meta, tmp_path) -> None:
    saw = manifest(trained_on=["transnas_micro/taskonomy_jigsaw/val_accuracy"], leave_out="of_another_name")
    checkpoint.write(tmp_path / "version", tiny_meta.to_bytes(), {**tiny_meta.manifest, **saw})
    literal = protocol("P2").cases[0]

    assert literal.task == CASE.task
    assert version_for(literal, tmp_path / "version").version == tiny_meta.version
    with pytest.raises(CheckpointError, match="jigsaw"):
        version_for(CASE, tmp_path / "version")


def test_versions_lie_in_folders_of_their_trainings_and_the_champion_ships(tiny_meta, tmp_path) -> None:
    checkpoint.write(tmp_path / "p2_fbnet", tiny_meta.to_bytes(), dict(tiny_meta.manifest))

    assert directory_of("p2_fbnet", tmp_path) == tmp_path / "p2_fbnet"
    assert directory_of("p2_mnasnet", tmp_path) is None
    assert directory_of("p2_fbnet", None) is None
    assert directory_of("champion", tmp_path) == shipped_champion()
