"""Evaluators from JSON documents: what is told on a command line, stored, or sent to another machine.

    {"kind": "train", "dataset": "digits", "recipe": {"epochs": 10}, "sizes": {"cells_per_stage": 1}, "latency": {"repeats": 20}}
    {"kind": "table", "file": "table.parquet", "architecture": "arch_str", "metrics": {"accuracy_percent": ["seed0", "seed1"]}}
    {"kind": "command", "command": ["./train.sh", "--fast"], "timeout_seconds": 600}
    {"kind": "one_shot", "dataset": "digits", "training": {"epochs": 200, "seed": 0}, "stack": {"stem_channels": 8}}

A command runs whatever it names: documents of strangers must not be taken here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from predictor.errors import EvaluationError
from predictor.evaluate.base import Evaluator
from predictor.evaluate.command_evaluator import CommandEvaluator
from predictor.evaluate.costs import LatencyConfig
from predictor.evaluate.data_sources import load_dataset
from predictor.evaluate.network import NetworkConfig
from predictor.evaluate.recipe import Recipe
from predictor.evaluate.supernet.one_shot import OneShotEvaluator
from predictor.evaluate.supernet.shared_weights import SinglePathConfig
from predictor.evaluate.supernet.stack import StackConfig
from predictor.evaluate.table_evaluator import TableColumns, TableEvaluator
from predictor.evaluate.training_evaluator import TrainingEvaluator, chosen_device
from predictor.search_spaces.base import SearchSpace

_FIELDS = {
    "train": {"dataset", "recipe", "sizes", "resolution", "device", "latency", "state_folder", "save_every_seconds"},
    "table": {"file", "architecture", "metrics", "fidelities"},
    "command": {"command", "timeout_seconds", "max_output_bytes"},
    "one_shot": {"dataset", "training", "stack", "device", "state_folder"},
}


def evaluator_from_json(document: Mapping[str, Any], space: SearchSpace) -> Evaluator:
    """The evaluator that a document describes, with its data loaded.

    Raises:
        EvaluationError: if the document says something else, or what it names cannot be used.
    """
    kind = document.get("kind")
    if kind not in _FIELDS:
        raise EvaluationError(f"expected the kind of an evaluator among {', '.join(_FIELDS)}, got {kind!r:.80}")
    unknown = sorted(set(document) - _FIELDS[kind] - {"kind"})
    if unknown:
        raise EvaluationError(f"expected {', '.join(sorted(_FIELDS[kind]))} for {kind}, got {unknown[0]!r:.80}")
    try:
        return _MADE[kind](document, space)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EvaluationError(
            f"expected a document of the form {kind} has, got one with {type(error).__name__}: {error}"
        ) from error


def _train(document: Mapping[str, Any], space: SearchSpace) -> Evaluator:
    dataset = load_dataset(str(document["dataset"]))
    sizes, resolution = dict(document.get("sizes") or {}), int(document.get("resolution") or 0)
    told = document.get("latency", {})
    latency = None if told is None else LatencyConfig(**{**told, **_tuples(told)})
    folder = document.get("state_folder")
    return TrainingEvaluator(
        space,
        dataset,
        Recipe.from_json(document.get("recipe") or {}),
        NetworkConfig(dataset.image_shape, dataset.num_classes, sizes, resolution),
        chosen_device(str(document.get("device", "auto"))),
        latency,
        None if folder is None else Path(folder),
        float(document.get("save_every_seconds", 5.0)),
    )


def _tuples(told: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value) for name, value in told.items() if isinstance(value, list)}


def _table(document: Mapping[str, Any], space: SearchSpace) -> Evaluator:
    levels = document.get("fidelities") or {}
    fidelities = {
        metric: {float(share): _listed(names) for share, names in by_share.items()}
        for metric, by_share in levels.items()
    }
    metrics = {metric: _listed(names) for metric, names in document["metrics"].items()}
    columns = TableColumns(str(document["architecture"]), metrics, fidelities)
    return TableEvaluator.read(space, Path(document["file"]), columns)


def _listed(names: object) -> list[str]:
    return [names] if isinstance(names, str) else list(names)  # type: ignore[call-overload]


def _command(document: Mapping[str, Any], space: SearchSpace) -> Evaluator:
    command = document["command"]
    if not isinstance(command, list | tuple) or not all(isinstance(word, str) for word in command):
        raise EvaluationError(f"expected the command as a list of words, got {command!r:.200}")
    limits = {name: document[name] for name in ("timeout_seconds", "max_output_bytes") if name in document}
    return CommandEvaluator(space, tuple(command), **limits)


def _one_shot(document: Mapping[str, Any], space: SearchSpace) -> Evaluator:
    stack = StackConfig(**(document.get("stack") or {}))
    folder = document.get("state_folder")
    return OneShotEvaluator.trained(
        space,
        load_dataset(str(document["dataset"])),
        SinglePathConfig(**{**(document.get("training") or {}), "stack": stack}),
        str(chosen_device(str(document.get("device", "auto")))),
        None if folder is None else Path(folder),
    )


_MADE: Mapping[str, Callable[[Mapping[str, Any], SearchSpace], Evaluator]] = {
    "train": _train,
    "table": _table,
    "command": _command,
    "one_shot": _one_shot,
}
