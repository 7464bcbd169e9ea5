"""Lanes: jobs that are alike to a claim stand in one line, so that a claim looks at heads only.

A million jobs that nobody here can take are a few lanes, each refused with one look.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from heapq import heappop, heappush

from ostinato.model import Job, State
from ostinato.rules import free_at, unbounded, units_of
from ostinato.storage import Rate

Key = tuple[str, str, int, int, tuple[tuple[str, int], ...]]
Place = tuple[int, int, str]
"""(-priority, position, job id): the smallest goes first."""


def lane_key(job: Job) -> Key:
    return job.queue, job.task, job.version, job.slots, job.holds


class Lane:
    """The jobs of one queue, task, version, cost and set of holds.

    ``line`` holds the ready ones, and places of jobs that have left since: taking a job out of
    the middle of a heap would cost a search, so what is stale is dropped when it comes to the
    head. ``counts`` are of all its jobs by state.
    """

    __slots__ = ("counts", "holds", "key", "line", "queue", "slots", "task", "units", "version")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.queue, self.task, self.version, self.slots, self.holds = key
        self.units = tuple(units_of(self).items())
        self.line: list[Place] = []
        self.counts: defaultdict[State, int] = defaultdict(int)

    def push(self, priority: int, position: int, job_id: str) -> None:
        heappush(self.line, (-priority, position, job_id))

    def pop(self) -> None:
        heappop(self.line)


class Capacities:
    """The named capacities and what the running jobs occupy of them."""

    def __init__(self) -> None:
        self._limits: dict[str, int] = {}
        self._used: defaultdict[str, int] = defaultdict(int)

    def set(self, limits: Mapping[str, int | None]) -> None:
        for name, limit in limits.items():
            if limit is None:
                self._limits.pop(name, None)
            else:
                self._limits[name] = limit

    def limits(self) -> dict[str, int]:
        return dict(self._limits)

    def full(self, lane: Lane) -> str | None:
        """What leaves no room for one more job of the lane, if anything does."""
        for name, units in lane.units:
            limit = self._limits.get(name)
            if limit is None:
                if not unbounded(name):
                    return name
            elif self._used[name] + units > limit:
                return name
        return None

    def occupy(self, lane: Lane) -> None:
        for name, units in lane.units:
            self._used[name] += units

    def release(self, lane: Lane) -> bool:
        """Give back what a job of the lane held; tells whether others may have waited for it."""
        awaited = False
        for name, units in lane.units:
            self._used[name] -= units
            awaited = awaited or name in self._limits
        return awaited


class Rates:
    """The named rates, and when jobs that hold their names were started."""

    def __init__(self) -> None:
        self._rates: dict[str, Rate] = {}
        self._starts: defaultdict[str, deque[int]] = defaultdict(deque)

    def __bool__(self) -> bool:
        return bool(self._rates)

    def set(self, rates: Mapping[str, Rate | None]) -> None:
        for name, rate in rates.items():
            if rate is None:
                self._rates.pop(name, None)
                self._starts.pop(name, None)
            else:
                self._rates[name] = rate

    def all(self) -> dict[str, Rate]:
        return dict(self._rates)

    def start(self, lane: Lane, now: int) -> None:
        """A job of the lane starts."""
        for name, _ in lane.units if self._rates else ():
            if name in self._rates:
                self._starts[name].append(now)

    def free_at(self, lane: Lane, now: int) -> int | None:
        """When a job of the lane may start, if that is not now."""
        times = [self._free_at(name, now) for name, _ in lane.units if name in self._rates] if self._rates else []
        return max((at for at in times if at is not None), default=None)

    def paces(self, now: int) -> dict[str, int]:
        """The rates that let no job start now, and when they will."""
        return {name: at for name in self._rates if (at := self._free_at(name, now)) is not None}

    def _free_at(self, name: str, now: int) -> int | None:
        rate, starts = self._rates[name], self._starts[name]
        while starts and starts[0] <= now - rate.per:
            starts.popleft()
        return free_at(rate, starts, now)
