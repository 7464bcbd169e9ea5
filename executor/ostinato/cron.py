"""Cron expressions: which readings of the clock they match, and at which instants these are.

croniter reads the expression and finds the days. What the clocks of a zone do is decided here, by the
rule of vixie-cron with ranges and steps counted as its stars:

- An expression is **fixed** if its minute, hour and second are plain numbers or lists of such:
  ``30 2 * * *``. Then each reading counts once. One that the clock leaves out makes its tick at the first
  instant after the gap, however many of them and whether or not that instant matches too: one tick. One that
  the clock shows twice makes its tick the first time.
- Every other expression, with ``*``, a step or a range in minute, hour or second, **runs** with the clock:
  each instant at which the clock shows a matching reading makes a tick, so a repeated hour counts twice and
  nothing happens for the hour that is left out: ``*/15 * * * *`` ticks every 15 minutes of real time.

The size of the change does not matter, and neither does its cause: summer time, or a new standard time.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from croniter import croniter

from ostinato.errors import ConfigError
from ostinato.names import suggest
from ostinato.zones import DAY, LAST_YEAR, Stretch, day_of, stretches, year_of

HORIZON = 50 * 366 * DAY
"""An expression that matches nothing for so long (seconds) has ended."""
MAX_TEXT = 500
_EVERY_DAY = "* * *"
_PLAIN = re.compile(r"\d+(,\d+)*", re.ASCII)
_RANDOM = re.compile(r"[hr](\W|$)")  # croniter draws these at random or by an id: executors would not agree
_SHORT = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class Cron(NamedTuple):
    """A cron expression: its three fields of days, its readings within a day (seconds), and which rule it is under."""

    days: str
    times: tuple[int, ...]
    fixed: bool


def parse(text: str) -> Cron:
    """Five fields (minute, hour, day, month, weekday), or six with the second last, or ``@hourly`` and the like.

    Raises ConfigError if it cannot be read, or if no day matches.
    """
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise ConfigError(f"cron={str(text)[:40]!r} is no cron expression. {_USAGE}")
    return _parsed(text)


@lru_cache(maxsize=128)
def _parsed(text: str) -> Cron:
    fields = _fields(text)
    try:
        expanded = croniter.expand(" ".join(fields))[0]
        croniter(f"0 0 {' '.join(fields[2:5])}", 0.0).get_next(float)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:  # croniter raises all of these
        if "failed to find" in str(error):
            raise ConfigError(f"cron={text!r} never fires: no such day comes in 50 years.") from None
        raise ConfigError(f"cron={text!r} cannot be read: {error}. {_USAGE}") from None
    seconds = _values(expanded[5], 60) if len(fields) == 6 else [0]
    minutes, hours = _values(expanded[0], 60), _values(expanded[1], 24)
    return Cron(
        days=" ".join(fields[2:5]),
        times=tuple(hour * 3600 + minute * 60 + second for hour in hours for minute in minutes for second in seconds),
        fixed=all(_PLAIN.fullmatch(field) for field in (*fields[:2], *fields[5:])),
    )


_USAGE = 'Write minute, hour, day, month and weekday, such as "30 3 * * mon-fri", and perhaps the second as a sixth.'


def _fields(text: str) -> list[str]:
    word = text.strip().lower()
    if word.startswith("@") and word not in _SHORT:
        raise ConfigError(f"cron={text!r} is not known. {suggest(word, _SHORT)} For an interval give every=.")
    fields = _SHORT.get(word, word).split()
    if len(fields) not in (5, 6):
        raise ConfigError(f"cron={text!r} has {len(fields)} fields. {_USAGE}")
    if any(_RANDOM.match(part) for field in fields for part in field.split(",")):
        raise ConfigError(f"cron={text!r}: H and R are not taken. Give numbers, and jitter= to spread the load.")
    return fields


def _values(field: list[int | str], size: int) -> list[int]:
    return list(range(size)) if "*" in field else sorted({int(value) for value in field})


def cron_ticks(cron: Cron, zone: ZoneInfo, after: int, until: int | None = None) -> Iterator[int]:
    """The instants ``after < tick <= until`` in order (seconds since 1970), by the rule above."""
    latest = after
    for stretch in stretches(zone, after):
        if stretch.start > (latest + HORIZON if until is None else until):
            return
        for tick in _within(cron, stretch, after + 1, stretch.end if until is None else min(stretch.end, until + 1)):
            yield tick
            latest = tick


def _within(cron: Cron, stretch: Stretch, since: int, before: int) -> Iterator[int]:
    """The ticks of one even stretch of the clock, ``since <= tick < before``."""
    start, _, offset, seen = stretch
    opening = start + offset
    first = max(start, since) + offset
    if cron.fixed:
        if since <= start and any(True for _ in _readings(cron, seen, opening)):
            yield start
            first = opening + 1
        first = max(first, seen)
    for reading in _readings(cron, first, before + offset):
        yield reading - offset


def _readings(cron: Cron, since: int, before: int) -> Iterator[int]:
    """The matching readings, in seconds from the 1970 that this clock showed, ``since <= reading < before``."""
    if since >= before:
        return
    for day in _days(cron.days, since // DAY, (before - 1) // DAY):
        midnight = day * DAY
        low, high = bisect_left(cron.times, since - midnight), bisect_left(cron.times, before - midnight)
        for time in cron.times[low:high]:
            yield midnight + time


def _days(days: str, first: int, last: int) -> Iterator[int]:
    """The matching days from ``first`` to ``last``, in days since 1970."""
    if days == _EVERY_DAY:
        yield from range(first, last + 1)
        return
    for year in range(year_of(first), min(year_of(last), LAST_YEAR) + 1):
        found = _days_of_year(days, year)
        yield from found[bisect_left(found, first) : bisect_left(found, last + 1)]


@lru_cache(maxsize=1024)
def _days_of_year(days: str, year: int) -> tuple[int, ...]:
    end = day_of(year + 1) * DAY
    found = []
    # croniter steps by the minute, on times without a zone: a float is one
    steps = croniter(f"0 0 {days}", day_of(year) * DAY - 60.0, max_years_between_matches=1)
    for at in steps.all_next(float):
        if at >= end:
            break
        found.append(int(at) // DAY)
    return tuple(found)
