"""The values of a declared decision as its document gives them, read strictly."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import Any

from predictor.errors import InvalidDefinitionError
from predictor.search_spaces.declared_values import Domain, Grid, Listed, Range, Value, value_key
from predictor.search_spaces.json_notation import is_number, is_storable_text, shortened

MAX_VALUES = 200
MAX_TEXT = 256

_TYPES = ("categorical", "ordinal", "integer", "real")
_LARGEST_WHOLE = 2**53
_LARGEST_REAL = 1e100
_MOST_STEPS = 2**53
_FINEST = 1e-12
_COMMON_KEYS = {"repeat", "when", "description"}


def check_keys(part: str, fields: Mapping[str, object], required: set[str], optional: set[str]) -> None:
    """Refuses a part of the document with keys missing or too many.

    Raises:
        InvalidDefinitionError: if so.
    """
    missing = sorted(required - set(fields))
    if missing:
        raise InvalidDefinitionError(f"{part}: expected {', '.join(missing)}, got none")
    unknown = [key for key in fields if key not in required | optional]
    if unknown:
        allowed = ", ".join(sorted(required | optional))
        raise InvalidDefinitionError(f"{part}: expected the keys {allowed}, got also {shortened(unknown)}")


def read_domain(part: str, fields: Mapping[str, object]) -> Domain:
    """The values of the decision that these fields describe.

    Raises:
        InvalidDefinitionError: if its type, values, bounds, step or log are wrong.
    """
    match fields.get("type"):
        case "categorical" | "ordinal" as type_name:
            check_keys(part, fields, {"name", "type", "values"}, _COMMON_KEYS)
            return Listed(_read_values(part, fields["values"]), ordered=type_name == "ordinal")
        case "integer":
            check_keys(part, fields, {"name", "type", "low", "high"}, {*_COMMON_KEYS, "step", "log"})
            return _read_integers(part, fields)
        case "real":
            check_keys(part, fields, {"name", "type", "low", "high"}, {*_COMMON_KEYS, "step", "log"})
            return _read_reals(part, fields)
        case other:
            raise InvalidDefinitionError(
                f"{part}: expected type to be one of {', '.join(_TYPES)}, got {shortened(other)}"
            )


def _read_values(part: str, listed: object) -> tuple[Value, ...]:
    if not isinstance(listed, list | tuple) or not 1 <= len(listed) <= MAX_VALUES:
        came = f"{len(listed)} of them" if isinstance(listed, list | tuple) else type(listed).__name__
        raise InvalidDefinitionError(f"{part}: expected values to be a list of 1 to {MAX_VALUES} values, got {came}")
    seen: set[Hashable] = set()
    for value in listed:
        if not _is_value(value):
            raise InvalidDefinitionError(
                f"{part}: expected values to be text of at most {MAX_TEXT} characters without NUL, finite numbers or "
                f"truth values, got {shortened(value)}"
            )
        if value_key(value) in seen:
            raise InvalidDefinitionError(f"{part}: expected every value once, got {shortened(value)} again")
        seen.add(value_key(value))
    return tuple(listed)


def _is_value(value: object) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, str):
        return is_storable_text(value, MAX_TEXT)
    if isinstance(value, int):
        return abs(value) <= _LARGEST_WHOLE
    return isinstance(value, float) and is_number(value) and abs(value) <= _LARGEST_REAL


def _read_integers(part: str, fields: Mapping[str, object]) -> Grid:
    low: Any = fields["low"]
    high: Any = fields["high"]
    step: Any = fields.get("step", 1)
    for key, value in (("low", low), ("high", high), ("step", step)):
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > _LARGEST_WHOLE:
            raise InvalidDefinitionError(
                f"{part}: expected {key} to be a whole number of at most 2^53, got {shortened(value)}"
            )
    log = _read_log(part, fields, low)
    _check_steps(part, low, high, step)
    _check_divides(part, low, high, step)
    return Grid(low, high, step, log)


def _read_reals(part: str, fields: Mapping[str, object]) -> Grid | Range:
    low: Any = fields["low"]
    high: Any = fields["high"]
    step: Any = fields.get("step")
    for key, value in (("low", low), ("high", high), *([("step", step)] if "step" in fields else ())):
        if not is_number(value) or abs(value) > _LARGEST_REAL:
            raise InvalidDefinitionError(
                f"{part}: expected {key} to be a finite number of at most {_LARGEST_REAL:g}, got {shortened(value)}"
            )
    low, high = float(low) + 0.0, float(high) + 0.0
    log = _read_log(part, fields, low)
    if step is None:
        if low >= high:
            raise InvalidDefinitionError(f"{part}: expected low to be less than high, got low {low} and high {high}")
        return Range(low, high, log)
    step = float(step)
    _check_steps(part, low, high, step)
    if step < _FINEST * max(abs(low), abs(high)):
        raise InvalidDefinitionError(f"{part}: expected a step that shows beside low and high, got {step}")
    _check_divides(part, Decimal(repr(low)), Decimal(repr(high)), Decimal(repr(step)))
    return Grid(low, high, step)


def _read_log(part: str, fields: Mapping[str, object], low: Any) -> bool:
    log = fields.get("log", False)
    if not isinstance(log, bool):
        raise InvalidDefinitionError(f"{part}: expected log to be true or false, got {shortened(log)}")
    if log and "step" in fields:
        raise InvalidDefinitionError(f"{part}: expected either log or step, got both")
    if log and low <= 0:
        raise InvalidDefinitionError(f"{part}: expected low above 0 because log is true, got {low}")
    return log


def _check_steps(part: str, low: Any, high: Any, step: Any) -> None:
    if low > high:
        raise InvalidDefinitionError(f"{part}: expected low to be at most high, got low {low} and high {high}")
    if step <= 0:
        raise InvalidDefinitionError(f"{part}: expected step to be above 0, got {step}")
    if high - low > step * _MOST_STEPS:
        raise InvalidDefinitionError(f"{part}: expected at most 2^53 steps from low to high, got step {step}")


def _check_divides(part: str, low: Any, high: Any, step: Any) -> None:
    if (high - low) % step:
        raise InvalidDefinitionError(
            f"{part}: expected high to be low plus a whole number of steps, got low {low}, high {high}, step {step}"
        )
