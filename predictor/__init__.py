"""Forecasts of neural architectures from few measurements: a graph encoder meta-trained with MAML, and what surrounds it.

Pure library: no web, no database, no environment variables. Only the names below are for use from outside.
"""

from predictor.acquisition import ACQUISITIONS, acquisition_values, select_diverse
from predictor.adapted_predictor import AdaptedPredictor
from predictor.architecture import DERIVED_ATTRIBUTES, HASH_ALGORITHM, Architecture, Operation
from predictor.benchmarks.measured_cells import SHIPPED_TASKS, ShippedTask, shipped_tasks
from predictor.champion import shipped_champion
from predictor.errors import (
    AcquisitionError,
    ArchitectureError,
    BenchmarkError,
    CheckpointError,
    InvalidDefinitionError,
    InvalidGraphError,
    InvalidMetricError,
    InvalidSupportSetError,
    NotationError,
    NotInSpaceError,
    PredictorError,
    SearchSpaceError,
    SpaceTooLargeError,
    TaskError,
    TooSymmetricError,
    UnknownSearchSpaceError,
)
from predictor.fine_tuning import Cancelled, FineTuneConfig, FineTuneResult, LoggedCase, fine_tune
from predictor.meta_predictor import MetaPredictor
from predictor.prediction import Predictions
from predictor.scoring import kendall_tau
from predictor.search_spaces.base import MAX_ENUMERATED, Notation, SearchSpace
from predictor.search_spaces.registry import built_in_search_spaces, declared_search_space, search_space
from predictor.surrogate.related_tasks import MAX_RELATED, MIN_OBSERVATIONS, RelatedTasks
from predictor.tasks import MeasuredTask, Metric, Observation, SupportSet, Task, lower_fidelities

__all__ = [
    "ACQUISITIONS",
    "DERIVED_ATTRIBUTES",
    "HASH_ALGORITHM",
    "MAX_ENUMERATED",
    "MAX_RELATED",
    "MIN_OBSERVATIONS",
    "SHIPPED_TASKS",
    "AcquisitionError",
    "AdaptedPredictor",
    "Architecture",
    "ArchitectureError",
    "BenchmarkError",
    "Cancelled",
    "CheckpointError",
    "FineTuneConfig",
    "FineTuneResult",
    "InvalidDefinitionError",
    "InvalidGraphError",
    "InvalidMetricError",
    "InvalidSupportSetError",
    "LoggedCase",
    "MeasuredTask",
    "MetaPredictor",
    "Metric",
    "NotInSpaceError",
    "Notation",
    "NotationError",
    "Observation",
    "Operation",
    "Predictions",
    "PredictorError",
    "RelatedTasks",
    "SearchSpace",
    "SearchSpaceError",
    "ShippedTask",
    "SpaceTooLargeError",
    "SupportSet",
    "Task",
    "TaskError",
    "TooSymmetricError",
    "UnknownSearchSpaceError",
    "acquisition_values",
    "built_in_search_spaces",
    "declared_search_space",
    "fine_tune",
    "kendall_tau",
    "lower_fidelities",
    "search_space",
    "select_diverse",
    "shipped_champion",
    "shipped_tasks",
]
