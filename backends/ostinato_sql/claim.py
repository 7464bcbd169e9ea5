"""Claiming: find the lanes that fit, take the best of their heads, start them.

A claim that finds nothing ends at its first look, outside any writing transaction.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from sqlalchemy import bindparam, func, literal_column, or_, select, text, update

from ostinato import model
from ostinato.rules import suits
from ostinato.storage import Claimed, Want
from ostinato_sql import due
from ostinato_sql.capacity import Room, held_until
from ostinato_sql.database import Database
from ostinato_sql.lane import Lane, read_lanes
from ostinato_sql.link import Link, Values
from ostinato_sql.rows import ATTEMPT, LANE, PRIORITY, SEQ, TOKEN, WHOLE, changed, to_rows
from ostinato_sql.statement import Keyed, Statement
from ostinato_sql.tables import is_ready, jobs

_READY_LANES = Statement(lambda dialect: text(dialect.ready_lanes))
_LINE = Statement(
    select(jobs.c.seq, jobs.c.priority, jobs.c.position)
    .where(
        is_ready,
        jobs.c.lane == bindparam("of"),
        jobs.c.priority <= bindparam("top"),
        or_(jobs.c.priority < bindparam("below"), jobs.c.position > bindparam("after")),
    )
    .order_by(jobs.c.priority.desc(), jobs.c.position)
    .limit(bindparam("count"))
    .offset(literal_column("0")),
    "of",
    "top",
    "below",
    "after",
    "count",
)
# In words that no index has: PostgreSQL would read the index of all ready jobs for these few.
_still_ready = func.lower(jobs.c.state) == literal_column("'ready'")
_TAKE = Keyed(lambda keys: select(*WHOLE).where(jobs.c.seq.in_(keys), _still_ready).with_for_update(skip_locked=True))
_START = Keyed(
    lambda keys: (
        update(jobs)
        .where(jobs.c.seq.in_(keys))
        .ordered_values(
            (jobs.c.state, literal_column("'running'")),
            (jobs.c.token, jobs.c.token + literal_column("1")),
            (jobs.c.attempt, jobs.c.attempt + literal_column("1")),
            (jobs.c.executor_id, bindparam("owner")),
            (jobs.c.lease_until, bindparam("until")),
            (jobs.c.started_at, bindparam("at")),
        )
    ),
    "owner",
    "until",
    "at",
)
_FAR = 2**62


class Head(NamedTuple):
    """A ready job in its lane's line."""

    seq: int
    priority: int
    position: int


def claim(database: Database, executor_id: str, want: Want) -> tuple[Claimed, set[model.Channel]]:
    """What is claimed, and who should hear of what time has brought."""
    clock, dialect = database.dialect.clock, database.dialect
    with database.read() as link:
        ahead, now = due.Ahead(link), clock()
        ready = _ready(link) if ahead.ready and not ahead.due(now) else None
        if not ahead.due(now) and not (ready and next(_suiting(link, database, want, ahead.stamp, ready), None)):
            return Claimed(rows=[], now=now, next_at=ahead.next_at), set()

    def work(link: Link) -> tuple[due.Brought, int, Started]:
        dialect.lock_capacities(link, alone=False)
        now = clock()
        brought = due.apply(link, database, now)
        if brought.more:
            return brought, now, Started()
        # Lanes that came after the first look are left to the next claim, to which their jobs call.
        lanes = _ready(link) if brought.any or ready is None else ready
        return brought, now, _start(link, database, executor_id, want, now, brought.ahead.stamp, lanes)

    expired: list[model.Row] = []
    told: set[model.Channel] = set()
    while True:
        # A crash of the machine ends the executors with a file, but not those of a server: a claim that
        # it forgot would be given again, and two runs had the same token.
        brought, now, started = database.write(work, lasting=not dialect.alone)
        expired += brought.expired
        told |= brought.told
        if not brought.more:
            next_at = due.sooner(brought.ahead.next_at, started.held_until)
            return Claimed(rows=list(started.rows), now=now, next_at=next_at, expired=expired), told


def claim_within(link: Link, database: Database, executor_id: str, want: Want) -> Claimed:
    """A claim as part of another write. If time has brought something, the next claim sees to it."""
    database.dialect.lock_capacities(link, alone=False)
    ahead, now = due.Ahead(link), database.dialect.clock()
    started = Started()
    if not ahead.due(now):
        started = _start(link, database, executor_id, want, now, ahead.stamp, _ready(link))
    return Claimed(rows=list(started.rows), now=now, next_at=due.sooner(ahead.next_at, started.held_until))


class Started(NamedTuple):
    """The claimed jobs; ``held_until`` is when a rate lets another one start."""

    rows: Sequence[model.Row] = ()
    held_until: int | None = None


def _start(
    link: Link,
    database: Database,
    executor_id: str,
    want: Want,
    now: int,
    stamp: str | None,
    ready: Sequence[int],
) -> Started:
    lanes = list(_suiting(link, database, want, stamp, ready))
    if not lanes:
        return Started()
    room = Room(link, database, lanes, stamp, now)
    taken = _take(link, [lane for lane in room.lanes if room.fits(lane)], want, room)
    room.record(link)
    until = now + want.lease
    link.run_among(_START, [values[SEQ] for values in taken], executor_id, until, now)
    started = [
        changed(
            values,
            state="running",
            token=values[TOKEN] + 1,
            attempt=values[ATTEMPT] + 1,
            executor_id=executor_id,
            lease_until=until,
            started_at=now,
        )
        for values in taken
    ]
    return Started(to_rows(link, database.lanes, started), held_until(room, room.lanes))


def _take(link: Link, lanes: Sequence[Lane], want: Want, room: Room) -> list[Values]:
    """The best jobs, locked, and their room occupied. Those that another claim locks first are passed over,
    and only those that are taken are locked: else the others would overlook jobs that nobody takes."""
    gone: set[int] = set()
    while lanes:
        chosen = list(_choose(link, lanes, want, room, gone))
        found = {values[SEQ]: values for values in link.among(_TAKE, [head.seq for head, _ in chosen])}
        missing = {
            head.seq
            for head, lane in chosen
            if head.seq not in found or (found[head.seq][LANE], found[head.seq][PRIORITY]) != (lane.id, head.priority)
        }
        if not missing:
            return [found[head.seq] for head, _ in chosen]
        gone |= missing
        for _, lane in chosen:
            room.release(lane)
    return []


def _ready(link: Link) -> list[int]:
    """The lanes with ready jobs."""
    return [lane for (lane,) in link.all(_READY_LANES)]


def _suiting(link: Link, database: Database, want: Want, stamp: str | None, ready: Sequence[int]) -> Iterator[Lane]:
    """Those that this executor can ever take, and that are not known to be shut."""
    shut = database.terms.shut(stamp)
    lanes = read_lanes(link, database.lanes, [key for key in ready if key not in shut]).values()
    return (lane for lane in lanes if suits(lane, want))


def _choose(
    link: Link, lanes: Sequence[Lane], want: Want, room: Room, gone: Container[int]
) -> Iterator[tuple[Head, Lane]]:
    """The jobs to start, best first: the lanes' lines are merged by (priority, position)."""
    waiting = []
    for lane, line in _lines(link, lanes, want, gone):
        if head := next(line, None):
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
        yield head, lane
        following = next(line, None) if count else None
        if following:
            heapreplace(waiting, (_place(following), following, lane, line))
        else:
            heappop(waiting)


def _place(head: Head) -> tuple[int, int]:
    return -head.priority, head.position


def _lines(
    link: Link, lanes: Sequence[Lane], want: Want, gone: Container[int]
) -> Iterator[tuple[Lane, Iterator[Head]]]:
    """The ready jobs of each lane, read a portion at a time: of many lanes most give one or two."""
    portion = max(1, min(want.count, 2 * want.count // len(lanes)))
    begins = link.all_of(_LINE, [(lane.id, _FAR, _FAR, -_FAR, portion) for lane in lanes])
    for lane, begin in zip(lanes, begins, strict=True):
        yield lane, _line(link, lane, [Head(*found) for found in begin], portion, gone)


def _line(link: Link, lane: Lane, heads: list[Head], portion: int, gone: Container[int]) -> Iterator[Head]:
    while True:
        yield from (head for head in heads if head.seq not in gone)
        if len(heads) < portion:
            return
        last = heads[-1]
        following = link.all(_LINE, lane.id, last.priority, last.priority, last.position, portion)
        heads = [Head(*found) for found in following]
