"""Time zones: when their clocks are changed, and what they show in between. All in whole seconds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from ostinato.errors import ConfigError
from ostinato.names import suggest

DAY = 86_400
LAST_YEAR = 9_998
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_STEP = 3 * DAY  # no zone changed twice within 6 days since 1970, so two samples miss nothing
_LOCAL = ("localtime", "posixrules", "right/")  # differ from machine to machine, or count leap seconds


class Stretch(NamedTuple):
    """A while in which the clock runs evenly: ``start <= instant < end``, ``offset`` east of UTC.

    ``seen`` is the latest reading that the clock had passed before ``start``. The first reading is
    ``start + offset``: above ``seen`` where readings were left out, below where some come again.
    """

    start: int
    end: int
    offset: int
    seen: int


def find_zone(name: str) -> ZoneInfo:
    """The zone of that name in the tz database. Raises ConfigError."""
    try:
        if not name.startswith(_LOCAL):
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError):
        pass  # what a wrong name raises depends on the files of the machine
    known = {one for one in available_timezones() if not one.startswith(_LOCAL)}
    near = suggest(name, known or {"UTC"}) if isinstance(name, str) else ""
    hint = near if near.startswith("Did") else 'Names are those of the tz database, such as "UTC" or "Europe/Paris".'
    raise ConfigError(f"timezone={name!r} is no time zone that is known here. {hint}")


def stretches(zone: ZoneInfo, at: int) -> Iterator[Stretch]:
    """The even stretches of the zone in order, from some time before ``at`` on, without end.

    They are also cut at the turn of the years, which leaves out and repeats nothing.
    """
    year = year_of(at // DAY) - 1  # so that what the clock showed before a change is known
    start = day_of(year) * DAY
    offset = _offset(zone, start)
    seen = start + offset
    while year <= LAST_YEAR:
        for end, following in _changes(zone, year):
            yield Stretch(start, end, offset, seen)
            seen = max(seen, end + offset)
            start, offset = end, following
        year += 1


@lru_cache(maxsize=2048)
def _changes(zone: ZoneInfo, year: int) -> tuple[tuple[int, int], ...]:
    """When a new stretch begins, after the start of the year and up to its end, and the offset from then on."""
    low, end = day_of(year) * DAY, day_of(year + 1) * DAY
    found = []
    offset = _offset(zone, low)
    while low < end:
        high = min(low + _STEP, end)
        following = _offset(zone, high)
        if following != offset:
            found.append((_change_between(zone, low, high), following))
        low, offset = high, following
    if not found or found[-1][0] != end:
        found.append((end, offset))
    return tuple(found)


def _change_between(zone: ZoneInfo, low: int, high: int) -> int:
    """The first second of the new offset, by halving; the offset differs at ``low`` and ``high``."""
    old = _offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == old else (low, middle)
    return high


def _offset(zone: ZoneInfo, at: int) -> int:
    shift = (_EPOCH + timedelta(seconds=at)).astimezone(zone).utcoffset()
    return round(shift.total_seconds()) if shift else 0


def day_of(year: int) -> int:
    """The first day of a year, in days since 1970."""
    return date(year, 1, 1).toordinal() - _EPOCH.toordinal()


def year_of(day: int) -> int:
    """The year of a day that is given in days since 1970."""
    return date.fromordinal(day + _EPOCH.toordinal()).year
