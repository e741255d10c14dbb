"""The client takes modules and ONNX files wherever it takes an architecture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from onnx_samples import convolution_file

from app.client import Client, ClientError

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

    from predictor.evaluate.cell_network import CellNetwork

CELL = ("nor_conv_3x3", "none", "skip_connect", "nor_conv_1x1", "none", "avg_pool_3x3")


@pytest.fixture
def connected(champion: Path, client: TestClient, post_task: Any) -> Client:
    post_task("nets", search_space="graph")
    made = Client()
    made._http.close()
    made._http = client
    return made


@pytest.fixture
def network() -> CellNetwork:
    from predictor.evaluate.cell_network import CellNetwork, CellNetworkConfig

    return CellNetwork(CELL, CellNetworkConfig(3, 10, cells_per_stage=2))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    path.write_bytes(convolution_file())
    return path


def test_a_file_is_forecast_by_its_path(connected: Client, file: Path) -> None:
    by_path, by_text, among = (connected.predict("nets", one)["predictions"][0] for one in (file, str(file), [file]))
    assert by_path == by_text == among


def test_a_module_is_forecast(connected: Client, network: CellNetwork) -> None:
    import torch

    forecast = connected.predict("nets", network, example_inputs=torch.zeros(1, 3, 32, 32))["predictions"][0]

    assert 0.0 <= forecast["ood_score"] <= 1.0
    assert forecast["lower"] < forecast["mean"] < forecast["upper"]


def test_a_module_and_a_file_are_observed(connected: Client, network: CellNetwork, file: Path) -> None:
    import torch

    measured = [{"architecture": network, "value": 0.9}, {"architecture": file, "value": 0.5}]
    posted = connected.post_observations("nets", measured, example_inputs=torch.zeros(1, 3, 32, 32))

    assert posted["num_created"] == 2
    again = connected.predict("nets", network, example_inputs=torch.zeros(1, 3, 32, 32))["predictions"][0]
    assert again["architecture_id"] == posted["observations"][0]["architecture_id"]


def test_what_cannot_be_converted_names_what_it_was(connected: Client, network: CellNetwork, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"CellNetwork: expected example inputs"):
        connected.predict("nets", network)
    with pytest.raises(ClientError, match=r"nowhere\.onnx"):
        connected.predict("nets", tmp_path / "nowhere.onnx")
