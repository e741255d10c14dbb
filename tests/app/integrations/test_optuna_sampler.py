"""Real Optuna studies against a running service."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from app.client import Client  # noqa: E402
from app.integrations.optuna_sampler import TOLD, ArchcastSampler  # noqa: E402

SPACE = {
    "layers": IntDistribution(1, 6),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "dropout": FloatDistribution(0.0, 0.5, step=0.1),
    "norm/kind": CategoricalDistribution(["batch", "layer", None]),
    "fixed": IntDistribution(3, 3),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    gc.collect()  # studies are circles: their samplers' connections are closed here, and not in another test
    optuna.logging.set_verbosity(optuna.logging.INFO)


@pytest.fixture
def service(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


def objective(trial: Any) -> float:
    layers = trial.suggest_int("layers", 1, 6)
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    dropout = trial.suggest_float("dropout", 0.0, 0.5, step=0.1)
    kind = trial.suggest_categorical("norm/kind", ["batch", "layer", None])
    trial.suggest_int("fixed", 3, 3)
    return float(layers - 10 * rate - dropout + (kind == "layer"))


def only_task(service: Client) -> str:
    (task,) = [one["name"] for one in service.tasks() if one["name"].startswith("optuna-")]
    return str(task)


def states(service: Client) -> list[str]:
    return [one["state"] for one in service.trials(only_task(service))]


def values(service: Client) -> list[float]:
    return sorted(one["value"] for one in service.observations(only_task(service), status="ok"))


def test_what_optuna_measures_was_asked_for_and_is_told(url: str, service: Client) -> None:
    study = optuna.create_study(direction="maximize", sampler=ArchcastSampler(url, search_space=SPACE))

    study.optimize(objective, n_trials=6)

    assert states(service) == ["completed"] * 6
    assert values(service) == sorted(trial.value for trial in study.trials)
    task = service.task(only_task(service))
    assert task["metric"]["direction"] == "maximize"
    best = service.best(task["name"], 1)["items"][0]
    assert best["mean"] == study.best_value
    assert all(trial.params["fixed"] == 3 for trial in study.trials)


def test_without_a_space_it_is_what_completed_trials_share_and_they_are_told_too(url: str, service: Client) -> None:
    study = optuna.create_study(sampler=ArchcastSampler(url))

    study.optimize(objective, n_trials=4)

    assert states(service) == ["completed"] * 3
    assert values(service) == sorted(trial.value for trial in study.trials)
    assert service.task(only_task(service))["metric"]["direction"] == "minimize"


def test_a_failure_returns_to_the_pool_and_is_asked_for_again(url: str, service: Client) -> None:
    study = optuna.create_study(sampler=ArchcastSampler(url, search_space=SPACE))
    seen: list[dict[str, Any]] = []

    def failing_once(trial: Any) -> float:
        value = objective(trial)
        seen.append(dict(trial.params))
        if len(seen) == 1:
            raise RuntimeError("out of memory")
        return value

    study.optimize(failing_once, n_trials=2, catch=(RuntimeError,))

    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert seen[0] == seen[1]
    assert states(service) == ["completed"]


def pruned_at_the_second_step(trial: Any) -> float:
    objective(trial)
    trial.report(0.25, 0)
    trial.report(0.5, 1)
    raise optuna.TrialPruned


def test_a_pruned_trial_is_told_as_far_as_it_came(url: str, service: Client) -> None:
    study = optuna.create_study(sampler=ArchcastSampler(url, search_space=SPACE, max_fidelity=9))

    study.optimize(pruned_at_the_second_step, n_trials=1)

    told = [(one["fidelity"], one["value"]) for one in service.observations(only_task(service))]
    assert told == [(1.0, 0.25), (2.0, 0.5)]
    assert states(service) == ["completed"]


def test_without_a_final_fidelity_a_pruned_trial_has_failed_for_good(url: str, service: Client) -> None:
    study = optuna.create_study(sampler=ArchcastSampler(url, search_space=SPACE))

    study.optimize(pruned_at_the_second_step, n_trials=1)

    assert states(service) == ["failed"]


def test_an_infinite_value_fails_the_trial_and_the_study_goes_on(url: str, service: Client) -> None:
    study = optuna.create_study(sampler=ArchcastSampler(url, search_space=SPACE))

    study.optimize(lambda trial: objective(trial) * float("inf"), n_trials=1)
    study.optimize(objective, n_trials=1)

    assert states(service) == ["failed", "completed"]


def test_enqueued_parameters_are_tried_and_told(url: str, service: Client) -> None:
    study = optuna.create_study(sampler=ArchcastSampler(url, search_space=SPACE))
    wanted = {"layers": 2, "rate": 0.01, "dropout": 0.30000000000000004, "norm/kind": None, "fixed": 3}
    study.enqueue_trial(wanted)

    study.optimize(objective, n_trials=2)

    assert study.trials[0].params["layers"] == 2
    assert study.trials[0].value in values(service)
    assert len(values(service)) == 2


def test_several_workers_share_a_study_and_no_two_measure_the_same(url: str, service: Client, tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'optuna.sqlite3'}"
    optuna.create_study(study_name="shared", storage=storage)

    def work() -> None:
        sampler = ArchcastSampler(url, search_space=SPACE)
        optuna.load_study(study_name="shared", storage=storage, sampler=sampler).optimize(
            objective, n_trials=4, n_jobs=2
        )

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    trials = optuna.load_study(study_name="shared", storage=storage).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 8
    assert len({str(trial.params) for trial in trials}) == 8
    assert values(service) == sorted(trial.value for trial in trials)
    assert all(trial.system_attrs[TOLD] == only_task(service) for trial in trials)


def test_a_small_space_that_is_used_up_goes_on_at_random(url: str, service: Client) -> None:
    space = {"layers": IntDistribution(1, 2)}
    study = optuna.create_study(sampler=ArchcastSampler(url, search_space=space))

    study.optimize(lambda trial: float(trial.suggest_int("layers", 1, 2)), n_trials=4)

    assert sorted(trial.params["layers"] for trial in study.trials)[:1] == [1]
    assert states(service) == ["completed"] * 2


def test_several_objectives_are_refused(url: str) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=ArchcastSampler(url, search_space=SPACE))

    with pytest.raises(ValueError, match="expected a study of one objective, got one of 2"):
        study.optimize(lambda trial: (objective(trial), 2.0), n_trials=1)


def test_what_could_not_be_told_is_told_with_the_next_question(
    url: str, service: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.client import ClientError

    sampler = ArchcastSampler(url, search_space=SPACE)
    study = optuna.create_study(sampler=sampler)
    with monkeypatch.context() as away:
        away.setattr(sampler._client, "complete", lambda *_: (_ for _ in ()).throw(ClientError("away")))
        study.optimize(objective, n_trials=1)
    assert values(service) == []

    study.optimize(objective, n_trials=1)

    assert values(service) == sorted(trial.value for trial in study.trials)
