"""Turns every error of the predictor into an error of the service. Nothing of the predictor's tree leaves this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import predictor
from app.errors import AppError, InternalError, InvalidContentError

APP_ERRORS: dict[type[predictor.PredictorError], type[AppError]] = {
    predictor.PredictorError: InternalError,
    predictor.ArchitectureError: InvalidContentError,
    predictor.InvalidGraphError: InvalidContentError,
    predictor.TooSymmetricError: InvalidContentError,
    predictor.SearchSpaceError: InvalidContentError,
    predictor.UnknownSearchSpaceError: InvalidContentError,
    predictor.InvalidDefinitionError: InvalidContentError,
    predictor.NotationError: InvalidContentError,
    predictor.NotInSpaceError: InvalidContentError,
    predictor.SpaceTooLargeError: InvalidContentError,
    predictor.TaskError: InvalidContentError,
    predictor.InvalidMetricError: InvalidContentError,
    predictor.InvalidSupportSetError: InvalidContentError,
    predictor.FormatError: InvalidContentError,
    predictor.BenchmarkError: InvalidContentError,
    predictor.CheckpointError: InternalError,
    predictor.AcquisitionError: InvalidContentError,
    predictor.SearchError: InvalidContentError,
    predictor.EvaluationError: InvalidContentError,
    predictor.UnbuildableError: InvalidContentError,
    predictor.FailedEvaluationError: InvalidContentError,
    predictor.ExplanationError: InvalidContentError,
}
"""One entry for every class; a test compares it with the tree."""


def app_error(error: predictor.PredictorError) -> AppError:
    """The service's error for one of the predictor's."""
    return APP_ERRORS[type(error)](str(error))


@contextmanager
def translated() -> Iterator[None]:
    """Raises the service's error wherever the block raises one of the predictor's."""
    try:
        yield
    except predictor.PredictorError as error:
        raise app_error(error) from error
