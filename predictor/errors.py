"""Everything that `predictor` raises on purpose.

    PredictorError
    ├── ArchitectureError            a graph that is no architecture
    │   ├── InvalidGraphError            not a finite typed DAG: bad index, cycle, loop, repeated edge, NaN
    │   └── TooSymmetricError            no canonical form within the work limit
    ├── SearchSpaceError
    │   ├── UnknownSearchSpaceError      no built-in space has that name
    │   ├── InvalidDefinitionError       a declared space's document is wrong
    │   ├── NotationError                text or JSON that is not in the space's notation
    │   ├── NotInSpaceError              an architecture that this space cannot express
    │   └── SpaceTooLargeError           asked to enumerate what cannot be enumerated
    ├── TaskError
    │   ├── InvalidMetricError           unit, direction or scale that does not fit
    │   └── InvalidSupportSetError       observations that cannot be adapted to
    ├── FormatError                  a file or module that cannot be read as an architecture
    ├── BenchmarkError               a published table that is missing or not in its published form
    ├── CheckpointError              weights or manifest that cannot be loaded
    ├── AcquisitionError             unknown acquisition or parameter
    ├── SearchError                  a search that cannot be run as asked: strategy, settings, state, what it was told
    ├── EvaluationError              an architecture, data set or recipe that cannot be trained or measured
    │   ├── UnbuildableError             no network can be built from the architecture here
    │   └── FailedEvaluationError        a training, command or look-up that gave no value
    └── ExplanationError             an explanation that cannot be given: method, architecture, or too large a graph

Every message says what was expected and what came. All of them mean that the input has to change: none goes away by
trying again, except a FailedEvaluationError that says so.
"""

from __future__ import annotations


class PredictorError(Exception):
    """Base of all errors of this library."""


class ArchitectureError(PredictorError):
    """A graph that is no architecture."""


class InvalidGraphError(ArchitectureError):
    """Not a finite typed directed acyclic graph."""


class TooSymmetricError(ArchitectureError):
    """The canonical form was not found within the work limit."""


class SearchSpaceError(PredictorError):
    """Base of the errors of search spaces."""


class UnknownSearchSpaceError(SearchSpaceError):
    """No built-in search space has that name."""


class InvalidDefinitionError(SearchSpaceError):
    """The document that declares a search space is wrong."""


class NotationError(SearchSpaceError):
    """Text or JSON that is not in the search space's notation."""


class NotInSpaceError(SearchSpaceError):
    """An architecture that this search space cannot express."""


class SpaceTooLargeError(SearchSpaceError):
    """The search space is too large to be enumerated."""


class TaskError(PredictorError):
    """Base of the errors of tasks and their observations."""


class InvalidMetricError(TaskError):
    """A metric whose unit, direction or scale does not fit."""


class InvalidSupportSetError(TaskError):
    """Observations that a surrogate cannot adapt to."""


class FormatError(PredictorError):
    """A file or a module that cannot be read as an architecture."""


class BenchmarkError(PredictorError):
    """A published table that is missing or not in its published form."""


class CheckpointError(PredictorError):
    """Weights or a manifest that cannot be loaded."""


class AcquisitionError(PredictorError):
    """An unknown acquisition or a parameter outside its range."""


class SearchError(PredictorError):
    """A search that cannot be run as asked."""


class EvaluationError(PredictorError):
    """An architecture, data set or recipe that cannot be trained or measured."""


class UnbuildableError(EvaluationError):
    """No network can be built from the architecture here."""


class FailedEvaluationError(EvaluationError):
    """An evaluation that ran and gave no value; `may_succeed_later` where that need not be so for good."""

    def __init__(self, message: str, *, may_succeed_later: bool = False) -> None:
        super().__init__(message)
        self.may_succeed_later = may_succeed_later


class ExplanationError(PredictorError):
    """An explanation that cannot be given."""
