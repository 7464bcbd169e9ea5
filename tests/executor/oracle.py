"""The daylight-saving rule a second time, by brute force: look at the clock at every single instant.

It shares nothing with the code: neither croniter, nor the search for changes, nor any arithmetic of offsets.
It walks through real time step by step, reads the clock of the zone (zoneinfo), and keeps the list of what it has read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

_NAMES = {
    name: at
    for names, first in (("jan feb mar apr may jun jul aug sep oct nov dec", 1), ("sun mon tue wed thu fri sat", 0))
    for at, name in enumerate(names.split(), first)
}
_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7), (0, 59))


class Expression:
    """A cron expression of numbers, names, lists, ranges and steps."""

    def __init__(self, text: str) -> None:
        fields = {"@hourly": "0 * * * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *"}.get(text, text).split()
        minutes, hours, self.days, self.months, weekdays, *more = (
            set(_numbers(field, *limits)) for field, limits in zip(fields, _LIMITS, strict=False)
        )
        self.times = set(product(hours, minutes, more[0] if more else {0}))
        self.weekdays = {at % 7 for at in weekdays}
        self.either = fields[2] != "*" and fields[4] != "*"
        self.fixed = not any(mark in field for field in (*fields[:2], *fields[5:]) for mark in "*-/")

    def takes_day(self, wall: datetime) -> bool:
        day, weekday = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        return wall.month in self.months and ((day or weekday) if self.either else (day and weekday))


def _numbers(field: str, low: int, high: int) -> Iterator[int]:
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = low if first == "*" else _NAMES.get(first) if first in _NAMES else int(first)
        end = (_NAMES[last] if last in _NAMES else int(last)) if last else high if step or first == "*" else start
        yield from range(start, end + 1, int(step or 1))


class Walk:
    """What the clock shows at every step of real time, ``first <= instant < last``; all in seconds since 1970.

    ``showing`` maps a time of day to the instants at which the clock shows it; ``jumps`` are the instants at which
    the clock has left readings out, with these.
    """

    def __init__(self, zone: ZoneInfo, first: int, last: int, step: int = 60) -> None:
        self.first, self.last = first, last
        self.showing: dict[tuple[int, int, int], list[tuple[int, datetime]]] = {}
        self.jumps: list[tuple[int, list[datetime]]] = []
        pace, following = timedelta(seconds=step), None
        for at in range(first, last, step):
            wall = clock(zone, at)
            self.showing.setdefault((wall.hour, wall.minute, wall.second), []).append((at, wall))
            if following is not None and following < wall:
                self.jumps.append((at, [following + pace * n for n in range((wall - following) // pace)]))
            following = wall + pace

    def ticks(self, expression: Expression) -> list[int]:
        """The instants at which the expression ticks, by the written rule."""
        shown = [pair for time in expression.times for pair in self.showing.get(time, ())]
        matching = sorted((at, wall) for at, wall in shown if expression.takes_day(wall))
        if not expression.fixed:
            return [at for at, _ in matching]
        first: dict[datetime, int] = {}
        for at, wall in matching:
            first.setdefault(wall, at)
        ticks = set(first.values())
        for at, missing in self.jumps:
            for wall in missing:
                wanted = (wall.hour, wall.minute, wall.second) in expression.times and expression.takes_day(wall)
                if wanted and first.get(wall, at) >= at:
                    ticks.add(at)
        return sorted(ticks)


def clock(zone: ZoneInfo, at: int) -> datetime:
    """What a clock in the zone shows."""
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)


def changes(zone: ZoneInfo, first: int, last: int) -> list[int]:
    """The hours before which the offset was another one."""
    found = []
    for day in range(first, last, 86_400):
        if clock(zone, day + 86_400) - clock(zone, day) != timedelta(days=1):
            hours = range(day, day + 86_400, 3600)
            found += [at + 3600 for at in hours if clock(zone, at + 3600) - clock(zone, at) != timedelta(hours=1)]
    return found
