"""ONNX files posted as multipart/form-data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from onnx_samples import CONVOLUTION, convolution_file

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

PREDICTIONS, OBSERVATIONS = "/v1/tasks/nets/predictions", "/v1/tasks/nets/observations"
pytestmark = pytest.mark.both_engines


@pytest.fixture
def nets(champion: Path, post_task: Any) -> None:
    post_task("nets", search_space="graph")


def files(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"{number}.onnx", content)) for number, content in enumerate(contents)]


def test_a_file_gets_the_forecast_of_its_graph(client: TestClient, nets: None) -> None:
    from_file = client.post(PREDICTIONS, files=files(convolution_file()))
    from_graph = client.post(PREDICTIONS, json={"architectures": [CONVOLUTION]})

    assert from_file.status_code == 200, from_file.text
    assert from_file.json() == from_graph.json()


def test_a_bad_file_is_reported_at_its_place(client: TestClient, nets: None) -> None:
    answer = client.post(PREDICTIONS, files=files(convolution_file(), b"\x3a\x05\x00", convolution_file(16)))

    first, second, third = answer.json()["predictions"]
    assert second["error"]["status"] == 422
    assert second["error"]["detail"] == "expected 5 bytes of model at byte 2, got 1"
    assert {first["rank"], third["rank"]} == {1, 2}


def test_a_network_that_the_space_cannot_express_is_reported_at_its_place(
    client: TestClient, champion: Path, post_task: Any
) -> None:
    post_task("cells")
    answer = client.post("/v1/tasks/cells/predictions", files=files(convolution_file()))

    assert answer.json()["predictions"][0]["error"]["status"] == 422


def test_an_observation_takes_a_file_and_its_value(client: TestClient, nets: None) -> None:
    fields = {"value": "0.93", "seed": "1", "client_key": "run-1"}
    first = client.post(OBSERVATIONS, files=files(convolution_file()), data=fields)
    again = client.post(OBSERVATIONS, files=files(convolution_file()), data=fields)

    assert (first.status_code, again.status_code) == (201, 200)
    kept = client.get(OBSERVATIONS).json()["items"]
    assert [(one["value"], one["seed"], one["client_key"]) for one in kept] == [(0.93, 1, "run-1")]


def test_several_files_take_a_list_of_observations(client: TestClient, nets: None) -> None:
    members = [{"value": 0.9}, {"status": "failed", "reason": "out of memory"}]
    posted = client.post(
        OBSERVATIONS, files=files(convolution_file(), convolution_file(16)), data={"observations": json.dumps(members)}
    )

    assert (posted.status_code, posted.json()["num_created"]) == (201, 2)


@pytest.mark.parametrize(
    ("data", "contents", "location"),
    [
        ({"value": "0.9"}, [b"no model"], ["body", "file", 0]),
        ({"value": "0.9"}, [convolution_file(), convolution_file(16)], ["body", "file"]),
        ({}, [convolution_file()], ["body"]),
        ({"value": "0.9", "colour": "red"}, [convolution_file()], ["body", "colour"]),
        ({"observations": "[{}]", "value": "1"}, [convolution_file()], ["body", "observations"]),
        ({"observations": "[1]"}, [convolution_file()], ["body", "observations"]),
        ({"observations": "[]"}, [convolution_file()], ["body", "observations"]),
        ({"observations": '[{"value": 1, "architecture": "x"}]'}, [convolution_file()], ["body", "observations"]),
    ],
)
def test_a_wrong_form_is_refused_where_it_is_wrong(
    client: TestClient, nets: None, data: dict[str, str], contents: list[bytes], location: list[str | int]
) -> None:
    answer = client.post(OBSERVATIONS, files=files(*contents), data=data)

    assert answer.status_code == 422, answer.text
    found = answer.json()["errors"][0]["location"]
    assert found[: len(location)] == location
    assert client.get(OBSERVATIONS).json()["items"] == []


@pytest.mark.parametrize("value", ["NaN", "much", ""])
def test_a_value_that_is_no_number_is_refused(client: TestClient, nets: None, value: str) -> None:
    answer = client.post(OBSERVATIONS, files=files(convolution_file()), data={"value": value})

    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("path", [PREDICTIONS, OBSERVATIONS])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nnonsense"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--b--\r\n',
        ),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/mixed; boundary=b", b"--b--"),
    ],
)
def test_what_is_no_form_is_refused(client: TestClient, nets: None, path: str, content_type: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": content_type})

    assert answer.status_code in (400, 415, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_more_files_than_allowed_are_refused(client: TestClient, nets: None) -> None:
    answer = client.post(PREDICTIONS, files=files(*[convolution_file()] * 33))

    assert answer.status_code == 400


def test_the_document_says_that_files_are_taken(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("predictions", "observations"):
        content = paths[f"/v1/tasks/{{task}}/{path}"]["post"]["requestBody"]["content"]
        assert set(content) == {"application/json", "multipart/form-data"}
