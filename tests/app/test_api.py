"""OpenAPI says everything about every operation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi import FastAPI

Operation = tuple[str, dict[str, Any]]


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def _operations(document: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _has_example(content: dict[str, Any]) -> bool:
    return bool(content.get("example") or content.get("examples"))


def test_every_operation_has_a_summary_a_description_and_a_tag(document: dict[str, Any]) -> None:
    incomplete = [
        name
        for name, operation in _operations(document)
        if not (operation.get("summary") and operation.get("description") and operation.get("tags"))
    ]

    assert incomplete == []


def test_every_answer_that_is_no_error_has_a_schema_and_an_example(document: dict[str, Any]) -> None:
    contents = [
        (name, content)
        for name, operation in _operations(document)
        for status, response in operation["responses"].items()
        if status.startswith("2") and status != "204"
        for content in response.get("content", {}).values() or [{}]
    ]

    assert [name for name, content in contents if not (content.get("schema") and _has_example(content))] == []


def test_every_body_has_a_schema_and_an_example(document: dict[str, Any]) -> None:
    bodies = [
        (name, content)
        for name, operation in _operations(document)
        if "requestBody" in operation
        for content in operation["requestBody"]["content"].values()
    ]

    assert bodies
    assert [name for name, content in bodies if not (content.get("schema") and _has_example(content))] == []


def test_every_error_is_described_as_a_problem_document(document: dict[str, Any]) -> None:
    errors = [
        (name, status, set(response.get("content", {})))
        for name, operation in _operations(document)
        for status, response in operation["responses"].items()
        if status >= "4"
    ]

    assert errors
    assert [error for error in errors if error[2] != {"application/problem+json"}] == []


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in _operations(document)]

    assert len(set(ids)) == len(ids)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert set(references(document)) <= known


def test_posted_examples_are_accepted_by_their_own_schemas(app: FastAPI) -> None:
    from app.bulk import schemas as bulk
    from app.jobs import schemas as jobs
    from app.model_versions import schemas as model_versions
    from app.model_versions.endpoints import COMPARE_JOB_EXAMPLE
    from app.observations import schemas as observations
    from app.search_spaces import schemas as search_spaces
    from app.tasks import schemas as tasks
    from app.track_records import schemas as track_records
    from app.trials import examples
    from app.trials import schemas as trials

    observations.ObservationIn.model_validate(observations.ONE_EXAMPLE)
    observations.ObservationIn.model_validate(observations.DAG_EXAMPLE)
    for one in observations.MANY_EXAMPLE["observations"]:
        observations.ObservationIn.model_validate(one)
    observations.CorrectionIn.model_validate(observations.CORRECTION_REQUEST_EXAMPLE)
    tasks.TaskIn.model_validate(tasks.TASK_REQUEST_EXAMPLE)
    trials.SuggestIn.model_validate(examples.SUGGEST_EXAMPLE)
    trials.RequestIn.model_validate(examples.REQUEST_EXAMPLE)
    trials.HeartbeatIn.model_validate(examples.HEARTBEAT_EXAMPLE)
    trials.CompleteIn.model_validate(examples.COMPLETE_EXAMPLE)
    trials.FailIn.model_validate(examples.FAIL_EXAMPLE)
    trials.ReasonIn.model_validate(examples.INFEASIBLE_EXAMPLE)
    trials.AbandonIn.model_validate(examples.ABANDON_EXAMPLE)
    trials.TrialWithHistory.model_validate(examples.HISTORY_EXAMPLE)
    for shown in (
        examples.COMPLETED_EXAMPLE,
        examples.INFEASIBLE_REPLY_EXAMPLE,
        examples.FAILED_EXAMPLE,
        examples.ABANDONED_EXAMPLE,
    ):
        trials.TrialOut.model_validate(shown)
    trials.SuggestedOut.model_validate(examples.SUGGESTED_EXAMPLE)
    trials.AdviceOut.model_validate(examples.ADVICE_EXAMPLE)
    search_spaces.SearchSpaceIn.model_validate(search_spaces.DECLARATION_EXAMPLE)
    model_versions.DecisionBody.model_validate(model_versions.REASON_EXAMPLE)
    model_versions.PinBody.model_validate(model_versions.PIN_REQUEST_EXAMPLE)
    model_versions.CompareBody.model_validate(model_versions.COMPARE_REQUEST_EXAMPLE)
    for change in (model_versions.PIN_EXAMPLE, model_versions.UNPIN_EXAMPLE):
        model_versions.PinOut.model_validate(change)
    model_versions.PinsOut.model_validate(model_versions.PINS_EXAMPLE)
    track_records.TaskRecordOut.model_validate(track_records.RECORD_EXAMPLE)
    track_records.DriftOut.model_validate(track_records.DRIFT_EXAMPLE)
    jobs.LogOut.model_validate(jobs.LOG_EXAMPLE)
    for job in (jobs.JOB_EXAMPLE, bulk.SCORE_EXAMPLE, bulk.IMPORT_EXAMPLE, COMPARE_JOB_EXAMPLE):
        jobs.JobReply.model_validate(job)
