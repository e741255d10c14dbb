"""Requests that nobody thought of, made from the OpenAPI document: each operation by itself, and in chains along its links.

Whatever is sent, the service answers, and as its document says. The requests are the same in every run;
ARCHCAST_TEST_FUZZ_EXAMPLES asks for more of them for each operation.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, FlakyStrategyDefinition
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.python.asgi import ASGIClient, get_client, shutdown_lifespans
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

if TYPE_CHECKING:
    from fastapi import FastAPI
    from schemathesis import Case, CheckContext, HookContext, Response
    from schemathesis.schemas import APIOperation
    from schemathesis.specs.openapi.schemas import OpenApiSchema

EXAMPLES = int(os.environ.get("ARCHCAST_TEST_FUZZ_EXAMPLES", "4"))
CHAINED_STEPS = 8
KNOWN = {
    "task": "digits",
    "name": "nasbench201",
    "project": "default",
    "version": "champion",
    **dict.fromkeys(("observation_id", "trial_id", "job_id", "key_id", "webhook_id"), 1),
    "search_id": 2,
}
"""What there is when it begins: names that nobody would guess."""
TASK = {
    "name": "digits",
    "search_space": "nasbench201",
    "dataset": "digits",
    "metric": {"name": "accuracy", "unit": "fraction", "direction": "maximize"},
    "max_fidelity": 9,
}
SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=CHAINED_STEPS,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # no shrinking: what a request meets depends on those before it
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
CONFIG = {
    # Whoever names a wrong key is refused before anything is read, so that nothing behind it would be tried.
    "generation": {"with-security-parameters": False},
}


@schemathesis.serializer("application/zip", "text/csv", "application/x-ndjson", "application/vnd.apache.parquet")
def as_bytes(context: Any, value: Any) -> dict[str, bytes]:
    """What is sent where a file is wanted."""
    return {"data": value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")}


@pytest.fixture
def service(champion: Path, app: FastAPI) -> Iterator[FastAPI]:
    """The service, started where the requests are made from, with one task."""
    try:
        with get_client(app) as client:
            fill(client)
            yield app
    finally:
        shutdown_lifespans()


def fill(client: ASGIClient) -> None:
    """Makes what `KNOWN` names."""
    posted(client, "/tasks", TASK)
    cells = client.get("/v1/search-spaces/nasbench201/sample?count=8&seed=3").json()["architectures"]
    observed = [{"architecture": cell["genotype"], "value": index / 10} for index, cell in enumerate(cells)]
    posted(client, "/tasks/digits/observations", {"observations": observed})
    posted(client, "/tasks/digits/trials:suggest", {"worker_id": "somebody", "count": 2})
    posted(client, "/api-keys", {"name": "ci", "role": "reader"})
    asked = {"objectives": [{"task": "digits"}], "strategy": "random", "mode": "measured", "budget": {"evaluations": 3}}
    posted(client, "/searches", asked)
    posted(client, "/webhooks", {"url": "https://example.com/hook", "events": ["search.finished"]})


def posted(client: ASGIClient, path: str, body: dict[str, Any]) -> Any:
    answer = client.post(f"/v1{path}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


@pytest.fixture
def document(service: FastAPI) -> OpenApiSchema:
    """What the service says of itself."""
    loaded = schemathesis.openapi.from_asgi("/openapi.json", service, config=SchemathesisConfig.from_dict(CONFIG))

    @loaded.hook("flatmap_path_parameters")
    def often_known(context: HookContext, path_parameters: dict[str, Any] | None) -> st.SearchStrategy[Any]:
        """Names of what there is, three times of four: else nearly every answer would be 404."""
        known = {name: KNOWN.get(name, value) for name, value in (path_parameters or {}).items()}
        return st.sampled_from([known, known, known, path_parameters]) if known else st.just(path_parameters)

    return loaded


def no_failure_of_the_service(context: CheckContext, response: Response, case: Case) -> None:
    """Only one thing may keep it from answering: that it is not ready, where the operation says that it may not be. (That it
    is documented is what `status_code_conformance` looks at.)"""
    if response.status_code >= 500:
        kind = response.json().get("type")
        assert (response.status_code, kind) == (503, "/problems/not-ready"), response.text


def errors_are_problem_documents(context: CheckContext, response: Response, case: Case) -> None:
    """RFC 9457, with what this service adds."""
    if response.status_code < 400:
        return
    assert response.headers["content-type"] == ["application/problem+json"], response.headers
    problem = response.json()
    assert problem["type"].startswith("/problems/")
    assert problem["status"] == response.status_code
    assert problem["title"]
    assert problem["detail"]
    assert [problem["request_id"]] == response.headers["x-request-id"]


CHECKS = [
    no_failure_of_the_service,
    errors_are_problem_documents,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def requests_to(operation: APIOperation[Any, Any, Any, Any]) -> st.SearchStrategy[Case]:
    """What the document allows, what it forbids, and what it gives as examples."""
    modes = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]
    return st.one_of(*modes, *operation.get_strategies_from_examples())


def test_whatever_is_sent_is_answered_as_documented(document: OpenApiSchema, subtests: pytest.Subtests) -> None:
    for operation in (result.ok() for result in document.get_all_operations()):

        @SETTINGS
        @given(case=requests_to(operation))
        def answered_as_documented(case: Case) -> None:
            case.call_and_validate(checks=CHECKS)

        with subtests.test(operation.label):
            answered_as_documented()


def test_chains_of_requests_are_answered_as_documented(document: OpenApiSchema) -> None:
    failures: list[Exception] = []

    class Chains(document.as_state_machine()):  # type: ignore[misc]
        def validate_response(self, response: Response, case: Case, *args: Any, **kwargs: Any) -> None:
            try:
                case.validate_response(response, checks=CHECKS)
            except Exception as failure:
                failures.append(failure)
                raise

    for number in range(EXAMPLES):
        # What a chain made stays, so the same beginning may be answered otherwise the next time: Hypothesis then ends its
        # run. That is no failure of the service; those were kept above, whatever becomes of the run that met them.
        with suppress(Flaky, FlakyStrategyDefinition):
            seed(number)(Chains).run(settings=settings(SETTINGS, max_examples=5))
    assert not failures, failures


def test_links_lead_on_from_what_was_made(service: FastAPI) -> None:
    with get_client(service) as client:
        created = followed(client, service, "create_task", "/tasks", {**TASK, "name": "faces"})
        cells = client.get("/v1/search-spaces/nasbench201/sample?count=1&seed=9").json()["architectures"]
        observation = {"architecture": cells[0]["genotype"], "value": 0.5}
        observed = followed(client, service, "post_observations", "/tasks/faces/observations", observation)
        asked = {"worker_id": "me"}
        suggested = followed(client, service, "suggest_trials", "/tasks/faces/trials:suggest", asked)

    assert created["show_task"]["parameters"] == {"task": "faces"}
    assert observed["show_observation"]["answer"]["value"] == 0.5
    trial = suggested["show_trial"]["answer"]
    assert (trial["state"], trial["worker_id"]) == ("leased", "me")
    assert suggested["complete_trial"]["parameters"] == {"task": "faces", "trial_id": trial["id"]}
    assert suggested["complete_trial"]["body"]["lease_token"]


def followed(
    client: ASGIClient, service: FastAPI, operation: str, path: str, body: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """What each link of the answer leads to: its parameters, its body and, of what only shows something, the answer."""
    answer = client.post(f"/v1{path}", json=body)
    operations = {
        described["operationId"]: (method, address, described)
        for address, methods in service.openapi()["paths"].items()
        for method, described in methods.items()
    }
    reached: dict[str, dict[str, Any]] = {}
    for name, link in operations[operation][2]["responses"][str(answer.status_code)]["links"].items():
        method, address, _ = operations[link["operationId"]]
        read = {key: found(where, answer.json()) for key, where in link["parameters"].items()}
        sent = {key: found(where, answer.json()) for key, where in link.get("requestBody", {}).items()}
        reached[name] = {"parameters": read, "body": sent}
        if method == "get":
            shown = client.get(address.format(**read))
            assert shown.status_code == 200, shown.text
            reached[name]["answer"] = shown.json()
    return reached


def found(where: str, answer: Any) -> Any:
    """What a runtime expression of OpenAPI stands for; the task is the only thing that links take from the address."""
    if where == "$request.path.task":
        return answer["task"]
    for part in where.removeprefix("$response.body#/").split("/"):
        answer = answer[int(part)] if isinstance(answer, list) else answer[part]
    return answer
