"""How far a training is, in one file: weights and moments as safetensors, everything else as JSON in its header.

The file is replaced as a whole, so a process that is killed leaves the state before or the state after, never half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

_HEADER = "archcast"


@dataclass
class Progress:
    """What is known after some epochs. `identity` says whose training it is."""

    identity: str
    epoch: int = 0
    train_seconds: float = 0.0
    accuracies: list[float] = field(default_factory=list)  # of the part that decides, by epoch
    seconds: list[float] = field(default_factory=list)  # spent on training until then
    losses: list[float] = field(default_factory=list)


def save(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Replaces the file."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        for name, moment in moments.items():
            if moment is not None:
                tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(moment)
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.{os.getpid()}")
    contents = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(contents, written, metadata={_HEADER: json.dumps(asdict(progress))})
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.replace(path)


def load(path: Path, identity: str, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """How far the training of that identity is, with its weights and moments in place; a new one where the file is missing,
    damaged, or another training's."""
    try:
        with safe_open(path, framework="pt") as file:
            progress = Progress(**json.loads((file.metadata() or {})[_HEADER]))
            if progress.identity != identity:
                return Progress(identity)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _put(tensors, network, optimizer)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError):
        return Progress(identity)
    return progress


def _put(tensors: Mapping[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    weights = {name.removeprefix("network."): one for name, one in tensors.items() if name.startswith("network.")}
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, moment = name.split(".", 2)
            state.setdefault(int(number), {})[moment] = tensor
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    try:
        network.load_state_dict(weights)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    except Exception:
        network.load_state_dict(before)
        raise
