"""A small champion with random parameters: everything it answers is real, except that it has learned nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import threading

    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from app.database import Database
    from app.settings import Settings
    from app.worker import Worker
    from predictor import MetaPredictor

MakeChampion = Callable[[int], "MetaPredictor"]


@pytest.fixture(scope="session")
def make_champion() -> MakeChampion:
    """Makes a champion whose parameters are drawn from a seed."""
    import torch

    from predictor.checkpoint import MANIFEST_FORMAT, encoding_fingerprint
    from predictor.encoding import NUM_GLOBAL_FEATURES, SpaceReference
    from predictor.meta.inner_loop import InnerLoopConfig
    from predictor.meta.outer_loop import MetaLearnerState
    from predictor.meta_predictor import MetaPredictor
    from predictor.surrogate.encoder import EncoderConfig
    from predictor.surrogate.surrogate import SurrogateConfig

    def make(seed: int) -> MetaPredictor:
        encoder, inner = EncoderConfig(width=16, num_blocks=1), InnerLoopConfig(num_steps=2)
        state = MetaLearnerState.fresh(SurrogateConfig(encoder), inner, seed)
        reference = SpaceReference(torch.zeros(NUM_GLOBAL_FEATURES), torch.ones(NUM_GLOBAL_FEATURES))
        manifest = {
            "format": MANIFEST_FORMAT,
            "encoding": encoding_fingerprint(),
            "surrogate": asdict(encoder),
            "inner": asdict(inner),
        }
        return MetaPredictor(state.surrogate, state.log_step_sizes, reference, manifest)

    return make


@pytest.fixture(scope="session")
def champion_folder(make_champion: MakeChampion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a champion as it ships."""
    from predictor import checkpoint

    folder = tmp_path_factory.mktemp("champion")
    champion = make_champion(1)
    checkpoint.write(folder, champion.to_bytes(), champion.manifest)
    return folder


@pytest.fixture
def champion(champion_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the small champion the one that comes with the program; ask for it before the client."""
    monkeypatch.setattr("predictor.shipped_champion", lambda: champion_folder)
    return champion_folder


@pytest.fixture
def stopping() -> Iterator[threading.Event]:
    """What ends a worker; set in any case when the test ends."""
    import threading

    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def worker(settings: Settings, database: Database, stopping: threading.Event) -> Worker:
    """A worker on the service's database, not running."""
    from app.worker import Worker

    return Worker.of(settings, database, stopping)


@pytest.fixture
def run_adaptations(app: FastAPI, worker: Worker) -> Callable[[], int]:
    """Runs all queued adaptations and lets the service notice them; says how many there were."""

    def run() -> int:
        count = 0
        while worker.run_one(["adapt"]):
            count += 1
        app.state.inference.refresh()
        return count

    return run


@pytest.fixture
def observe(client: TestClient) -> Callable[..., dict[str, Any]]:
    """Posts one value for each cell."""

    def post(task: str, cells: list[dict[str, str]], values: list[float], **fields: Any) -> dict[str, Any]:
        observations = [
            {"architecture": cell["genotype"], "value": value, **fields}
            for cell, value in zip(cells, values, strict=True)
        ]
        answer = client.post(f"/v1/tasks/{task}/observations", json={"observations": observations})
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document

    return post
