"""Evaluates by training for real: accuracy by epoch, seconds, parameters, multiply-accumulates, latency."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from predictor.architecture import Architecture
from predictor.errors import EvaluationError
from predictor.evaluate.base import EvaluationResult, Evaluator, Measured, Reporter, Silent
from predictor.evaluate.costs import LatencyConfig, measure_latency, multiply_accumulates
from predictor.evaluate.examples import SplitDataset
from predictor.evaluate.network import NetworkConfig, build_network, num_parameters
from predictor.evaluate.recipe import Recipe
from predictor.evaluate.trainer import Trained, Training, measured_after, train
from predictor.search_spaces.base import SearchSpace
from predictor.search_spaces.skeletons import NoNetwork


def chosen_device(name: str) -> torch.device:
    """A device by name; auto: the first GPU if there is one, the CPU otherwise.

    Raises:
        EvaluationError: if there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EvaluationError(f"expected a device such as auto, cpu, cuda or cuda:1, got {name!r:.80}") from error
    if device.type not in ("cpu", "cuda") or (
        device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    ):
        raise EvaluationError(f"expected the CPU or one of {torch.cuda.device_count()} GPUs, got {name!r:.80}")
    return device


@dataclass(frozen=True)
class TrainingEvaluator(Evaluator):
    """Trains every architecture on one data set by one recipe.

    `state_folder`: where the state of trainings is kept, so that a killed one goes on; None: nowhere. `latency`: how it is measured; None: it is not.

    Raises:
        EvaluationError: if architectures of that search space are no image classifiers, or its skeleton has no such sizes.
    """

    space: SearchSpace
    dataset: SplitDataset
    recipe: Recipe
    network: NetworkConfig
    device: torch.device
    latency: LatencyConfig | None = None
    state_folder: Path | None = None
    save_every_seconds: float = 5.0

    def __post_init__(self) -> None:
        skeleton = self.space.skeleton.resized(self.network.sizes)
        if isinstance(skeleton, NoNetwork):
            raise EvaluationError(f"expected a search space of image classifiers, got one of {skeleton.reason}")

    def evaluate(
        self, architecture: Architecture, fidelity: float = 1.0, seed: int = 0, reporter: Reporter | None = None
    ) -> EvaluationResult:
        generator = torch.Generator().manual_seed(seed)
        network = build_network(architecture, self.space, self.network, generator)
        recipe, name = self.recipe.with_fidelity(fidelity), f"{architecture.hash}-seed{seed}-{fidelity:.6g}"
        state_file = None if self.state_folder is None else self.state_folder / f"{name}.safetensors"
        sizes = sorted(self.network.sizes.items())
        identity = f"{name} {self.space.name} {sizes} {self.network.resolution}"
        training = Training(
            *(network, self.dataset, recipe, seed, self.device, identity),
            fidelity=fidelity,
            state_file=state_file,
            save_every_seconds=self.save_every_seconds,
        )
        trained = train(training, reporter or Silent())
        costs: dict[str, float] = {
            "params": num_parameters(network),
            "flops": multiply_accumulates(network.plan, self.network.image_shape),
        }
        if self.latency is not None:
            costs |= _latencies(network, self.network.image_shape, self.device, self.latency)
        return self._result(training, trained, costs)

    def with_state(self, folder: Path) -> TrainingEvaluator:
        return dataclasses.replace(self, state_folder=folder)

    def _result(self, training: Training, trained: Trained, costs: dict[str, float]) -> EvaluationResult:
        curve = tuple(measured_after(training, trained.progress, epoch + 1) for epoch in range(trained.progress.epoch))
        last, metrics = curve[-1], dict(curve[-1].metrics)
        metrics["test_accuracy_percent"] = trained.test_accuracy_percent
        facts = {
            "device": str(self.device),
            "dataset": self.dataset.name,
            "went_on_from_epoch": trained.went_on_from,
            "epochs": trained.progress.epoch,
        }
        final = Measured(last.fidelity, {**metrics, **costs}, last.cost_seconds)
        return EvaluationResult(final, curve[:-1], trained.stopped_early, facts)


def _latencies(
    network: torch.nn.Module, image_shape: tuple[int, int, int], device: torch.device, config: LatencyConfig
) -> dict[str, float]:
    found: dict[str, float] = {}
    for number, one in enumerate(measure_latency(network, image_shape, device, config)):
        if number == 0:
            found |= {"latency_ms": one.median_ms, "latency_spread_ms": one.spread_ms}
        found[f"latency_ms_batch_{one.batch_size}"] = one.median_ms
        found[f"latency_spread_ms_batch_{one.batch_size}"] = one.spread_ms
    return found
