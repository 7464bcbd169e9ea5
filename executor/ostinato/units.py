"""Durations and sizes as people write them (60, "5m", "512M") to integers."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta, timezone

from ostinato.errors import ConfigError
from ostinato.model import SECOND

Duration = float | int | str | timedelta
Size = int | str

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_LONGEST = 100 * 366 * 86400


def micros(value: Duration, name: str) -> int:
    """A duration in microseconds, from seconds, a timedelta, or text such as ``"90s"`` or ``"1h30m"``.

    Raises ConfigError, which names the option, if it is none, negative or over 100 years.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str):
        seconds = _spoken(value, name)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(min(value, 2 * _LONGEST))  # no int is too large for the comparison below
    else:
        raise ConfigError(f'{name}={value!r} is no duration: give seconds, a timedelta, or text such as "5m".')
    if not math.isfinite(seconds) or not 0 <= seconds <= _LONGEST:
        raise ConfigError(f"{name}={value!r} is out of range: give between 0 seconds and 100 years.")
    return round(seconds * SECOND)


def _spoken(text: str, name: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)", text)
    if not parts or re.sub(r"\d+(?:\.\d+)?\s*(?:ms|s|m|h|d|w)", "", text).strip():
        try:
            return float(text)
        except ValueError:
            raise ConfigError(f'{name}={text!r} is no duration: write "90s", "5m", "1h30m" or seconds.') from None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def size(value: Size, name: str) -> int:
    """A size in bytes, from bytes or text such as ``"512M"`` (powers of 1024)."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", str(value).strip(), re.IGNORECASE)
    if isinstance(value, bool) or found is None:
        raise ConfigError(f'{name}={value!r} is no size: give bytes, or text such as "512M" or "2G".')
    return int(float(found[1]) * _BYTES[found[2].upper()])


def instant(value: datetime, name: str) -> int:
    """A point in time in microseconds since 1970 UTC, from an aware datetime."""
    if not isinstance(value, datetime):
        raise ConfigError(f"{name}={value!r} is no time: give an aware datetime, or a timedelta from now.")
    if value.tzinfo is None:
        raise ConfigError(
            f"{name}={value!r} has no time zone, so it means a different moment on every machine: "
            "use datetime.now(timezone.utc) or datetime(..., tzinfo=ZoneInfo(...))."
        )
    return round(value.timestamp() * SECOND)


def moment(at: int) -> datetime:
    """The aware datetime (UTC) of a point in time in microseconds."""
    return datetime.fromtimestamp(at / SECOND, timezone.utc)
