"""Every error of the predictor has an error of the service."""

from __future__ import annotations

import pytest

from app.errors import AppError, InvalidContentError
from app.inference.errors import APP_ERRORS, translated
from predictor import NotationError, PredictorError


def descendants(kind: type[PredictorError]) -> set[type[PredictorError]]:
    return {kind}.union(*(descendants(child) for child in kind.__subclasses__()))


def test_every_predictor_error_is_mapped() -> None:
    assert descendants(PredictorError) == set(APP_ERRORS)


def test_every_predictor_error_leaves_as_an_error_of_the_service() -> None:
    for kind in descendants(PredictorError):
        with pytest.raises(AppError, match="expected 1, got 2"), translated():
            raise kind("expected 1, got 2")


def test_other_errors_pass_untouched() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("mine")


def test_the_cause_is_kept() -> None:
    with pytest.raises(InvalidContentError) as caught, translated():
        raise NotationError("expected a cell, got none")

    assert isinstance(caught.value.__cause__, NotationError)
