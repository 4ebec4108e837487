"""Strict reading of dictionaries that people write by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def check_keys(
    data: Any,
    where: str,
    required: Sequence[str] | Mapping[str, str] = (),
    optional: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the dictionary if it has exactly the keys it should.

    Args:
        data: The dictionary.
        where: Its place, for the error message.
        required: Keys it must have; where given with what each may hold, that is said of those
            that are missing.
        optional: Keys it may have.

    Raises:
        ValueError: It is no dictionary, a key is missing, or a key is unknown.
    """
    known = [*required, *optional]
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be a map with the keys {known}, got {data!r}.")
    unknown = [key for key in data if key not in known]
    if unknown:
        raise ValueError(f"{where} has unknown keys {unknown}. Known keys are {known}.")
    missing = [key for key in required if key not in data]
    if missing and isinstance(required, Mapping):
        allowed = "; ".join(f"`{key}`: {required[key]}" for key in missing)
        raise ValueError(f"{where} lacks the keys {missing}. {allowed}.")
    if missing:
        raise ValueError(f"{where} lacks the keys {missing}.")
    return data


def text(value: Any, where: str) -> str:
    """A text that is not empty, or a ValueError."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where} must be a text, got {value!r}.")
    return value


def texts(value: Any, where: str) -> tuple[str, ...]:
    """A tuple of texts, or a ValueError."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} must be a list of texts, got {value!r}.")
    return tuple(text(entry, where) for entry in value)


def number(value: Any, where: str) -> float:
    """One number, or a ValueError."""
    return numbers([value], 1, where)[0]


def numbers(value: Any, count: int | None, where: str) -> tuple[float, ...]:
    """A tuple of `count` numbers (any count for None).

    Raises:
        ValueError: It is something else.
    """
    is_list = isinstance(value, list | tuple)
    if not is_list or any(isinstance(v, bool) or not isinstance(v, int | float) for v in value):
        raise ValueError(f"{where} must be a list of numbers, got {value!r}.")
    if count is not None and len(value) != count:
        raise ValueError(f"{where} must have {count} numbers, got {len(value)}: {list(value)}.")
    return tuple(float(v) for v in value)


def whole(value: Any, where: str, least: int = 0) -> int:
    """A whole number of at least so much, or a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where} must be a whole number from {least} on, got {value!r}.")
    return value


def flag(value: Any, where: str) -> bool:
    """True or false, or a ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"{where} must be true or false, got {value!r}.")
    return value
