"""Differentiable search for the service: what may be asked of it, its size, and the search itself in the service's types."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import predictor
from app.errors import InvalidContentError
from app.inference.errors import translated
from app.inference.notations import ParsedArchitecture, SearchSpace, identified, parse_architecture
from app.inference.searching import StrategySummary
from predictor import DartsConfig, DartsProgress, DartsResult

STRATEGY = "darts"
MAX_CELLS = 20  # of a network
MAX_PARAMETERS = 8_000_000  # a checkpoint has 8 bytes for each

_DESCRIPTION = (
    "Trains one network that holds every operation of every edge, its weights and what is chosen in turn, by gradient; then the "
    "network that was chosen, from scratch. Needs a search space of cells. Partial channels with normalised edges and warm-up "
    "are PC-DARTS, early_stopping is DARTS-ES."
)
_SOURCE = (
    "Liu, Simonyan & Yang, DARTS: Differentiable Architecture Search, ICLR 2019; Xu et al., PC-DARTS, ICLR 2020; "
    "Zela et al., Understanding and Robustifying Differentiable Architecture Search, ICLR 2020"
)
_RECORDED = "genotype"


@dataclass(frozen=True)
class _Setting:
    """What a setting means, and the range that a request may ask for."""

    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


_SETTINGS: Mapping[str, _Setting] = {
    "epochs": _Setting("Of the search.", 1, 600),
    "order": _Setting(
        "first, or the second order by differences as in the paper, or exactly.",
        choices=("first", "second", "second_exact"),
    ),
    "batch_size": _Setting("Images at once.", 2, 512),
    "learning_rate": _Setting("Of the weights, at first.", 0.0, 10.0),
    "least_learning_rate": _Setting("Of the weights, in the end.", 0.0, 10.0),
    "momentum": _Setting("Of the weights.", 0.0, 1.0),
    "weight_decay": _Setting("Of the weights.", 0.0, 1.0),
    "gradient_limit": _Setting("Longest that a gradient of the weights may be.", 0.0, 1e6),
    "architecture_rate": _Setting("How fast the architecture moves.", 0.0, 10.0),
    "architecture_decay": _Setting("Weight decay of the architecture.", 0.0, 1.0),
    "warmup_epochs": _Setting("In which weights alone are trained.", 0, 599),
    "normalises_edges": _Setting("PC-DARTS: edges have weights of their own."),
    "seed": _Setting("In the place of the search's own seed.", 0, 2**31 - 1),
    "stack.stem_channels": _Setting("Width of the first stage; every stage doubles it.", 1, 64),
    "stack.cells_per_stage": _Setting("Cells of one resolution.", 1, MAX_CELLS),
    "stack.num_stages": _Setting("Resolutions.", 1, 5),
    "stack.partial_channels": _Setting("PC-DARTS: one channel in so many is mixed.", 1, 64),
    "retraining.epochs": _Setting("Of the training from scratch; 0: none.", 0, 600),
    "retraining.batch_size": _Setting("Images at once.", 2, 512),
    "retraining.max_learning_rate": _Setting("At the top of its one cycle.", 0.0, 10.0),
    "retraining.weight_decay": _Setting("Of the weights.", 0.0, 1.0),
    "retraining.gradient_limit": _Setting("Longest that a gradient may be.", 0.0, 1e6),
    "early_stopping.window": _Setting("Epochs whose mean eigenvalue counts.", 1, 600),
    "early_stopping.distance": _Setting("Epochs between what is compared.", 1, 600),
    "early_stopping.ratio": _Setting("It stops when the eigenvalue was less than this share of what it is.", 0.0, 1.0),
    "early_stopping.first_epoch": _Setting("What came before does not count.", 0, 600),
    "early_stopping.iterations": _Setting("Products with the Hessian for one eigenvalue.", 1, 100),
}
_PARTS = {
    "stack": "The network around the cells, while searching and afterwards.",
    "retraining": "How the chosen network is trained from scratch.",
    "early_stopping": "DARTS-ES: stop before the loss bends too sharply, and go back; null: never.",
}
_JSON_TYPES: Mapping[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


@dataclass(frozen=True)
class SupernetPlan:
    """What a differentiable search is made from. `settings` are as they were asked for, without data set and seed."""

    space: SearchSpace
    dataset: str
    settings: Mapping[str, Any]
    seed: int

    @classmethod
    def read(cls, space: SearchSpace, settings: Mapping[str, Any], seed: int) -> SupernetPlan:
        """From the settings of a request; a seed among them is taken in the place of the other.

        Raises:
            InvalidContentError: if a setting is unknown or out of its range, the network would be too large, or the space has
                no cells.
        """
        rest = {name: value for name, value in settings.items() if name not in ("dataset", "seed")}
        plan = cls(space, str(settings.get("dataset")), rest, settings.get("seed", seed))
        with translated():
            config = plan.config
            _check_ranges(config)
            _check_size(space, config)
        return plan

    @property
    def config(self) -> DartsConfig:
        """All its settings, with their defaults."""
        return predictor.darts_config({**self.settings, "seed": self.seed})

    @property
    def num_retraining_epochs(self) -> int:
        """For how long what was found is trained from scratch; 0: not at all."""
        return self.config.retraining.epochs

    def tells(self, dataset: str, metric: str, unit: str) -> bool:
        """Whether it measures what a task of that data set and metric is about."""
        is_same = self.num_retraining_epochs > 0 and self.dataset == dataset
        return is_same and retrained_value(0.0, metric, unit) is not None


def _check_ranges(config: DartsConfig) -> None:
    for name, setting in _SETTINGS.items():
        part, _, own = name.rpartition(".")
        holder = getattr(config, part) if part else config
        value = None if holder is None else getattr(holder, own)
        if value is None or setting.low is None or setting.high is None:
            continue
        if not setting.low <= value <= setting.high:
            raise InvalidContentError(f"expected {name} from {setting.low:g} to {setting.high:g}, got {value!r:.80}")


def _check_size(space: SearchSpace, config: DartsConfig) -> None:
    num_cells = config.stack.cells_per_stage * config.stack.num_stages
    if num_cells > MAX_CELLS:
        raise InvalidContentError(
            f"expected at most {MAX_CELLS} cells (stack.cells_per_stage × stack.num_stages), got {num_cells}"
        )
    # What is retrained has no partial channels: it may be larger than the supernet that it was chosen from.
    whole = replace(config, stack=replace(config.stack, partial_channels=1))
    num_parameters = predictor.supernet_parameters(space, whole)
    if num_parameters > MAX_PARAMETERS:
        raise InvalidContentError(
            f"expected a supernet of at most {MAX_PARAMETERS:,} weights at its full width, got {num_parameters:,}: take fewer "
            "stack.stem_channels, stack.num_stages or stack.cells_per_stage"
        )


def strategy_summary() -> StrategySummary:
    """What users are told about it."""
    return StrategySummary(STRATEGY, _DESCRIPTION, _SOURCE, False, False, _schema())


@cache
def _schema() -> dict[str, Any]:
    default = predictor.darts_config({"early_stopping": {}})
    dataset = {
        "type": "string",
        "description": "Name of a data set of images: one that needs no file (digits, photo_regions, …), or a file of the "
        "service's folder, without .npz. A name that is not there is answered with those that are.",
    }
    properties = {"dataset": dataset, **_properties("", default)}
    for part, description in _PARTS.items():
        own = {"type": "object", "description": description, "additionalProperties": False}
        properties[part] = {**own, "properties": _properties(part, getattr(default, part))}
    properties["early_stopping"] |= {"type": ["object", "null"], "default": None}
    return {"type": "object", "properties": properties, "required": ["dataset"], "additionalProperties": False}


def _properties(part: str, default: Any) -> dict[str, dict[str, Any]]:
    """The settings of a part as properties of a JSON schema."""
    found: dict[str, dict[str, Any]] = {}
    for field in fields(default):
        setting = _SETTINGS.get(f"{part}.{field.name}" if part else field.name)
        if setting is None:
            continue
        value = getattr(default, field.name)
        known = {"minimum": setting.low, "maximum": setting.high, "enum": list(setting.choices) or None}
        found[field.name] = {"type": _JSON_TYPES[type(value)], "description": setting.description, "default": value}
        found[field.name] |= {name: one for name, one in known.items() if one is not None}
    found.get("seed", {}).pop("default", None)  # that of the search
    return found


@dataclass(frozen=True)
class SupernetEpoch:
    """What came of an epoch. `decoded` is what it has chosen, None while what was found is retrained; `found` is what would be
    the result if this were the end; `content` is what to go on from."""

    stage: str
    epoch: int
    num_epochs: int
    percent: float
    record: Mapping[str, Any]  # what it says for people: finite numbers, or None
    decoded: ParsedArchitecture | None
    found: ParsedArchitecture
    content: bytes


@dataclass(frozen=True)
class SupernetResult:
    """What was found; the accuracy is that of the retrained network on the test images, `went_back_to` an epoch from 1."""

    found: ParsedArchitecture
    accuracy_percent: float | None
    went_back_to: int | None
    num_epochs: int
    is_finished: bool


class SupernetSearch:
    """A differentiable search at work. Belongs to one thread; on a GPU where there is one.

    Raises:
        InvalidContentError: if the data set cannot be loaded or is too small, or a setting is wrong.
    """

    def __init__(self, plan: SupernetPlan, source: str) -> None:
        """`source` is what is loaded as the data set."""
        self._space = plan.space
        with translated():
            document = {**plan.settings, "seed": plan.seed, "dataset": source}
            self._search = predictor.differentiable_search(plan.space, document)
        self._content = b""

    def run(
        self, on_epoch: Callable[[SupernetEpoch], bool], last: bytes | None, on_batch: Callable[[], None]
    ) -> SupernetResult:
        """Searches and retrains from `last` on. `on_epoch` says whether to go on; what it or `on_batch` raises ends the search.

        Raises:
            InvalidContentError: if a training diverges.
            InternalError: if `last` is of another search, such as one on other images.
        """
        checkpoints = predictor.TrainingCheckpoints(self._keep, last)
        with translated():
            result = self._search.run(lambda progress: on_epoch(self._told(progress)), checkpoints, on_batch)
            return self._result(result)

    def _keep(self, content: bytes) -> None:
        self._content = content  # it is told of with the epoch

    def _told(self, progress: DartsProgress) -> SupernetEpoch:
        genotype = progress.record.get(_RECORDED)
        return SupernetEpoch(
            stage=progress.stage,
            epoch=progress.epoch,
            num_epochs=progress.num_epochs,
            percent=progress.percent,
            record={name: _finite(value) for name, value in progress.record.items() if name != _RECORDED},
            decoded=None if genotype is None else parse_architecture(self._space, genotype),
            found=identified(self._space, self._search.architecture),
            content=self._content,
        )

    def _result(self, result: DartsResult) -> SupernetResult:
        return SupernetResult(
            found=identified(self._space, result.architecture),
            accuracy_percent=result.accuracy_percent,
            went_back_to=None if result.went_back_to is None else result.went_back_to + 1,
            num_epochs=len(result.history),
            is_finished=result.is_finished,
        )


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def retrained_value(accuracy_percent: float, metric: str, unit: str) -> float | None:
    """The accuracy on the test images as a task's metric has it, in its unit; None if the metric is another thing."""
    metrics = {"accuracy_percent": accuracy_percent, "test_accuracy_percent": accuracy_percent}
    try:
        return predictor.value_of(predictor.Measured(1.0, metrics), metric, unit)
    except predictor.EvaluationError:
        return None
