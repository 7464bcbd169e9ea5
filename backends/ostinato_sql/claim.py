"""Claiming: find the lanes that fit, take the best of their heads, start them.

A claim that finds nothing ends at its first look, outside any writing transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heapreplace

from sqlalchemy import bindparam, func, literal_column, select, text, update

from ostinato import model
from ostinato.storage import Claimed, Want, matches
from ostinato_sql import due
from ostinato_sql.database import Database
from ostinato_sql.link import Link, Values
from ostinato_sql.rows import ATTEMPT, POSITION, PRIORITY, SEQ, TOKEN, WHOLE, Lane, changed, read_lanes, to_rows
from ostinato_sql.statement import Statement
from ostinato_sql.tables import is_ready, is_running, jobs, limits

# Each step asks the index for the next lane above the last, so that its cost is the number of
# lanes with a ready job; DISTINCT would walk over every one of the jobs.
_READY_LANES = Statement(
    text(
        """
        WITH RECURSIVE ready(lane) AS (
            SELECT min(lane) FROM ostinato_jobs WHERE state = 'ready'
            UNION ALL
            SELECT (SELECT min(j.lane) FROM ostinato_jobs j WHERE j.state = 'ready' AND j.lane > ready.lane)
            FROM ready WHERE ready.lane IS NOT NULL
        )
        SELECT lane FROM ready WHERE lane IS NOT NULL
        """
    )
)
_LINE = Statement(
    select(*WHOLE)
    .where(is_ready, jobs.c.lane == bindparam("of"))
    .order_by(jobs.c.priority.desc(), jobs.c.position)
    .limit(bindparam("count"))
    .offset(bindparam("skip")),
    "of",
    "count",
    "skip",
)
_START = Statement(
    update(jobs)
    .where(jobs.c.seq == bindparam("which"))
    .ordered_values(
        (jobs.c.state, literal_column("'running'")),
        (jobs.c.token, jobs.c.token + literal_column("1")),
        (jobs.c.attempt, jobs.c.attempt + literal_column("1")),
        (jobs.c.executor_id, bindparam("owner")),
        (jobs.c.lease_until, bindparam("until")),
        (jobs.c.started_at, bindparam("at")),
    ),
    "owner",
    "until",
    "at",
    "which",
)
_CAPACITIES = Statement(select(limits.c.name, limits.c.capacity))
_USED = Statement(select(jobs.c.lane, func.count()).where(is_running).group_by(jobs.c.lane))

Head = Values  # of `WHOLE`


def claim(database: Database, executor_id: str, want: Want) -> Claimed:
    clock = database.dialect.clock
    with database.read() as link:
        ahead, now = due.Ahead(link), clock()
        if not ahead.due(now) and not (ahead.ready and _fitting(link, database, want)):
            return Claimed(rows=[], now=now, next_at=ahead.run_at)
    expired: list[model.Row] = []
    while True:
        with database.write(lasting=False) as link:
            now = clock()
            ahead = due.apply(link, database, now, expired)
            if ahead.due(now):
                continue
            rows = _start(link, database, executor_id, want, now)
        return Claimed(rows=rows, now=now, next_at=ahead.run_at, expired=expired)


def claim_within(link: Link, database: Database, executor_id: str, want: Want) -> Claimed:
    """A claim as part of another write. If time has brought something, the next claim sees to it."""
    ahead, now = due.Ahead(link), database.dialect.clock()
    rows = [] if ahead.due(now) else _start(link, database, executor_id, want, now)
    return Claimed(rows=rows, now=now, next_at=ahead.run_at)


def _start(link: Link, database: Database, executor_id: str, want: Want, now: int) -> list[model.Row]:
    lanes = _fitting(link, database, want)
    if not lanes:
        return []
    heads = list(_choose(link, lanes, want, Room(link, database, lanes)))
    until = now + want.lease
    link.run_many(_START, [(executor_id, until, now, head[SEQ]) for head in heads])
    started = [
        changed(
            head,
            state="running",
            token=head[TOKEN] + 1,
            attempt=head[ATTEMPT] + 1,
            executor_id=executor_id,
            lease_until=until,
            started_at=now,
        )
        for head in heads
    ]
    return to_rows(link, database.lanes, started)


def _fitting(link: Link, database: Database, want: Want) -> list[Lane]:
    """Lanes with ready jobs that this executor can ever take."""
    ready = [lane for (lane,) in link.all(_READY_LANES)]
    lanes = read_lanes(link, database.lanes, ready).values()
    return [lane for lane in lanes if _suits(lane, want)]


def _suits(lane: Lane, want: Want) -> bool:
    accepted = want.tasks.get(lane.task)
    return (
        accepted is not None
        and lane.version <= accepted
        and lane.slots <= want.capacity
        and matches(want.queues, lane.queue)
    )


def _choose(link: Link, lanes: Sequence[Lane], want: Want, room: Room) -> Iterator[Head]:
    """The jobs to start, best first: the lanes' lines are merged by (priority, position)."""
    portion = max(1, min(want.count, 2 * want.count // len(lanes)))
    waiting = []
    for lane in lanes:
        line = _line(link, lane, portion)
        if room.fits(lane) and (head := next(line, None)):
            waiting.append((_place(head), head, lane, line))
    heapify(waiting)  # places differ, so that nothing behind them is compared
    slots, count = want.slots, want.count
    while waiting and count > 0:
        _, head, lane, line = waiting[0]
        if not room.fits(lane):
            heappop(waiting)
            continue
        if lane.slots > slots:
            return  # the free slots are kept for it: else lighter ones would starve it
        slots -= lane.slots
        count -= 1
        room.occupy(lane)
        yield head
        following = next(line, None) if count else None
        if following:
            heapreplace(waiting, (_place(following), following, lane, line))
        else:
            heappop(waiting)


def _place(head: Head) -> tuple[int, int]:
    return -head[PRIORITY], head[POSITION]


def _line(link: Link, lane: Lane, portion: int) -> Iterator[Head]:
    """The ready jobs of a lane, read a portion at a time: of many lanes most give one or two."""
    skip = 0
    while True:
        found = link.all(_LINE, lane.id, portion, skip)
        yield from found
        skip += portion
        if len(found) < portion:
            return


class Room:
    """The named capacities, less what running jobs hold of them. Counted anew at each claim:
    a counter that is kept could leak with a crash."""

    def __init__(self, link: Link, database: Database, lanes: Iterable[Lane]) -> None:
        self._free = capacities(link)
        if not any(set(self._free) & demands(lane).keys() for lane in lanes):
            return  # nothing that these jobs hold is counted: spare the count
        running: dict[int, int] = dict(link.all(_USED))
        for key, lane in read_lanes(link, database.lanes, running).items():
            self._take(lane, running[key])

    def fits(self, lane: Lane) -> bool:
        """Whether one more job of the lane may run. Only a queue is unlimited unless set."""
        for name, units in demands(lane).items():
            free = self._free.get(name)
            if free is None and name == f"queue:{lane.queue}":
                continue
            if units > (free or 0):
                return False
        return True

    def occupy(self, lane: Lane) -> None:
        self._take(lane, 1)

    def _take(self, lane: Lane, count: int) -> None:
        for name, units in demands(lane).items():
            if name in self._free:
                self._free[name] -= units * count


def capacities(link: Link) -> dict[str, int]:
    return dict(link.all(_CAPACITIES))


@lru_cache(maxsize=4096)
def demands(lane: Lane) -> Mapping[str, int]:
    """What a running job of the lane occupies."""
    needed = Counter({f"queue:{lane.queue}": 1})
    for name, units in lane.holds:
        needed[name] += units
    return needed
