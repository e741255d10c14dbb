"""What workers report, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

both_engines = pytest.mark.both_engines

Document = dict[str, Any]
Do = Callable[..., Any]

TRIALS = "/v1/tasks/digits/trials"
FINAL = [{"value": 0.9, "fidelity": 20, "seed": 0, "cost": 41.5}]
BODIES: dict[str, Document] = {
    "heartbeat": {},
    "complete": {"observations": FINAL},
    "fail": {"reason": "out of memory"},
    "infeasible": {"reason": "no such operation"},
    "abandon": {},
}


@pytest.fixture
def trial(task: object, request_trials: Do, suggest: Do) -> Document:
    """A trial that worker anna has."""
    request_trials(1)
    (handed_out,) = suggest("anna")
    return handed_out


@pytest.fixture(autouse=True)
def _standing_clock(clock: object) -> None:
    """Every test here has the clock stand still."""


def _changes(document: Document) -> list[tuple[str | None, str]]:
    return [(event["from_state"], event["to_state"]) for event in document["history"]]


@both_engines
def test_a_completed_trial_has_its_observations(report: Do, shown: Do, observed: Do, trial: Document) -> None:
    values = [{"value": 0.5, "fidelity": 5}, {"value": 0.9, "seed": 0}, {"value": 0.91, "seed": 1, "cost": 3.0}]

    answer = report("complete", trial, observations=values)

    kept = observed()
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["lease_expires_at"]) == ("completed", None)
    assert answer.json()["observation_ids"] == [one["id"] for one in kept]
    assert [(one["value"], one["fidelity"], one["seed"]) for one in kept] == [
        (0.5, 5.0, None),
        (0.9, None, 0),
        (0.91, None, 1),
    ]
    assert {one["architecture_id"] for one in kept} == {trial["architecture_id"]}
    assert _changes(shown(trial["id"])) == [(None, "requested"), ("requested", "leased"), ("leased", "completed")]


@both_engines
def test_completing_twice_with_the_same_token_is_harmless_and_answers_the_same(
    report: Do, observed: Do, trial: Document
) -> None:
    first = report("complete", trial, observations=FINAL)
    again = report("complete", trial, observations=FINAL)

    assert (again.status_code, again.json()) == (200, first.json())
    assert len(observed()) == 1


@both_engines
def test_completing_again_with_another_value_is_refused(report: Do, observed: Do, trial: Document) -> None:
    report("complete", trial, observations=FINAL)

    again = report("complete", trial, observations=[{"value": 0.1}])

    assert (again.status_code, again.json()["state"]) == (409, "completed")
    assert [one["value"] for one in observed()] == [0.9]


@both_engines
def test_many_who_complete_at_once_record_it_once(report: Do, observed: Do, shown: Do, trial: Document) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: report("complete", trial, observations=FINAL), range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json() == answers[0].json() for answer in answers)
    assert len(observed()) == 1
    assert _changes(shown(trial["id"])).count(("leased", "completed")) == 1


@both_engines
def test_of_many_different_outcomes_at_once_one_wins(report: Do, observed: Do, shown: Do, trial: Document) -> None:
    def end(number: int) -> Any:
        if number % 2:
            return report("fail", trial, reason=f"broken {number}", is_retryable=False)
        return report("complete", trial, observations=[{"value": number / 10}])

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(end, range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    assert len(observed()) == 1
    assert len(shown(trial["id"])["history"]) == 3


@both_engines
def test_what_cannot_be_recorded_leaves_the_trial_as_it_was(
    report: Do, shown: Do, observed: Do, trial: Document
) -> None:
    answer = report("complete", trial, observations=[{"value": 0.9}, {"value": 0.8}])  # which of them is it?

    assert answer.status_code == 409
    assert (shown(trial["id"])["state"], observed()) == ("leased", [])
    assert report("complete", trial, observations=FINAL).status_code == 200


@both_engines
def test_a_heartbeat_extends_the_lease(clock: Any, report: Do, trial: Document) -> None:
    clock.move(400.0)

    kept = report("heartbeat", trial).json()
    longer = report("heartbeat", trial, lease_seconds=3600.0).json()

    assert trial["lease_expires_at"] == "2026-11-22T12:10:00Z"
    assert kept["lease_expires_at"] == "2026-11-22T12:16:40Z"
    assert longer["lease_expires_at"] == "2026-11-22T13:06:40Z"


@both_engines
def test_intermediate_results_come_with_heartbeats_and_are_recorded_once(
    report: Do, observed: Do, trial: Document
) -> None:
    early = [{"value": 0.4, "fidelity": 2}, {"value": 0.5, "fidelity": 5}]

    beats = [report("heartbeat", trial, observations=early) for _ in range(2)]
    done = report("complete", trial, observations=[*early, *FINAL])

    assert [beat.status_code for beat in beats] == [200, 200]
    assert [one["fidelity"] for one in observed()] == [2.0, 5.0, 20.0]
    assert len(done.json()["observation_ids"]) == 3


def test_another_value_for_the_same_fidelity_is_refused(report: Do, observed: Do, trial: Document) -> None:
    report("heartbeat", trial, observations=[{"value": 0.4, "fidelity": 2}])

    answer = report("heartbeat", trial, observations=[{"value": 0.3, "fidelity": 2}])

    assert answer.status_code == 409
    assert "reported before for this fidelity and seed" in answer.json()["detail"]
    assert [one["value"] for one in observed()] == [0.4]


@pytest.mark.parametrize("fidelity", [20, 21, None])
def test_a_heartbeat_takes_no_final_value(report: Do, observed: Do, trial: Document, fidelity: float | None) -> None:
    answer = report("heartbeat", trial, observations=[{"value": 0.4, "fidelity": fidelity}])

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"] == ["body", "observations", 0, "fidelity"]
    assert observed() == []


def test_a_trial_may_end_early_with_what_heartbeats_brought(report: Do, trial: Document) -> None:
    nothing = report("complete", trial, observations=[])
    report("heartbeat", trial, observations=[{"value": 0.4, "fidelity": 2}])
    stopped = report("complete", trial, observations=[])

    assert (nothing.status_code, stopped.status_code) == (422, 200)
    assert stopped.json()["state"] == "completed"


def test_without_a_max_fidelity_final_and_intermediate_values_must_be_told_apart(
    client: TestClient, post_task: Do, space: list[Document]
) -> None:
    post_task("open", search_space="tiny")
    client.post("/v1/tasks/open/trials", json={"architectures": [space[0]["genotype"]]})
    (trial,) = client.post("/v1/tasks/open/trials:suggest", json={"worker_id": "a"}).json()["trials"]
    path, token = f"/v1/tasks/open/trials/{trial['id']}", {"lease_token": trial["lease_token"]}
    early = {"value": 0.4, "fidelity": 2}

    beat = client.post(f"{path}:heartbeat", json={**token, "observations": [early]})
    mixed = client.post(f"{path}:complete", json={**token, "observations": [early, {"value": 0.9}]})
    clear = client.post(f"{path}:complete", json={**token, "observations": [early, {"value": 0.9, "fidelity": 9}]})

    assert (beat.status_code, mixed.status_code, clear.status_code) == (422, 422, 200)


@both_engines
def test_a_retryable_failure_returns_to_the_pool_until_the_attempts_are_used_up(
    report: Do, suggest: Do, shown: Do, observed: Do, trial: Document
) -> None:
    for number in (1, 2):
        failed = report("fail", trial, reason="out of memory").json()
        assert (failed["state"], failed["num_failures"], observed()) == ("requested", number, [])
        (trial,) = suggest("bert")
        assert (trial["id"], trial["source"]) == (failed["id"], "pool")

    last = report("fail", trial, reason="out of memory").json()

    assert (last["state"], last["num_failures"]) == ("failed", 3)
    assert [(one["status"], one["reason"]) for one in observed()] == [("failed", "out of memory")]
    assert last["observation_ids"] == [observed()[0]["id"]]
    assert "out of memory" in shown(trial["id"])["history"][-1]["cause"]


@both_engines
def test_a_final_failure_ends_the_trial_at_once(report: Do, observed: Do, trial: Document) -> None:
    failed = report("fail", trial, reason="diverged", is_retryable=False)

    assert failed.json()["state"] == "failed"
    assert [one["status"] for one in observed()] == ["failed"]


def test_what_cannot_be_built_is_recorded_as_such(report: Do, observed: Do, trial: Document) -> None:
    ended = report("infeasible", trial, reason="no such operation")

    assert ended.json()["state"] == "infeasible"
    assert [(one["status"], one["reason"]) for one in observed()] == [("infeasible", "no such operation")]


@both_engines
def test_an_abandoned_trial_goes_to_the_next_who_asks(
    report: Do, suggest: Do, shown: Do, observed: Do, trial: Document
) -> None:
    given_back = report("abandon", trial, reason="the machine is needed")

    (taken,) = suggest("bert")

    assert given_back.json()["state"] == "abandoned"
    assert (taken["id"], taken["worker_id"], taken["lease_number"]) == (trial["id"], "bert", 2)
    assert (taken["num_failures"], taken["num_expiries"], observed()) == (0, 0, [])
    assert _changes(shown(trial["id"]))[-2:] == [("leased", "abandoned"), ("abandoned", "leased")]


@pytest.mark.parametrize("action", ["complete", "fail", "infeasible", "abandon"])
def test_every_end_may_be_reported_again(report: Do, shown: Do, trial: Document, action: str) -> None:
    first = report(action, trial, **BODIES[action])
    history = shown(trial["id"])

    again = report(action, trial, **BODIES[action])

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert shown(trial["id"]) == history


@pytest.mark.parametrize("action", BODIES)
@pytest.mark.parametrize("ending", ["complete", "fail", "infeasible", "abandon"])
def test_nothing_else_is_taken_after_the_end(report: Do, shown: Do, trial: Document, action: str, ending: str) -> None:
    ended = report(ending, trial, **BODIES[ending]).json()
    if action == ending:
        return

    answer = report(action, trial, **BODIES[action])

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
    assert f"got {trial['id']}, which is {ended['state']}" in answer.json()["detail"]
    assert shown(trial["id"])["state"] == ended["state"]


@pytest.mark.parametrize("action", BODIES)
@pytest.mark.parametrize(
    ("token", "got"),
    [
        pytest.param(None, "got none", id="none"),
        pytest.param("secret", "another form", id="another form"),
        pytest.param("1." + "A" * 32, "a wrong one", id="wrong secret"),
        pytest.param("9." + "A" * 32, "a wrong one", id="of a lease that never was"),
    ],
)
def test_a_report_without_the_right_token_is_forbidden(
    client: TestClient, shown: Do, trial: Document, action: str, token: str | None, got: str
) -> None:
    answer = client.post(f"{TRIALS}/{trial['id']}:{action}", json={**BODIES[action], "lease_token": token})

    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/forbidden")
    assert "expected the lease_token that came with trial" in answer.json()["detail"]
    assert got in answer.json()["detail"]
    assert shown(trial["id"])["state"] == "leased"


@pytest.mark.parametrize("action", BODIES)
def test_the_token_of_an_earlier_lease_is_of_no_use(
    report: Do, suggest: Do, shown: Do, trial: Document, action: str
) -> None:
    report("abandon", trial)
    suggest("bert")

    answer = report(action, trial, **BODIES[action])

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/lease-lost")
    assert "expected the token of lease 2" in answer.json()["detail"]
    assert (shown(trial["id"])["state"], shown(trial["id"])["worker_id"]) == ("leased", "bert")


def test_the_token_of_another_trial_is_forbidden(report: Do, suggest: Do, request_trials: Do, trial: Document) -> None:
    request_trials(2)
    first, second = suggest("anna", count=2)

    assert report("complete", {**second, "lease_token": first["lease_token"]}, observations=FINAL).status_code == 403


def test_a_trial_that_was_never_handed_out_takes_no_token(client: TestClient, request_trials: Do, task: object) -> None:
    (waiting,) = request_trials(1)

    answer = client.post(f"{TRIALS}/{waiting['trial_id']}:abandon", json={"lease_token": "1." + "A" * 32})

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/lease-lost")


def test_tokens_are_stored_as_hashes_and_shown_once(client: TestClient, stored_token_hash: Do, trial: Document) -> None:
    kept = stored_token_hash(trial["id"])

    assert len(kept) == 64
    assert trial["lease_token"] not in kept
    assert trial["lease_token"] not in client.get(TRIALS).text + client.get(f"{TRIALS}/{trial['id']}").text


@pytest.mark.parametrize("action", BODIES)
def test_unknown_trials_and_tasks_are_not_found(client: TestClient, trial: Document, action: str) -> None:
    body = {**BODIES[action], "lease_token": trial["lease_token"]}

    answers = [
        client.post(f"{TRIALS}/99:{action}", json=body),
        client.post(f"/v1/tasks/nobody/trials/{trial['id']}:{action}", json=body),
    ]

    assert [answer.status_code for answer in answers] == [404, 404]


@pytest.mark.parametrize(
    "observation",
    [
        pytest.param({"value": "0.9"}, id="text"),
        pytest.param({"value": None}, id="nothing"),
        pytest.param({"value": True}, id="truth"),
        pytest.param({"value": 1e31}, id="overflow"),
        pytest.param({"value": 0.9, "fidelity": 0}, id="no fidelity"),
        pytest.param({"value": 0.9, "fidelity": 21}, id="beyond the final fidelity"),
        pytest.param({"value": 0.9, "cost": -1}, id="negative cost"),
        pytest.param({"value": 0.9, "status": "ok"}, id="unknown member"),
    ],
)
def test_wrong_observations_are_refused_with_their_place(
    report: Do, shown: Do, observed: Do, trial: Document, observation: Document
) -> None:
    answer = report("complete", trial, observations=[{"value": 0.5, "seed": 7}, observation])

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["location"][:3] == ["body", "observations", 1]
    assert (shown(trial["id"])["state"], observed()) == ("leased", [])


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_values_that_are_no_numbers_are_refused(client: TestClient, trial: Document, value: str) -> None:
    body = f'{{"lease_token": "{trial["lease_token"]}", "observations": [{{"value": {value}}}]}}'

    answer = client.post(f"{TRIALS}/{trial['id']}:complete", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400


@pytest.mark.parametrize("lease_seconds", [0, -1, 1e9, "600"])
def test_impossible_leases_are_refused(client: TestClient, report: Do, trial: Document, lease_seconds: Any) -> None:
    asked = client.post(f"{TRIALS}:suggest", json={"worker_id": "carl", "lease_seconds": lease_seconds})

    assert asked.status_code == 422
    assert report("heartbeat", trial, lease_seconds=lease_seconds).status_code == 422
