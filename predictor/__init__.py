"""Forecasts of neural architectures from few measurements: a graph encoder meta-trained with MAML, and what surrounds it.

Pure library: no web, no database, no environment variables. Only the names below are for use from outside. Each is imported when
it is first used, so that whoever needs one of the light ones does not wait for PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
        EvaluationError,
        ExplanationError,
        FailedEvaluationError,
        FormatError,
        InvalidDefinitionError,
        InvalidGraphError,
        InvalidMetricError,
        InvalidSupportSetError,
        NotationError,
        NotInSpaceError,
        PredictorError,
        SearchError,
        SearchSpaceError,
        SpaceTooLargeError,
        TaskError,
        TooSymmetricError,
        UnbuildableError,
        UnknownSearchSpaceError,
    )
    from predictor.evaluate.base import (
        EvaluationResult,
        Evaluator,
        Interrupted,
        Measured,
        Reporter,
        measured_from_json,
        value_of,
    )
    from predictor.evaluate.command_evaluator import request_document
    from predictor.evaluate.data_sources import dataset_names
    from predictor.evaluate.network import NetworkConfig, build_network
    from predictor.evaluate.ray_evaluator import RayConfig, RayEvaluator
    from predictor.evaluate.registry import evaluator_from_json
    from predictor.evaluate.source import pytorch_source
    from predictor.evaluate.supernet.config import DartsConfig
    from predictor.evaluate.supernet.documents import darts_config, differentiable_search, supernet_parameters
    from predictor.evaluate.supernet.loop import TrainingCheckpoints
    from predictor.evaluate.supernet.one_shot import ONE_SHOT_FIDELITY, OneShotEvaluator
    from predictor.evaluate.supernet.search import DartsProgress, DartsResult, DifferentiableSearch
    from predictor.evaluate.table_evaluator import TableEvaluator
    from predictor.explain.gradients import GradientConfig, GradientExplanation, explain_gradients
    from predictor.explain.reading import decision_names, parts_of
    from predictor.explain.shapley import ShapleyConfig, ShapleyExplanation, explain_shapley
    from predictor.explain.summary import TaskSummary, summarise
    from predictor.explain.swaps import SwapExplanation, explain_swaps
    from predictor.fine_tuning import (
        Cancelled,
        FineTuneCheckpoints,
        FineTuneConfig,
        FineTuneResult,
        LoggedCase,
        compare,
        fine_tune,
    )
    from predictor.formats.onnx_operators import architecture_from_onnx
    from predictor.formats.torch_export import architecture_from_module
    from predictor.meta_predictor import MetaPredictor
    from predictor.prediction import Predictions
    from predictor.scoring import kendall_tau
    from predictor.search.base import Forecaster, Outcome, Proposal, SearchProblem, SearchStrategy
    from predictor.search.constraints import Constraint
    from predictor.search.pareto import hypervolume, non_dominated, reference_point
    from predictor.search.registry import StrategyInfo, make_strategy, strategy_info, strategy_names
    from predictor.search_spaces.base import MAX_ENUMERATED, Notation, SearchSpace
    from predictor.search_spaces.registry import built_in_search_spaces, declared_search_space, search_space
    from predictor.searching import SmoothRelaxation
    from predictor.surrogate.related_tasks import MAX_RELATED, MIN_OBSERVATIONS, RelatedTasks
    from predictor.tasks import MeasuredTask, Metric, Observation, SupportSet, Task, lower_fidelities
    from predictor.version_archive import pack, unpack

_HOMES = {
    "ACQUISITIONS": "predictor.acquisition",
    "acquisition_values": "predictor.acquisition",
    "select_diverse": "predictor.acquisition",
    "AdaptedPredictor": "predictor.adapted_predictor",
    "DERIVED_ATTRIBUTES": "predictor.architecture",
    "HASH_ALGORITHM": "predictor.architecture",
    "Architecture": "predictor.architecture",
    "Operation": "predictor.architecture",
    "SHIPPED_TASKS": "predictor.benchmarks.measured_cells",
    "ShippedTask": "predictor.benchmarks.measured_cells",
    "shipped_tasks": "predictor.benchmarks.measured_cells",
    "shipped_champion": "predictor.champion",
    "AcquisitionError": "predictor.errors",
    "ArchitectureError": "predictor.errors",
    "BenchmarkError": "predictor.errors",
    "CheckpointError": "predictor.errors",
    "Constraint": "predictor.search.constraints",
    "EvaluationError": "predictor.errors",
    "ExplanationError": "predictor.errors",
    "FailedEvaluationError": "predictor.errors",
    "FormatError": "predictor.errors",
    "InvalidDefinitionError": "predictor.errors",
    "InvalidGraphError": "predictor.errors",
    "InvalidMetricError": "predictor.errors",
    "InvalidSupportSetError": "predictor.errors",
    "NotInSpaceError": "predictor.errors",
    "NotationError": "predictor.errors",
    "PredictorError": "predictor.errors",
    "SearchError": "predictor.errors",
    "SearchSpaceError": "predictor.errors",
    "SpaceTooLargeError": "predictor.errors",
    "TaskError": "predictor.errors",
    "TooSymmetricError": "predictor.errors",
    "UnbuildableError": "predictor.errors",
    "UnknownSearchSpaceError": "predictor.errors",
    "EvaluationResult": "predictor.evaluate.base",
    "Evaluator": "predictor.evaluate.base",
    "Interrupted": "predictor.evaluate.base",
    "Measured": "predictor.evaluate.base",
    "Reporter": "predictor.evaluate.base",
    "measured_from_json": "predictor.evaluate.base",
    "value_of": "predictor.evaluate.base",
    "request_document": "predictor.evaluate.command_evaluator",
    "NetworkConfig": "predictor.evaluate.network",
    "build_network": "predictor.evaluate.network",
    "RayConfig": "predictor.evaluate.ray_evaluator",
    "RayEvaluator": "predictor.evaluate.ray_evaluator",
    "evaluator_from_json": "predictor.evaluate.registry",
    "pytorch_source": "predictor.evaluate.source",
    "dataset_names": "predictor.evaluate.data_sources",
    "DartsConfig": "predictor.evaluate.supernet.config",
    "darts_config": "predictor.evaluate.supernet.documents",
    "differentiable_search": "predictor.evaluate.supernet.documents",
    "supernet_parameters": "predictor.evaluate.supernet.documents",
    "TrainingCheckpoints": "predictor.evaluate.supernet.loop",
    "ONE_SHOT_FIDELITY": "predictor.evaluate.supernet.one_shot",
    "OneShotEvaluator": "predictor.evaluate.supernet.one_shot",
    "DartsProgress": "predictor.evaluate.supernet.search",
    "DartsResult": "predictor.evaluate.supernet.search",
    "DifferentiableSearch": "predictor.evaluate.supernet.search",
    "TableEvaluator": "predictor.evaluate.table_evaluator",
    "GradientConfig": "predictor.explain.gradients",
    "GradientExplanation": "predictor.explain.gradients",
    "explain_gradients": "predictor.explain.gradients",
    "decision_names": "predictor.explain.reading",
    "parts_of": "predictor.explain.reading",
    "ShapleyConfig": "predictor.explain.shapley",
    "ShapleyExplanation": "predictor.explain.shapley",
    "explain_shapley": "predictor.explain.shapley",
    "TaskSummary": "predictor.explain.summary",
    "summarise": "predictor.explain.summary",
    "SwapExplanation": "predictor.explain.swaps",
    "explain_swaps": "predictor.explain.swaps",
    "Cancelled": "predictor.fine_tuning",
    "FineTuneCheckpoints": "predictor.fine_tuning",
    "FineTuneConfig": "predictor.fine_tuning",
    "FineTuneResult": "predictor.fine_tuning",
    "LoggedCase": "predictor.fine_tuning",
    "compare": "predictor.fine_tuning",
    "fine_tune": "predictor.fine_tuning",
    "architecture_from_onnx": "predictor.formats.onnx_operators",
    "architecture_from_module": "predictor.formats.torch_export",
    "MetaPredictor": "predictor.meta_predictor",
    "Predictions": "predictor.prediction",
    "kendall_tau": "predictor.scoring",
    "Forecaster": "predictor.search.base",
    "Outcome": "predictor.search.base",
    "Proposal": "predictor.search.base",
    "SearchProblem": "predictor.search.base",
    "SearchStrategy": "predictor.search.base",
    "hypervolume": "predictor.search.pareto",
    "non_dominated": "predictor.search.pareto",
    "reference_point": "predictor.search.pareto",
    "StrategyInfo": "predictor.search.registry",
    "make_strategy": "predictor.search.registry",
    "strategy_info": "predictor.search.registry",
    "strategy_names": "predictor.search.registry",
    "MAX_ENUMERATED": "predictor.search_spaces.base",
    "Notation": "predictor.search_spaces.base",
    "SearchSpace": "predictor.search_spaces.base",
    "built_in_search_spaces": "predictor.search_spaces.registry",
    "declared_search_space": "predictor.search_spaces.registry",
    "search_space": "predictor.search_spaces.registry",
    "SmoothRelaxation": "predictor.searching",
    "MAX_RELATED": "predictor.surrogate.related_tasks",
    "MIN_OBSERVATIONS": "predictor.surrogate.related_tasks",
    "RelatedTasks": "predictor.surrogate.related_tasks",
    "MeasuredTask": "predictor.tasks",
    "Metric": "predictor.tasks",
    "Observation": "predictor.tasks",
    "SupportSet": "predictor.tasks",
    "Task": "predictor.tasks",
    "lower_fidelities": "predictor.tasks",
    "pack": "predictor.version_archive",
    "unpack": "predictor.version_archive",
}


def __getattr__(name: str) -> Any:
    """The object of that name, from where it is defined."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'predictor' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


__all__ = [
    "ACQUISITIONS",
    "DERIVED_ATTRIBUTES",
    "HASH_ALGORITHM",
    "MAX_ENUMERATED",
    "MAX_RELATED",
    "MIN_OBSERVATIONS",
    "ONE_SHOT_FIDELITY",
    "SHIPPED_TASKS",
    "AcquisitionError",
    "AdaptedPredictor",
    "Architecture",
    "ArchitectureError",
    "BenchmarkError",
    "Cancelled",
    "CheckpointError",
    "Constraint",
    "DartsConfig",
    "DartsProgress",
    "DartsResult",
    "DifferentiableSearch",
    "EvaluationError",
    "EvaluationResult",
    "Evaluator",
    "ExplanationError",
    "FailedEvaluationError",
    "FineTuneCheckpoints",
    "FineTuneConfig",
    "FineTuneResult",
    "Forecaster",
    "FormatError",
    "GradientConfig",
    "GradientExplanation",
    "Interrupted",
    "InvalidDefinitionError",
    "InvalidGraphError",
    "InvalidMetricError",
    "InvalidSupportSetError",
    "LoggedCase",
    "Measured",
    "MeasuredTask",
    "MetaPredictor",
    "Metric",
    "NetworkConfig",
    "NotInSpaceError",
    "Notation",
    "NotationError",
    "Observation",
    "OneShotEvaluator",
    "Operation",
    "Outcome",
    "Predictions",
    "PredictorError",
    "Proposal",
    "RayConfig",
    "RayEvaluator",
    "RelatedTasks",
    "Reporter",
    "SearchError",
    "SearchProblem",
    "SearchSpace",
    "SearchSpaceError",
    "SearchStrategy",
    "ShapleyConfig",
    "ShapleyExplanation",
    "ShippedTask",
    "SmoothRelaxation",
    "SpaceTooLargeError",
    "StrategyInfo",
    "SupportSet",
    "SwapExplanation",
    "TableEvaluator",
    "Task",
    "TaskError",
    "TaskSummary",
    "TooSymmetricError",
    "TrainingCheckpoints",
    "UnbuildableError",
    "UnknownSearchSpaceError",
    "acquisition_values",
    "architecture_from_module",
    "architecture_from_onnx",
    "build_network",
    "built_in_search_spaces",
    "compare",
    "darts_config",
    "dataset_names",
    "decision_names",
    "declared_search_space",
    "differentiable_search",
    "evaluator_from_json",
    "explain_gradients",
    "explain_shapley",
    "explain_swaps",
    "fine_tune",
    "hypervolume",
    "kendall_tau",
    "lower_fidelities",
    "make_strategy",
    "measured_from_json",
    "non_dominated",
    "pack",
    "parts_of",
    "pytorch_source",
    "reference_point",
    "request_document",
    "search_space",
    "select_diverse",
    "shipped_champion",
    "shipped_tasks",
    "strategy_info",
    "strategy_names",
    "summarise",
    "supernet_parameters",
    "unpack",
    "value_of",
]
