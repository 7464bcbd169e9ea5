"""Named capacities and rates, and what there is left of them.

Both are counted anew at each claim, from the jobs that run and from the starts of a short while: a
counter that is kept could leak with a crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import bindparam, delete, func, select

from ostinato.rules import free_at, units_of
from ostinato.storage import Rate
from ostinato_sql.database import Database
from ostinato_sql.lane import Lane, read_lanes
from ostinato_sql.link import Link
from ostinato_sql.statement import Keyed, Statement
from ostinato_sql.tables import is_running, jobs, limits, starts
from ostinato_sql.terms import WHOLE, sorted_out, stamp_anew

_LIMITS = Statement(WHOLE)
_LOCK = Keyed(
    lambda keys: select(limits.c.name).where(limits.c.name.in_(keys)).order_by(limits.c.name).with_for_update()
)
_LIMIT = Statement(lambda dialect: dialect.insert_or_replace(limits), *limits.c.keys())
_UNLIMIT = Statement(delete(limits).where(limits.c.name == bindparam("which")), "which")
_USED = Statement(select(jobs.c.lane, func.count()).where(is_running).group_by(jobs.c.lane))
_STARTS = Keyed(
    lambda keys: select(starts.c.name, starts.c.at, starts.c.jobs).where(starts.c.name.in_(keys)).order_by(starts.c.at)
)
_START = Statement(lambda dialect: dialect.insert_or_replace(starts), *starts.c.keys())
_FORGET = Statement(
    delete(starts).where(starts.c.name == bindparam("which"), starts.c.at <= bindparam("until")), "which", "until"
)
_ALWAYS = 2**62


def read(link: Link) -> tuple[dict[str, int], dict[str, Rate]]:
    """All capacities and rates."""
    return sorted_out(link.all(_LIMITS))


def change(link: Link, capacities: Mapping[str, int | None], rates: Mapping[str, Rate | None]) -> None:
    """Set or remove some. Nobody else changes them meanwhile, and no claim is under way."""
    stamp_anew(link)
    old_capacities, old_rates = read(link)
    for name in sorted({*capacities, *rates}):
        capacity = capacities[name] if name in capacities else old_capacities.get(name)
        rate = rates[name] if name in rates else old_rates.get(name)
        if rate is None and name in old_rates:
            link.run(_FORGET, name, _ALWAYS)
        if capacity is None and rate is None:
            link.run(_UNLIMIT, name)
        else:
            link.run(_LIMIT, name, capacity, rate and rate.count, rate and rate.per)


class Pace:
    """A rate, and the starts that it counts."""

    def __init__(self, rate: Rate, now: int) -> None:
        self.rate = rate
        self.now = now
        self.at: list[int] = []  # one for each start, ascending

    def free_at(self) -> int | None:
        """When the next job may start; None: now."""
        return free_at(self.rate, self.at, self.now)


def _paces(link: Link, rates: Mapping[str, Rate], now: int) -> dict[str, Pace]:
    """The rates of these names, with the starts that they count."""
    found = {name: Pace(rates[name], now) for name in sorted(rates)}
    for name, at, number in link.among(_STARTS, found):
        pace = found[name]
        if at > now - pace.rate.per:
            pace.at += [at] * number
    return found


def paces(link: Link, now: int) -> dict[str, int]:
    """The rates that let no job start now, and when they will."""
    found = _paces(link, read(link)[1], now)
    return {name: at for name, pace in found.items() if (at := pace.free_at()) is not None}


class Room:
    """What the capacities and rates leave for jobs of these lanes."""

    def __init__(self, link: Link, database: Database, lanes: Sequence[Lane], stamp: str | None, now: int) -> None:
        self._terms = database.terms.of(link, stamp, lanes)
        self._free: dict[str, int] = {}
        self._paces: dict[str, Pace] = {}
        self.lanes = [lane for lane in lanes if not self._terms[lane.id].shut]
        """Those of which the capacities let one more job run."""
        self._count(link, database)
        self.lanes = [lane for lane in self.lanes if self.fits(lane)]
        names = {name for lane in self.lanes for name in self._terms[lane.id].names}
        if names and not database.dialect.alone:
            link.among(_LOCK, sorted(names))  # so that two claims do not give the same
            self._count(link, database)
        rates = {name: rate for lane in self.lanes for name, rate in self._terms[lane.id].rates.items()}
        self._paces = _paces(link, rates, now)

    def _count(self, link: Link, database: Database) -> None:
        """What is free of the capacities of the lanes."""
        self._free = {name: bound for lane in self.lanes for name, (_, bound) in self._terms[lane.id].holds.items()}
        running: dict[int, int] = dict(link.all(_USED)) if self._free else {}
        for key, lane in read_lanes(link, database.lanes, running).items():
            for name, units in units_of(lane).items():
                if name in self._free:
                    self._free[name] -= units * running[key]

    def fits(self, lane: Lane) -> bool:
        """Whether one more job of the lane may run."""
        for name, (units, _) in self._terms[lane.id].holds.items():
            if units > self._free[name]:
                return False
        return self.free_at(lane) is None

    def free_at(self, lane: Lane) -> int | None:
        """When the rates let one more job of the lane start; None: now."""
        if not self._paces:
            return None
        times = [self._paces[name].free_at() for name in self._terms[lane.id].rates]
        return max((at for at in times if at is not None), default=None)

    def occupy(self, lane: Lane) -> None:
        """One more job of the lane runs."""
        terms = self._terms[lane.id]
        for name, (units, _) in terms.holds.items():
            self._free[name] -= units
        for name in terms.rates:
            self._paces[name].at.append(self._paces[name].now)

    def release(self, lane: Lane) -> None:
        """One that was to run does not: undo `occupy`."""
        terms = self._terms[lane.id]
        for name, (units, _) in terms.holds.items():
            self._free[name] += units
        for name in terms.rates:
            self._paces[name].at.pop()

    def record(self, link: Link) -> None:
        """Write down the starts of this claim, and forget those that no rate counts any more."""
        for name, pace in self._paces.items():
            link.run(_FORGET, name, pace.now - pace.rate.per)
            number = pace.at.count(pace.now)
            if number:
                link.run(_START, name, pace.now, number)


def held_until(room: Room, lanes: Iterable[Lane]) -> int | None:
    """When a rate lets go of the first of these lanes that it holds back."""
    return min((at for lane in lanes if (at := room.free_at(lane)) is not None), default=None)
