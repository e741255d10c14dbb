"""Continue or stop, on a task with learning curves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

both_engines = pytest.mark.both_engines

Document = dict[str, Any]
Do = Callable[..., Any]

TRIALS = "/v1/tasks/digits/trials"
FINALS = [0.50, 0.60, 0.70, 0.80, 0.85, 0.90]


def early_of(final: float, number: int = 0) -> float:
    """Half of the final value after 5 of 20 epochs, give or take a thousandth."""
    return 0.5 * final + (0.001 if number % 2 else -0.001)


@pytest.fixture
def advise(client: TestClient) -> Callable[..., Document]:
    def ask(trial: Document, **query: Any) -> Document:
        answer = client.get(f"{TRIALS}/{trial['id']}/advice", params=query)
        assert answer.status_code == 200, answer.text
        document: Document = answer.json()
        return document

    return ask


@pytest.fixture
def curves(task: object, observe: Do, space: list[Document]) -> None:
    """Six finished architectures: half of the final value is there after 5 epochs."""
    observe("digits", space[:6], FINALS, fidelity=20)
    observe("digits", space[:6], [early_of(final, number) for number, final in enumerate(FINALS)], fidelity=5)


@pytest.fixture
def trial(client: TestClient, task: object, suggest: Do, space: list[Document]) -> Document:
    """A trial of an architecture that nothing is known of, out at a worker; there is no champion, so no forecast either."""
    client.post(TRIALS, json={"architectures": [space[40]["genotype"]]})
    (handed_out,) = suggest("anna")
    return handed_out


@both_engines
def test_a_hopeless_curve_is_to_be_stopped(curves: None, advise: Do, report: Do, trial: Document) -> None:
    report("heartbeat", trial, observations=[{"value": early_of(0.62), "fidelity": 5}])

    advice = advise(trial)

    assert (advice["advice"], advice["method"], advice["num_curves"]) == ("stop", "learning_curves", 6)
    assert advice["forecast"]["mean"] == pytest.approx(0.62, abs=0.02)
    assert advice["probability"] < advice["threshold"] == 0.05
    assert (advice["best_measured"], advice["fidelity"]) == (0.9, 5.0)
    assert advice["intermediate"] == [{"fidelity": 5.0, "value": pytest.approx(early_of(0.62))}]
    assert "better than 0.9" in advice["because"]


def test_a_promising_curve_goes_on(curves: None, advise: Do, report: Do, trial: Document) -> None:
    report("heartbeat", trial, observations=[{"value": early_of(0.93), "fidelity": 5}])

    advice = advise(trial)

    assert advice["advice"] == "continue"
    assert advice["probability"] > 0.5


def test_the_threshold_decides(curves: None, advise: Do, report: Do, trial: Document) -> None:
    report("heartbeat", trial, observations=[{"value": early_of(0.9), "fidelity": 5}])
    probability = advise(trial)["probability"]

    assert 0.05 < probability < 0.95
    assert advise(trial, threshold=probability + 0.01)["advice"] == "stop"
    assert advise(trial, threshold=probability - 0.01)["advice"] == "continue"


def test_where_small_values_are_better_large_ones_are_stopped(
    client: TestClient, post_task: Do, observe: Do, space: list[Document]
) -> None:
    post_task(
        "loss", search_space="tiny", max_fidelity=20, metric={"name": "loss", "unit": "nat", "direction": "minimize"}
    )
    observe("loss", space[:6], FINALS, fidelity=20)
    observe("loss", space[:6], [early_of(final, number) for number, final in enumerate(FINALS)], fidelity=5)
    client.post("/v1/tasks/loss/trials", json={"architectures": [space[40]["genotype"], space[41]["genotype"]]})
    trials = client.post("/v1/tasks/loss/trials:suggest", json={"worker_id": "a", "count": 2}).json()["trials"]

    found = []
    for trial, final in zip(trials, (0.4, 0.85), strict=True):
        path = f"/v1/tasks/loss/trials/{trial['id']}"
        body = {"lease_token": trial["lease_token"], "observations": [{"value": early_of(final), "fidelity": 5}]}
        client.post(f"{path}:heartbeat", json=body)
        found.append(client.get(f"{path}/advice").json()["advice"])

    assert found == ["continue", "stop"]


def test_without_an_early_value_it_goes_on(curves: None, advise: Do, trial: Document) -> None:
    advice = advise(trial, threshold=1.0)

    assert (advice["advice"], advice["method"], advice["forecast"]) == ("continue", "none", None)
    assert advice["because"] == "no intermediate value of it was reported yet"


def test_without_anything_finished_it_goes_on(advise: Do, report: Do, trial: Document) -> None:
    report("heartbeat", trial, observations=[{"value": 0.1, "fidelity": 5}])

    advice = advise(trial, threshold=1.0)

    assert (advice["advice"], advice["method"], advice["best_measured"]) == ("continue", "none", None)
    assert advice["because"] == "no other architecture has a final value to compare with yet"


def test_with_too_few_finished_curves_it_goes_on(
    advise: Do, report: Do, observe: Do, space: list[Document], trial: Document
) -> None:
    observe("digits", space[:4], FINALS[:4], fidelity=20)
    observe("digits", space[:4], [early_of(final) for final in FINALS[:4]], fidelity=5)
    observe("digits", space[4:10], [0.1] * 6, fidelity=5)  # not finished
    report("heartbeat", trial, observations=[{"value": 0.01, "fidelity": 5}])

    advice = advise(trial)

    assert (advice["advice"], advice["method"], advice["num_curves"]) == ("continue", "none", 0)
    assert advice["because"].startswith("fewer than 5 other architectures")


def test_the_highest_fidelity_that_others_have_too_decides(
    curves: None, advise: Do, report: Do, trial: Document
) -> None:
    early = [{"value": early_of(0.93), "fidelity": 5}, {"value": 0.1, "fidelity": 7}]
    report("heartbeat", trial, observations=early)

    assert advise(trial)["fidelity"] == 5.0  # nobody else has a value at 7


def test_a_trial_that_has_ended_needs_no_advice(client: TestClient, report: Do, trial: Document) -> None:
    report("complete", trial, observations=[{"value": 0.5}])

    answer = client.get(f"{TRIALS}/{trial['id']}/advice")

    assert (answer.status_code, client.get(f"{TRIALS}/99/advice").status_code) == (409, 404)
    assert "which is completed" in answer.json()["detail"]


@pytest.mark.parametrize("threshold", ["-0.1", "1.1", "nan", "inf", "much"])
def test_impossible_thresholds_are_refused(client: TestClient, trial: Document, threshold: str) -> None:
    assert client.get(f"{TRIALS}/{trial['id']}/advice", params={"threshold": threshold}).status_code == 422


def test_what_the_surrogate_expected_before_counts(
    champion: object, curves: None, advise: Do, report: Do, run_adaptations: Do, suggest: Do
) -> None:
    run_adaptations()
    (trial,) = suggest("anna")
    report("heartbeat", trial, observations=[{"value": early_of(0.62), "fidelity": 5}])

    before = advise(trial)
    run_adaptations()  # has seen the early value: what it says from now on must not count it twice
    after = advise(trial)

    assert after["forecast"] == pytest.approx(before["forecast"], rel=1e-6)
    assert before["method"] == "learning_curves"
    assert before["forecast"]["std"] <= trial["forecast"]["std"]


def test_where_few_are_finished_an_adaptation_that_has_seen_the_fidelity_answers(
    champion: object, task: object, client: TestClient, advise: Do, report: Do, observe: Do, run_adaptations: Do,
    suggest: Do, space: list[Document],
) -> None:  # fmt: skip
    (trial,) = suggest("anna")
    others = [one for one in space if one["id"] != trial["architecture_id"]]
    observe("digits", others[:4], [0.5, 0.6, 0.7, 0.8], fidelity=20)
    observe("digits", others[4:30], [0.01 * number for number in range(26)], fidelity=5)
    report("heartbeat", trial, observations=[{"value": 0.0, "fidelity": 5}])

    stale = advise(trial)
    run_adaptations()
    advice = advise(trial)

    body = {"architectures": [trial["genotype"]]}
    (forecast,) = client.post("/v1/tasks/digits/predictions", json=body).json()["predictions"]
    assert stale["method"] == "none"
    assert (advice["method"], advice["fidelity"]) == ("adaptation", 5.0)
    assert advice["forecast"] == pytest.approx({"mean": forecast["mean"], "std": forecast["std"]})


def test_the_posterior_is_that_of_a_normal_prior_and_a_linear_normal_likelihood() -> None:
    from app.trials.advice import Curves, Normal

    final = [0.0, 1.0, 2.0, 3.0, 4.0]
    early = [0.1, 0.9, 2.1, 2.9, 4.1]  # slope 1, intercept 0.02; residuals 0.08, -0.12, 0.08, -0.12, 0.08
    noise = (3 * 0.08**2 + 2 * 0.12**2) / 3 * 1.2

    found = Curves(early, final).final_of(2.52, Normal(1.5, 0.5))

    precision = 1 / 0.25 + 1 / noise
    assert found.std == pytest.approx(precision**-0.5)
    assert found.mean == pytest.approx((1.5 / 0.25 + 2.5 / noise) / precision)


@pytest.mark.parametrize("early", [[3.0, 2.0, 1.0, 0.0, -1.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
def test_curves_that_do_not_go_with_final_values_say_nothing(early: list[float]) -> None:
    from app.trials.advice import Curves, Normal

    assert Curves(early, [0.0, 1.0, 2.0, 3.0, 4.0]).final_of(0.0, Normal(1.5, 0.5)) == Normal(1.5, 0.5)


def test_without_an_expectation_what_is_usual_counts() -> None:
    from app.trials.advice import Curves, Normal

    final = [0.0, 1.0, 2.0, 3.0, 4.0]

    assert Curves([1.0] * 5, final).final_of(1.0, None) == Normal(2.0, float(np.std(final, ddof=1)))


@pytest.mark.parametrize(
    ("bound", "is_maximized", "expected"),
    [
        (1.0, True, 0.5),
        (3.0, True, 0.5 * math.erfc(1 / math.sqrt(2.0))),
        (3.0, False, 0.5 * math.erfc(-1 / math.sqrt(2))),
    ],
)
def test_probabilities_are_those_of_the_normal_distribution(bound, is_maximized, expected) -> None:
    from app.trials.advice import Normal

    assert Normal(1.0, 2.0).probability_beyond(bound, is_maximized) == pytest.approx(expected)
    assert Normal(1.0, 0.0).probability_beyond(0.5, True) == 1.0
