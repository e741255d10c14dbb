"""Settings of a strategy: a frozen dataclass whose fields say what they mean and which values they may have.

@dataclass(frozen=True)
class EvolutionSettings(StrategySettings):
    population: int = setting(50, "How many architectures are alive at a time.", low=2)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from predictor.errors import SearchError

SettingValue = bool | int | float | str

_JSON_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_MOST = 2**53  # whole numbers beyond it are not the same in every JSON reader


@dataclass(frozen=True)
class Setting:
    """One setting of a strategy, for people and forms."""

    name: str
    type: type
    default: SettingValue
    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[SettingValue, ...] = ()

    @property
    def expected(self) -> str:
        """Its values in words, for error messages."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[self.type]
        from_low = "" if self.low is None else f" from {self.low:g}"
        return f"{kind}{from_low}{'' if self.high is None else f' to {self.high:g}'}"

    def to_json(self) -> dict[str, Any]:
        """As a property of a JSON schema."""
        known = {"minimum": self.low, "maximum": self.high, "enum": list(self.choices) or None}
        document = {"type": _JSON_TYPES[self.type], "description": self.description, "default": self.default}
        return {**document, **{key: value for key, value in known.items() if value is not None}}

    def read(self, value: object) -> SettingValue:
        """The value as this setting has it.

        Raises:
            SearchError: if it is none.
        """
        if self.type is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST:
            value = float(value)
        if type(value) is not self.type or not self._allows(cast(SettingValue, value)):
            raise SearchError(f"expected setting {self.name} to be {self.expected}, got {ascii(value)[:100]}")
        return cast(SettingValue, value)

    def _allows(self, value: SettingValue) -> bool:
        if self.choices:
            return value in self.choices
        if isinstance(value, str):
            return True
        inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return inside and math.isfinite(value) and abs(value) <= _MOST


def setting(
    default: SettingValue,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[SettingValue, ...] = (),
) -> Any:
    """A field of a settings class."""
    metadata = {"description": description, "low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class StrategySettings:
    """Base of the settings of strategies; what has none uses it as it is.

    Raises:
        SearchError: if a value is not one that its setting may have.
    """

    def __post_init__(self) -> None:
        for one in list_settings(type(self)):
            object.__setattr__(self, one.name, one.read(getattr(self, one.name)))


Settings = TypeVar("Settings", bound=StrategySettings)


def list_settings(settings_type: type[StrategySettings]) -> tuple[Setting, ...]:
    """All settings of a strategy, in the order in which its class has them."""
    return tuple(
        Setting(field.name, type(field.default), cast(SettingValue, field.default), **field.metadata)
        for field in dataclasses.fields(settings_type)
    )


def read_settings(settings_type: type[Settings], given: Mapping[str, object]) -> Settings:
    """Settings from what a user wrote; what is left out has its default.

    Raises:
        SearchError: if a name is unknown or a value is not allowed.
    """
    known = [one.name for one in list_settings(settings_type)]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise SearchError(f"expected the settings {', '.join(known) or '(none)'}, got also {', '.join(unknown)[:200]}")
    return settings_type(**cast(Any, dict(given)))
