"""Times and durations as words of the command line."""

from __future__ import annotations

from datetime import datetime, timezone

from ostinato.errors import ConfigError
from ostinato.model import SECOND
from ostinato.units import micros


def duration(text: str, name: str) -> float:
    """Seconds from text such as "5m". Raises ConfigError."""
    return micros(text, name) / SECOND


def time_of(text: str) -> datetime:
    """A moment; UTC if it does not say. Raises ConfigError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time. Write it as 2026-03-01T00:00+01:00 or 2026-03-01 (UTC).") from None
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)
