"""The only importer of `predictor`: converts types and errors, holds what answers.

notations   search spaces by name; architectures in whatever form a request writes them
records     the SQL: support sets, model versions, adaptations
versions    model versions in memory
forecasts   forecasts with memory
relations   what related tasks say
serving     Inference, which notices new adaptations; adapting a task
proposing   unmeasured architectures: enumerated or searched, scored, diverse
training    fine-tuning
searching   search strategies, and forecasts for them
supernets   differentiable search
datasets    image data sets that requests may name
shipped     the evaluated architectures that come with the program
"""

from app.inference.forecasts import SHOWN, Forecast, Forecaster, ServedTask
from app.inference.notations import (
    ParsedArchitecture,
    SearchSpaceSummary,
    built_in_search_spaces,
    declared_search_space,
    parse_architecture,
    parse_many,
    referenced_ids,
    sampled,
    search_space,
    summary,
)
from app.inference.records import (
    MIN_RELATED,
    champion_id,
    effective_version,
    pinned_version,
    pinned_versions,
    referred_architectures,
    stored_architectures,
    task_ids_to_adapt,
)
from app.inference.relations import Relations
from app.inference.serving import Inference, NewAdaptation, adapt_task, warm_up
from app.inference.shipped import ShippedContents, shipped_contents, shipped_task_names
from app.inference.training import (
    Candidate,
    FineTuneRequest,
    FineTuneStoppedError,
    SavedFineTune,
    checked_config,
    code_version,
    compare,
    default_settings,
    fine_tune,
)
from app.inference.versions import ShippedVersion, Versions, is_readable, packed, shipped_version, unpacked, version_of
from predictor import kendall_tau

__all__ = [
    "MIN_RELATED",
    "SHOWN",
    "Candidate",
    "FineTuneRequest",
    "FineTuneStoppedError",
    "Forecast",
    "Forecaster",
    "Inference",
    "NewAdaptation",
    "ParsedArchitecture",
    "Relations",
    "SavedFineTune",
    "SearchSpaceSummary",
    "ServedTask",
    "ShippedContents",
    "ShippedVersion",
    "Versions",
    "adapt_task",
    "built_in_search_spaces",
    "champion_id",
    "checked_config",
    "code_version",
    "compare",
    "declared_search_space",
    "default_settings",
    "effective_version",
    "fine_tune",
    "is_readable",
    "kendall_tau",
    "packed",
    "parse_architecture",
    "parse_many",
    "pinned_version",
    "pinned_versions",
    "referenced_ids",
    "referred_architectures",
    "sampled",
    "search_space",
    "shipped_contents",
    "shipped_task_names",
    "shipped_version",
    "stored_architectures",
    "summary",
    "task_ids_to_adapt",
    "unpacked",
    "version_of",
    "warm_up",
]
