"""The import rules in pyproject.toml speak of every module that there is."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]


def _contract(name: str) -> dict[str, list[str]]:
    contracts = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(contract for contract in contracts if contract["name"] == name)


def _modules(package: str) -> set[str]:
    children = (_ROOT / package).iterdir()
    return {
        f"{package}.{child.stem}"
        for child in children
        if not child.name.startswith("_") and (child.suffix == ".py" or (child / "__init__.py").exists())
    }


@pytest.mark.parametrize(
    ("contract", "field", "expected"),
    [
        (
            "only app.inference and app.formats import predictor",
            "source_modules",
            _modules("app") - {"app.inference", "app.formats"},
        ),
        ("app uses the facade alone", "forbidden_modules", _modules("predictor")),
    ],
)
def test_a_rule_lists_every_module(contract: str, field: str, expected: set[str]) -> None:
    assert set(_contract(contract)[field]) == expected
