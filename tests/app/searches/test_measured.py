"""Searches whose proposals are measured: by workers, or looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.both_engines

Document = dict[str, Any]


def evaluations(client: TestClient, search_id: int, query: str = "") -> list[Document]:
    answer = client.get(f"/v1/searches/{search_id}/evaluations{query}")
    assert answer.status_code == 200, answer.text
    items: list[Document] = answer.json()["items"]
    return items


def test_what_is_proposed_is_measured_by_workers_while_the_search_holds_none(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    search_id = start(budget={"evaluations": 7}, parallel=3)
    assert show(search_id)["state"] == "queued"
    counts = []
    while work():
        document = show(search_id)
        if document["state"] == "waiting":
            num_open = len(evaluations(client, search_id, "?state=open"))
            assert document["stage"].startswith(f"waiting, for {num_open} trial")
            counts.append(measure(table.accuracy, count=2))

    document, found = show(search_id), evaluations(client, search_id)
    assert (document["state"], document["percent"], document["num_evaluated"]) == ("done", 100.0, 7)
    assert max(counts) == 2
    assert [one["number"] for one in found] == list(range(1, 8))
    assert {one["architecture_id"]: one["value"] for one in found} == {
        one["architecture_id"]: pytest.approx(table.accuracy(one["architecture_id"])) for one in found
    }
    assert len({one["architecture_id"] for one in found}) == 7
    assert {one["source"] for one in found} == {"trial"}
    assert document["best"]["value"] == max(one["value"] for one in found)
    assert document["ending"] == "its budget of 7 evaluations is spent"
    assert client.get("/v1/tasks/digits").json()["num_observations"] == 7


def test_the_history_says_how_the_best_came_to_be(
    client: TestClient, observed: Any, start: Any, show: Any, work: Any
) -> None:
    search_id = start(evaluator="table", budget={"evaluations": 64}, parallel=1)
    work()

    document, found = show(search_id), evaluations(client, search_id)
    values = [one["value"] for one in found]
    records = [number for number in range(64) if values[number] > max(values[:number], default=0.0)]
    assert [one["num_evaluated"] for one in document["history"]] == [number + 1 for number in records]
    assert document["best"]["architecture_id"] == observed.best_id
    assert [one["is_improvement"] for one in found] == [number in records for number in range(64)]
    assert evaluations(client, search_id, "?sort=-value&limit=1")[0]["architecture_id"] == observed.best_id


def test_what_the_task_knows_already_is_not_measured_again(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    known = sorted(table.genotypes)[:60]
    client.post("/v1/tasks/digits/observations", json=table.observations(table.accuracy, known))

    search_id = start(budget={"evaluations": 10}, parallel=10)
    work()
    waiting = evaluations(client, search_id, "?state=open")
    measure(table.accuracy)
    work()

    document = show(search_id)
    assert {one["architecture_id"] for one in waiting} == set(table.genotypes) - set(known)
    assert (document["state"], document["ending"]) == ("done", "nothing is left to try")
    assert document["num_evaluated"] == 4


def test_a_failed_trial_is_an_evaluation_without_a_value(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    search_id = start(budget={"evaluations": 2}, parallel=2)
    work()
    body = {"worker_id": "gpu-1", "count": 1, "only_requested": True}
    (trial,) = client.post("/v1/tasks/digits/trials:suggest", json=body).json()["trials"]
    report = {"lease_token": trial["lease_token"], "reason": "no such operation"}
    client.post(f"/v1/tasks/digits/trials/{trial['id']}:infeasible", json=report)
    measure(table.accuracy)
    work()

    document, found = show(search_id), evaluations(client, search_id)
    (failed,) = (one for one in found if one["state"] == "failed")
    assert (document["state"], document["num_evaluated"], document["num_failed"]) == ("done", 2, 1)
    assert (failed["architecture_id"], failed["values"]) == (trial["architecture_id"], None)
    assert failed["reason"] == f"trial {trial['id']} is infeasible: infeasible: no such operation"


def test_a_trial_that_was_stopped_early_counts_at_the_fidelity_that_it_reached(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any
) -> None:
    search_id = start(budget={"evaluations": 1})
    work()
    body = {"worker_id": "gpu-1", "only_requested": True}
    (trial,) = client.post("/v1/tasks/digits/trials:suggest", json=body).json()["trials"]
    report = {"lease_token": trial["lease_token"], "observations": [{"value": 0.25, "fidelity": 3.0}]}
    client.post(f"/v1/tasks/digits/trials/{trial['id']}:complete", json=report)
    work()

    (found,) = evaluations(client, search_id)
    assert show(search_id)["state"] == "done"
    assert (found["state"], found["values"], found["asked_fidelity"]) == ("done", [0.25], 1.0)
    assert found["fidelity"] == pytest.approx(1 / 3)


def test_several_objectives_are_measured_each_in_its_own_task(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    search_id = start("digits", "latency", budget={"evaluations": 6}, parallel=6)
    work()
    measure(table.accuracy)
    work()
    assert (show(search_id)["state"], show(search_id)["num_evaluated"]) == ("waiting", 0), "one value of two is known"
    measure(table.latency_ms, "latency")
    work()

    document, found = show(search_id), evaluations(client, search_id)
    assert document["state"] == "done"
    assert [one["direction"] for one in document["objectives"]] == ["maximize", "minimize"]
    for one in found:
        id_ = one["architecture_id"]
        assert one["values"] == pytest.approx([table.accuracy(id_), table.latency_ms(id_)])
    points = {one["number"]: one["values"] for one in found}
    best = [
        number
        for number, (accuracy, latency) in points.items()
        if not any(a >= accuracy and b <= latency and (a, b) != (accuracy, latency) for a, b in points.values())
    ]
    answer = client.get(f"/v1/searches/{search_id}/pareto?reference=0.4&reference=30").json()
    assert [one["number"] for one in answer["items"]] == sorted(best, key=lambda number: -points[number][0])
    assert answer["num_compared"] == 6
    assert answer["hypervolume"] == pytest.approx(area([points[number] for number in best], 0.4, 30.0))


def area(front: list[list[float]], accuracy: float, latency: float) -> float:
    """What a front of two objectives dominates, strip by strip."""
    total, before = 0.0, accuracy
    for one in sorted(front):
        total += (one[0] - before) * (latency - one[1])
        before = one[0]
    return total


def test_a_search_ends_when_its_time_is_over_though_nobody_measures(
    client: TestClient, database: Any, tasks: Any, start: Any, show: Any, work: Any
) -> None:
    from datetime import timedelta

    from sqlalchemy import update

    from app.tables import JobRecord, SearchRecord, utc_now

    search_id = start(budget={"seconds": 60.0}, parallel=2)
    work()
    assert show(search_id)["state"] == "waiting"
    with database.write() as session:  # an hour passes
        before = utc_now() - timedelta(hours=1)
        session.execute(update(SearchRecord).values(counted_since=before))
        session.execute(update(JobRecord).values(lease_expires_at=before))
    work()

    document = show(search_id)
    trials = client.get("/v1/tasks/digits/trials").json()["items"]
    assert (document["state"], document["ending"]) == ("done", "its budget of 60 s is spent")
    assert (document["num_proposed"], document["num_evaluated"], document["best"]) == (2, 0, None)
    assert [one["state"] for one in trials] == ["withdrawn", "withdrawn"]
    assert client.get(f"/v1/searches/{search_id}/best").status_code == 409


def test_two_searches_share_a_trial_and_both_hear_of_it(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    first, second = (start(budget={"evaluations": 2}, parallel=2) for _ in range(2))  # of one seed
    work()
    trials = client.get("/v1/tasks/digits/trials").json()["items"]
    assert client.post(f"/v1/searches/{first}:cancel").json()["state"] == "cancelled"

    measured = measure(table.accuracy)
    work()

    assert (len(trials), measured) == (2, 2), "what another search waits for is not withdrawn"
    assert show(second)["state"] == "done"
    assert [one["architecture_id"] for one in evaluations(client, second)] == [
        one["architecture_id"] for one in evaluations(client, first)
    ]


def test_what_the_table_lacks_has_no_value(client: TestClient, table: Any, tasks: Any, start: Any, work: Any) -> None:
    known = sorted(table.genotypes)[:32]
    client.post("/v1/tasks/digits/observations", json=table.observations(table.accuracy, known))

    search_id = start(evaluator="table", budget={"evaluations": 64})
    work()

    states = {one["architecture_id"]: one["state"] for one in evaluations(client, search_id)}
    assert states == {id_: "done" if id_ in known else "failed" for id_ in table.genotypes}


def test_constraints_come_before_the_objective(
    champion: Any, client: TestClient, observed: Any, start: Any, show: Any, work: Any
) -> None:
    search_id = start(evaluator="table", budget={"evaluations": 64}, constraints=["latency_ms<=8"])
    work()

    allowed = [id_ for id_ in observed.genotypes if observed.latency_ms(id_) <= 8]
    found = {one["architecture_id"]: one for one in evaluations(client, search_id)}
    assert show(search_id)["best"]["architecture_id"] == max(allowed, key=observed.accuracy)
    for id_, one in found.items():
        assert one["violation"] == pytest.approx(max(0.0, observed.latency_ms(id_) / 8 - 1))
    assert client.get(f"/v1/searches/{search_id}/pareto").json()["num_compared"] == len(allowed)


def test_a_search_may_look_the_other_way_than_its_task(
    client: TestClient, observed: Any, start: Any, show: Any, work: Any
) -> None:
    objectives = [{"task": "digits", "direction": "minimize"}]
    search_id = start(evaluator="table", budget={"evaluations": 64}, objectives=objectives)
    work()

    assert show(search_id)["best"]["architecture_id"] == min(observed.genotypes, key=observed.accuracy)


def test_a_strategy_of_several_fidelities_has_trials_measured_at_each(
    client: TestClient, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    halving = {"strategy": "successive_halving", "settings": {"num_first": 9}}
    search_id = start(**halving, budget={"evaluations": 13}, parallel=4)
    while work():
        measure(table.accuracy)

    found = evaluations(client, search_id)
    trials = client.get("/v1/tasks/digits/trials?limit=100").json()["items"]
    asked = {one["fidelity"] for one in trials}
    assert (show(search_id)["state"], len(found)) == ("done", 13)
    assert asked == {1.0, 3.0, None}
    assert [one["fidelity"] for one in found] == [one["asked_fidelity"] for one in found]
    best_id = show(search_id)["best"]["architecture_id"]
    promoted = [one["fidelity"] for one in found if one["architecture_id"] == best_id]
    assert promoted == pytest.approx([1 / 9, 1 / 3, 1.0])


def test_a_task_that_does_not_say_what_is_final_cannot_be_measured_at_a_share_of_it(
    tasks: Any, start: Any, show: Any, work: Any
) -> None:
    search_id = start("latency", strategy="successive_halving", budget={"evaluations": 20})
    work()

    document = show(search_id)
    assert document["state"] == "failed"
    assert "expected tasks with a max_fidelity" in document["error"]
    assert document["num_proposed"] == 0, "nothing is half-written"


def test_a_trial_at_the_lower_fidelity_of_another_search_is_followed_by_one_at_the_own(
    client: TestClient, database: Any, table: Any, tasks: Any, start: Any, show: Any, work: Any, measure: Any
) -> None:
    from app.trials import service as trials
    from app.trials.schemas import RequestIn

    search_id = start(budget={"evaluations": 1}, start=[next(iter(table.genotypes.values()))])
    with database.read() as session:
        asked = trials.take_request(session, "digits", RequestIn(architectures=list(table.genotypes.values())[:1]))
    with database.write() as session:
        trials.request(session, "digits", asked.read(), 1.0)
    work()
    assert len(client.get("/v1/tasks/digits/trials").json()["items"]) == 1
    measure(lambda _id: 0.125)
    work()
    assert (show(search_id)["state"], show(search_id)["num_evaluated"]) == ("waiting", 0)
    measure(table.accuracy)
    work()

    (found,) = evaluations(client, search_id)
    assert (found["value"], found["fidelity"]) == (pytest.approx(table.accuracy(found["architecture_id"])), 1.0)
    assert [one["fidelity"] for one in client.get("/v1/tasks/digits/trials").json()["items"]] == [1.0, None]
