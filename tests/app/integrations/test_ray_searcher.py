"""A real Ray Tune experiment against a running service. Ray is large, so it is no part of the development environment."""

from __future__ import annotations

import gc
import math
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    import ray
    from ray import tune
except ImportError:
    pytest.skip("RAY IS NOT INSTALLED, SO THE RAY TUNE SEARCHER IS NOT TESTED", allow_module_level=True)

from app.client import Client
from app.integrations.ray_searcher import ArchcastSearcher, parameter_of

pytestmark = pytest.mark.filterwarnings("ignore:::ray", "ignore::FutureWarning", "ignore::ResourceWarning")

SPACE = {
    "layers": tune.randint(1, 7),
    "optimizer": {"rate": tune.loguniform(1e-4, 1e-1), "kind": tune.choice(["sgd", "adam", None])},
    "dropout": tune.quniform(0.0, 0.5, 0.1),
    "epochs": 3,
}


@pytest.fixture
def service(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client
    gc.collect()


@pytest.fixture
def searcher(url: str) -> Callable[..., ArchcastSearcher]:
    return lambda **more: ArchcastSearcher("accuracy", "max", **{"space": SPACE, "url": url, **more})


def states(service: Client) -> list[str]:
    (task,) = service.tasks()
    return [one["state"] for one in service.trials(task["name"])]


def told(service: Client) -> list[tuple[float | None, float | None]]:
    (task,) = service.tasks()
    return [(one["fidelity"], one["value"]) for one in service.observations(task["name"])]


def test_a_configuration_has_the_shape_of_the_space(service: Client, searcher: Any) -> None:
    asked = searcher()

    config = asked.suggest("one")

    assert 1 <= config["layers"] <= 6
    assert 1e-4 <= config["optimizer"]["rate"] <= 1e-1
    assert config["optimizer"]["kind"] in ("sgd", "adam", None)
    assert math.isclose(config["dropout"] * 10, round(config["dropout"] * 10), abs_tol=1e-9)
    assert config["epochs"] == 3
    asked.on_trial_complete("one", {"accuracy": 0.9})
    assert (states(service), told(service)) == (["completed"], [(None, 0.9)])


def test_a_failure_returns_to_the_pool_and_is_suggested_again(service: Client, searcher: Any) -> None:
    asked = searcher()
    first = asked.suggest("one")

    asked.on_trial_complete("one", error=True)
    again = asked.suggest("two")
    asked.on_trial_complete("two", {"accuracy": 0.5})

    assert again == first
    assert states(service) == ["completed"]


def test_a_trial_without_a_result_is_given_back(service: Client, searcher: Any) -> None:
    asked = searcher()
    asked.suggest("one")

    asked.on_trial_complete("one")

    assert states(service) == ["abandoned"]


def test_a_trial_that_is_stopped_early_is_told_as_far_as_it_came(service: Client, searcher: Any) -> None:
    asked = searcher(max_fidelity=9)
    asked.suggest("one")

    asked.on_trial_result("one", {"accuracy": 0.25, "training_iteration": 1})
    asked.on_trial_complete("one", {"accuracy": 0.5, "training_iteration": 2})

    assert told(service) == [(1.0, 0.25), (2.0, 0.5)]


def test_what_is_out_is_saved_and_restored(service: Client, searcher: Any, tmp_path: Path) -> None:
    before, after = searcher(study="mine"), searcher(study="other")
    before.suggest("one")

    before.save(str(tmp_path / "state.json"))
    after.restore(str(tmp_path / "state.json"))
    after.on_trial_complete("one", {"accuracy": 0.5})

    assert (states(service), told(service)) == (["completed"], [(None, 0.5)])
    before._held.pop("one")._heart.stop()


def test_a_space_that_is_used_up_is_finished(service: Client, searcher: Any) -> None:
    asked = searcher(space={"layers": tune.randint(1, 3)})
    asked.suggest("one"), asked.suggest("two")

    waiting = asked.suggest("three")
    asked.on_trial_complete("one", {"accuracy": 0.5})
    asked.on_trial_complete("two", {"accuracy": 0.6})

    assert waiting is None
    assert asked.suggest("three") == "FINISHED"


def test_it_may_be_stored_with_the_tuner(searcher: Any) -> None:
    stored = pickle.loads(pickle.dumps(searcher(study="mine")))

    assert stored._study == "mine"


@pytest.mark.parametrize(
    "domain", [tune.randn(), tune.sample_from(lambda: 1), tune.qloguniform(1, 10, 0.5)], ids=["normal", "own", "steps"]
)
def test_domains_that_cannot_be_searched_are_refused(domain: Any) -> None:
    with pytest.raises(ValueError, match="of 'rate'"):
        parameter_of("rate", domain)


def test_a_whole_experiment_of_ray_tune(service: Client, url: str, tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> None:
        tune.report({"accuracy": config["layers"] - config["optimizer"]["rate"]})

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=None)
    try:
        results = tune.Tuner(
            objective,
            param_space=SPACE,
            tune_config=tune.TuneConfig(
                search_alg=ArchcastSearcher("accuracy", "max", url=url), num_samples=4, max_concurrent_trials=2
            ),
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        ).fit()
    finally:
        ray.shutdown()

    assert not results.errors
    assert states(service) == ["completed"] * 4
    assert sorted(value for _, value in told(service)) == sorted(one.metrics["accuracy"] for one in results)
