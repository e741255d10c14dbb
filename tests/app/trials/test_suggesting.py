"""Who gets which architecture, on a declared space of 64."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import update

from app.database import Database
from app.tables import TrialRecord
from app.trials import repository

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.usefixtures("champion", "task")
both_engines = pytest.mark.both_engines

Document = dict[str, Any]
Do = Callable[..., Any]

TRIALS = "/v1/tasks/digits/trials"
FINAL = [{"value": 0.9}]
CELL_TRIALS = "/v1/tasks/cells/trials:suggest"


def _architectures(trials: list[Document]) -> list[str]:
    return [one["architecture_id"] for one in trials]


def _together(ask: Callable[[int], Any], count: int) -> list[Any]:
    barrier = Barrier(count)

    def asked(number: int) -> Any:
        barrier.wait()
        return ask(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(asked, range(count)))


@both_engines
def test_a_suggested_trial_says_what_is_expected_of_it(suggest: Do, shown: Do, client: TestClient) -> None:
    (trial,) = suggest("anna", seed=3)

    body = {"architectures": [trial["genotype"]]}
    (forecast,) = client.post("/v1/tasks/digits/predictions", json=body).json()["predictions"]
    assert (trial["state"], trial["source"], trial["worker_id"]) == ("leased", "new", "anna")
    assert (trial["forecast"]["mean"], trial["forecast"]["std"]) == pytest.approx((forecast["mean"], forecast["std"]))
    causes = [(event["to_state"], event["cause"]) for event in shown(trial["id"])["history"]]
    assert causes == [("requested", "suggested by ucb"), ("leased", "handed out")]


def test_the_best_candidate_is_suggested_first(suggest: Do, client: TestClient) -> None:
    best = client.get("/v1/tasks/digits/candidates", params={"k": 1, "acquisition": "mean"}).json()["candidates"][0]

    (trial,) = suggest("anna", acquisition="mean")

    assert trial["architecture_id"] == best["architecture_id"]


@both_engines
def test_the_same_worker_gets_its_own_again_with_a_new_token_that_voids_the_old(
    suggest: Do, report: Do, shown: Do
) -> None:
    (first,) = suggest("anna")

    (again,) = suggest("anna")

    assert (again["id"], again["source"], again["lease_number"]) == (first["id"], "yours", 2)
    assert report("heartbeat", first).status_code == 409
    assert report("heartbeat", again).status_code == 200
    last = shown(first["id"])["history"][-1]
    assert (last["from_state"], last["to_state"], last["cause"]) == ("leased", "leased", "its worker asked again")


@both_engines
def test_own_ones_come_first_then_those_that_wait_then_new_ones(suggest: Do, request_trials: Do) -> None:
    (own,) = suggest("anna")
    waiting = request_trials(2)

    trials = suggest("anna", count=5)

    assert [one["source"] for one in trials] == ["yours", "pool", "pool", "new", "new"]
    assert trials[0]["id"] == own["id"]
    assert [one["id"] for one in trials[1:3]] == [one["trial_id"] for one in waiting]
    assert len({one["id"] for one in trials}) == 5


def test_requested_trials_are_handed_out_the_oldest_first_with_a_forecast(suggest: Do, request_trials: Do) -> None:
    waiting = request_trials(3)

    trials = [suggest(worker)[0] for worker in ("anna", "bert", "carl")]

    assert [one["id"] for one in trials] == [one["trial_id"] for one in waiting]
    assert all(one["forecast"]["std"] > 0 for one in trials)


def test_what_is_out_is_not_suggested_to_others(suggest: Do) -> None:
    trials = [trial for worker in range(12) for trial in suggest(f"worker-{worker}", count=2)]

    assert len(set(_architectures(trials))) == 24


def test_what_is_out_is_no_longer_out_when_it_was_measured_and_then_it_was_tried(suggest: Do, report: Do) -> None:
    seen: list[str] = []
    for _ in range(10):
        (trial,) = suggest("anna")
        seen += _architectures([trial])
        report("complete", trial, observations=FINAL)

    assert len(set(seen)) == 10


@both_engines
def test_all_of_the_space_is_handed_out_at_most_once_and_then_nothing(suggest: Do) -> None:
    first = suggest("anna", count=64)
    rest = suggest("bert", count=64)

    assert 0 < len(first) <= 64
    assert len(rest) <= 64 - len(first)
    assert len(set(_architectures([*first, *rest]))) == len(first) + len(rest)
    assert suggest("carl", count=64) == []


def test_near_identical_architectures_are_not_given_to_two_workers(
    suggest: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_width(_served: Any, architectures: Any) -> Any:
        return np.asarray([[json.loads(one.genotype)["width"]] for one in architectures], dtype=np.float32)

    monkeypatch.setattr("app.inference.proposing.featured", by_width)

    trials = [trial for worker in range(6) for trial in suggest(f"worker-{worker}", diversity=0)]

    widths = [json.loads(trial["genotype"])["width"] for trial in trials]
    assert sorted(widths) == [1, 2, 4, 8]  # architectures of one width are all alike: two of the six get nothing


def test_constraints_decide_as_with_candidates(
    suggest: Do, client: TestClient, post_task: Do, observe: Do, space: Any
) -> None:
    metric = {"name": "latency_ms", "unit": "ms", "direction": "minimize"}
    post_task("digits-latency", search_space="tiny", metric=metric)
    observe("digits-latency", space, [float(number) for number in range(64)])

    trials = suggest("anna", count=3, constraints=["latency_ms<10"])
    refused = client.post(f"{TRIALS}:suggest", json={"worker_id": "bert", "constraints": ["energy_mj<3"]})

    assert set(_architectures(trials)) <= {one["id"] for one in space[:10]}
    assert refused.status_code == 422


@both_engines
def test_many_workers_at_once_get_different_architectures(client: TestClient, suggest: Do) -> None:
    suggest("first")  # the space is scored now

    def ask(number: int) -> Any:
        return client.post(f"{TRIALS}:suggest", json={"worker_id": f"worker-{number}", "acquisition": "mean"})

    answers = _together(ask, 12)

    assert {answer.status_code for answer in answers} == {200}
    handed_out = [trial for answer in answers for trial in answer.json()["trials"]]
    assert len(handed_out) == len(set(_architectures(handed_out))) == 12


@both_engines
def test_a_race_for_the_last_waiting_trial_has_one_winner(client: TestClient, request_trials: Do) -> None:
    (last,) = request_trials(1)

    def ask(number: int) -> Any:
        return client.post(f"{TRIALS}:suggest", json={"worker_id": f"worker-{number}"})

    answers = _together(ask, 2)

    trials = [trial for answer in answers for trial in answer.json()["trials"]]
    assert [one["source"] for one in trials if one["id"] == last["trial_id"]] == ["pool"]
    assert len(set(_architectures(trials))) == len(trials) == 2


@both_engines
def test_one_worker_that_asks_twice_at_once_holds_what_it_was_told_last(client: TestClient, shown: Do) -> None:
    answers = _together(lambda _: client.post(f"{TRIALS}:suggest", json={"worker_id": "anna"}), 4)

    trials = [trial for answer in answers for trial in answer.json()["trials"]]
    newest = {one["id"]: one for one in sorted(trials, key=lambda one: one["lease_number"])}
    for one in newest.values():
        body = {"lease_token": one["lease_token"]}
        assert client.post(f"{TRIALS}/{one['id']}:heartbeat", json=body).status_code == 200
        assert shown(one["id"])["lease_number"] == one["lease_number"]


@both_engines
def test_an_architecture_measured_while_it_was_chosen_is_not_suggested(
    suggest: Do, observe: Do, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker gets the best one and completes it between this one's scoring and its transaction."""
    from app.candidates.service import CandidateService

    scored = CandidateService.shortlist

    def outrun(self: Any, *arguments: Any, **options: Any) -> Any:
        shortlist = scored(self, *arguments, **options)
        best = shortlist.members[0]
        observe("digits", [{"genotype": best.genotype}], [0.5])
        outruns.append(best.id)
        return shortlist

    outruns: list[str] = []
    monkeypatch.setattr(CandidateService, "shortlist", outrun)

    (trial,) = suggest("anna")

    assert len(outruns) == 1
    assert trial["architecture_id"] not in outruns


@both_engines
def test_requests_of_the_same_architecture_are_one_trial(
    client: TestClient, request_trials: Do, space: Any, suggest: Do
) -> None:
    first = request_trials(2)
    suggest("anna")
    body = {"architectures": [space[0]["genotype"], {"id": space[1]["id"]}, space[1]["genotype"]]}

    again = client.post(TRIALS, json=body)

    assert again.status_code == 200
    assert [one["trial_id"] for one in again.json()["trials"]] == [
        first[0]["trial_id"],
        first[1]["trial_id"],
        first[1]["trial_id"],
    ]
    assert [one["state"] for one in again.json()["trials"]] == ["leased", "requested", "requested"]


@both_engines
def test_the_same_request_by_many_at_once_is_one_trial(client: TestClient, space: Any) -> None:
    body = {"architectures": [one["genotype"] for one in space[:5]]}

    answers = _together(lambda _: client.post(TRIALS, json=body), 6)

    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len(client.get(TRIALS).json()["items"]) == 5


@both_engines
def test_a_request_of_what_is_being_reported_waits_for_its_report_in_no_circle(
    client: TestClient, database: Database, task: Document, space: Any, suggest: Do
) -> None:
    body = {"architectures": [one["genotype"] for one in space]}
    (trial,) = suggest("anna")

    with ThreadPoolExecutor(1) as thread:
        with database.write() as session:  # half of a report: the trial first, then its task
            session.execute(update(TrialRecord).where(TrialRecord.id == trial["id"]).values(outcome_digest="a report"))
            asked = thread.submit(client.post, TRIALS, json=body)
            wait([asked], timeout=1.0)  # on SQLite it waits for this transaction
            repository.lock_task(session, task["id"])
        answer = asked.result(timeout=30.0)

    assert answer.status_code == 201
    assert [one["is_new"] for one in answer.json()["trials"]].count(False) == 1


@both_engines
def test_a_measured_architecture_may_be_requested_again(suggest: Do, report: Do, request_trials: Do) -> None:
    request_trials(1)
    (trial,) = suggest("anna")
    report("complete", trial, observations=FINAL)

    (again,) = request_trials(1)

    assert (again["is_new"], again["architecture_id"]) == (True, trial["architecture_id"])
    assert again["trial_id"] != trial["id"]


def test_bad_requests_are_listed_and_nothing_waits(client: TestClient, space: Any) -> None:
    answer = client.post(TRIALS, json={"architectures": ["no architecture", space[0]["genotype"], 7]})

    assert answer.status_code == 422
    assert [error["location"] for error in answer.json()["errors"]] == [
        ["body", "architectures", 0],
        ["body", "architectures", 2],
    ]
    assert client.get(TRIALS).json()["items"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"worker_id": ""},
        {"worker_id": "a b"},
        {"worker_id": 7},
        {"count": 0},
        {"count": 257},
        {"count": 1.5},
        {"acquisition": "luck"},
        {"kappa": -1},
        {"diversity": 11},
        {"constraints": ["x"]},
        {"constraints": "latency_ms<3"},
        {"seed": -1},
        {"luck": True},
    ],
)
def test_wrong_questions_are_refused_and_nothing_is_handed_out(client: TestClient, change: Document) -> None:
    answer = client.post(f"{TRIALS}:suggest", json={"worker_id": "anna", **change})

    assert answer.status_code == 422
    assert client.get(TRIALS).json()["items"] == []


def test_unknown_tasks_are_not_found(client: TestClient) -> None:
    path = "/v1/tasks/nobody/trials"

    answers = [
        client.post(f"{path}:suggest", json={"worker_id": "anna"}),
        client.post(path, json={"architectures": ["x"]}),
        client.get(path),
        client.get(f"{path}/1"),
        client.get(f"{TRIALS}/1"),
    ]

    assert {answer.status_code for answer in answers} == {404}


@both_engines
def test_the_list_goes_page_by_page_and_by_state_and_worker(client: TestClient, suggest: Do, report: Do) -> None:
    for worker in ("anna", "bert", "anna", "bert", "anna"):
        (trial,) = suggest(worker)
        report(
            "complete" if worker == "anna" else "abandon",
            trial,
            **({"observations": FINAL} if worker == "anna" else {}),
        )

    def listed(**query: Any) -> list[int]:
        items = client.get(TRIALS, params=query).json()["items"]
        return [one["id"] for one in items]

    page = client.get(TRIALS, params={"limit": 2}).json()
    next_page = client.get(TRIALS, params={"limit": 2, "cursor": page["next_cursor"]}).json()
    everything = listed()
    assert [one["id"] for one in [*page["items"], *next_page["items"]]] == everything[:4]
    assert sorted([*listed(state="completed"), *listed(state="abandoned")]) == everything
    assert listed(state=["completed", "abandoned"]) == everything
    assert set(listed(worker_id="anna")) | set(listed(worker_id="bert")) == set(everything)
    assert listed(worker_id="carl") == []
    assert client.get(TRIALS, params={"state": "running"}).status_code == 422
    assert client.get(TRIALS, params={"cursor": "x"}).status_code == 422


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for every search of a space that is too large to list."""
    from app.candidates import service

    searched, made = service.searched, []

    def counted(served: Any, *arguments: Any) -> Any:
        made.append(served.serial)
        return searched(served, *arguments)

    monkeypatch.setattr(service, "searched", counted)
    return made


def test_what_one_search_found_is_handed_out_until_too_little_is_left_of_it(
    client: TestClient, post_task: Any, searches: list[object]
) -> None:
    post_task("cells", search_space="nasbench201")

    def ask(worker: int, count: int) -> list[str]:
        body = {"worker_id": f"worker-{worker}", "count": count, "pool": 50, "diversity": 0.0}
        answer = client.post(CELL_TRIALS, json=body)
        assert answer.status_code == 200, answer.text
        return _architectures(answer.json()["trials"])

    few = [one for worker in range(5) for one in ask(worker, 2)]
    for_few = list(searches)
    many = [one for worker in range(5, 15) for one in ask(worker, 50)]

    assert len(for_few) == len(set(for_few))  # one for each adaptation that answered meanwhile
    assert len({*few, *many}) == 510
    assert len(for_few) < len(searches) <= 12


def test_a_named_seed_searches_anew_so_that_the_same_question_has_the_same_answer(
    client: TestClient, post_task: Any, searches: list[object]
) -> None:
    post_task("cells", search_space="nasbench201")

    for worker in ("anna", "ben"):
        client.post(CELL_TRIALS, json={"worker_id": worker, "pool": 50, "seed": 7})

    assert len(searches) == 2
