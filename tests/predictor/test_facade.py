"""The façade says what there is, and imports it when it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import predictor


def test_every_name_has_a_home_and_every_home_a_name() -> None:
    assert sorted(predictor._HOMES) == sorted(predictor.__all__)
    for name in predictor.__all__:
        assert getattr(predictor, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        predictor.nothing  # noqa: B018


@pytest.mark.parametrize("module", ["app.client", "app.formats.onnx_child", "predictor.formats.onnx_operators"])
def test_neither_the_client_nor_the_reader_of_files_imports_pytorch(module: str) -> None:
    code = f"import {module}, sys; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
