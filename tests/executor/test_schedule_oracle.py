"""Daylight saving: the ticks of cron against an oracle that looks at the clock at every instant.

Every change of the clocks in 20 years, in zones with all sorts of them: 14 hours before it and after it, minute by
minute; and days in between. ``OSTINATO_ORACLE=all`` takes every zone there is, from
1972, when the last one began to differ from UTC by whole minutes, to 2037 (some minutes).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import datetime, timezone
from zoneinfo import ZoneInfo, available_timezones

import pytest
from oracle import Expression, Walk, changes, clock

from ostinato.model import SECOND, Job, Schedule
from ostinato.schedule import between, next_after

ALL = os.environ.get("OSTINATO_ORACLE") == "all"
ZONES = sorted(available_timezones() - {"localtime", "Factory"}) if ALL else [
    "UTC", "Europe/Paris", "Europe/London", "America/New_York",
    "America/Sao_Paulo",    # at midnight
    "America/St_Johns",     # at 00:01, back to the day before
    "Atlantic/Azores",      # back to the day before, on Sundays
    "Australia/Lord_Howe",  # half an hour
    "Asia/Tehran", "Asia/Kolkata", "Asia/Gaza",
    "Asia/Pyongyang",       # half an hour, for good, and back
    "Africa/Casablanca",    # four times a year
    "Africa/Cairo",         # abolished and brought back
    "Pacific/Apia",         # a whole day is left out
    "Pacific/Chatham",      # 45 minutes off
    "America/Caracas", "Antarctica/Troll",  # two hours
]  # fmt: skip
FIXED = ["30 2 * * *", "@daily", "15,45 0,1,2,3 * * *", "30 23 * * *", "0 3 * * sun", "5 0 1 * *", "59 23 28-31 3,10 *",
         "0 12 * * *", "0 9 30 12 *", "@weekly", "0,1,2 0,1 * * *", "30 1 */2 * mon-fri"]  # fmt: skip
STEPS = [
    "* * * * *",
    "*/15 * * * *",
    "*/7 * * * *",
    "30 */2 * * *",
    "5/15 2,3 * * *",
    "@hourly",
    "0 0-23/3 * * mon-fri",
]
RANGES = ["0 1-4 * * *", "10-50/20 2 * * *", "0-30 0,23 * * *", "* 2 * * *", "30 0-1,22-23 1-7,15,25-31 * sun"]
EXPRESSIONS = [(text, Expression(text)) for text in (*FIXED, *STEPS, *RANGES)]
AROUND = 14 * 3600
DAY = 86_400


def year(number: int) -> int:
    return int(datetime(number, 1, 1, tzinfo=timezone.utc).timestamp())


FIRST, LAST = (year(1972) + 60 * DAY, year(2037)) if ALL else (year(2006), year(2026))


def walks(name: str) -> Iterator[Walk]:
    """All that is looked at in one zone."""
    zone = ZoneInfo(name)
    for at in changes(zone, FIRST, LAST):
        yield Walk(zone, at - AROUND, at + AROUND)
    dice = random.Random(name)
    for _ in range(12):
        day = FIRST + DAY * dice.randrange((LAST - FIRST) // DAY)
        yield Walk(zone, day, day + DAY)


def schedule(text: str, zone: str) -> Schedule:
    return Schedule(name="x", job=Job(task="t"), cron=text, timezone=zone)


def ours(made: Schedule, walk: Walk) -> list[int]:
    return [tick // SECOND for tick in between(made, walk.first * SECOND - 1, walk.last * SECOND - 1)]


@pytest.mark.parametrize("name", ZONES)
def test_every_change_of_the_clocks(name: str) -> None:
    for walk in walks(name):
        for text, expression in EXPRESSIONS:
            assert ours(schedule(text, name), walk) == walk.ticks(expression), (text, name, walk.first)


def test_the_oracle_has_something_to_say() -> None:
    """The zones do change their clocks in the time that is looked at, both ways and by odd amounts."""
    shifts = set()
    for name in ZONES:
        zone = ZoneInfo(name)
        for at in changes(zone, FIRST, LAST):
            shifts.add((clock(zone, at) - clock(zone, at - 3600)).total_seconds() / 60 - 60)
    assert shifts >= {60, -60, 30, -30, 120, -120, 24 * 60}


@pytest.mark.parametrize(
    "text", ["30 2 * * * 15", "*/10 * * * * */20", "0,59 1,2 * * * 0,59", "0 0 * * * *", "30 1-3 * * * 30"]
)
@pytest.mark.parametrize("name", ["Europe/Paris", "Australia/Lord_Howe", "America/St_Johns"])
def test_seconds(text: str, name: str) -> None:
    zone, expression = ZoneInfo(name), Expression(text)
    for at in changes(zone, year(2010), year(2011)):
        walk = Walk(zone, at - 3 * 3600, at + 3 * 3600, step=1)
        assert ours(schedule(text, name), walk) == walk.ticks(expression), (text, at)


@pytest.mark.parametrize("text", ["30 2 * * *", "*/30 1-3 * * *", "0 0 * * *"])
@pytest.mark.parametrize("name", ["Europe/Paris", "Pacific/Apia", "America/St_Johns"])
def test_one_by_one_from_any_moment(text: str, name: str) -> None:
    """From each quarter of an hour around a change, the next tick is the oracle's."""
    zone, expression, made = ZoneInfo(name), Expression(text), schedule(text, name)
    for change in changes(zone, year(2011), year(2012)):
        ticks = Walk(zone, change - 2 * DAY, change + 4 * DAY).ticks(expression)
        for at in range(change - DAY, change + 2 * DAY, 900):
            assert next_after(made, at * SECOND) == SECOND * next(tick for tick in ticks if tick > at)
