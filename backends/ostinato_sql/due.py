"""What time brings: scheduled jobs come due, jobs near their deadline rise, others expire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    Update,
    and_,
    bindparam,
    case,
    literal_column,
    select,
    update,
)
from sqlalchemy.sql.selectable import ScalarSelect

from ostinato.model import HIGH, Channel, Row
from ostinato_sql import waits
from ostinato_sql.database import Database
from ostinato_sql.dependence import Consequences
from ostinato_sql.dialect import Dialect
from ostinato_sql.link import Link, Values
from ostinato_sql.rows import SEQ, STATE, WHOLE, to_rows
from ostinato_sql.statement import Keyed, Statement, at_most
from ostinato_sql.tables import is_ready, is_scheduled, jobs, may_expire, may_lapse, may_rise
from ostinato_sql.terms import stamp_now
from ostinato_sql.waits import AWAITED

PORTION = 2000
"""Jobs moved in one transaction: should a million come due at once, other writers get their turn."""


def _first(column: ColumnElement[int], where: ColumnElement[bool]) -> ScalarSelect[int]:
    return at_most(1, select(column).where(where).order_by(column)).scalar_subquery()


_AHEAD = Statement(
    lambda dialect: select(
        at_most(1, select(jobs.c.seq).where(is_ready)).scalar_subquery(),
        _first(jobs.c.run_at, is_scheduled),
        _first(dialect.rising, and_(may_rise, dialect.rising.is_not(None))),
        _first(jobs.c.expires_at, may_expire),
        _first(dialect.lapsing, and_(may_lapse, dialect.lapsing.is_not(None))),
        stamp_now,
    )
)


class Ahead:
    """When the next of each kind comes, at the cost of five looks at an index; and the ``stamp`` of the terms."""

    def __init__(self, link: Link) -> None:
        ((ready, run_at, promote_at, expires_at, lapses_at, self.stamp),) = link.all(_AHEAD)
        self.ready = ready is not None
        self.next_at: int | None = sooner(run_at, lapses_at)
        """When there is something to claim, or a job that somebody waits for has waited long enough."""
        self._times = (run_at, promote_at, expires_at)

    def due(self, now: int) -> bool:
        return any(at is not None and at <= now for at in self._times)


def sooner(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else min(one, other)


def _portion(
    column: Callable[[Dialect], ColumnElement[int]], where: ColumnElement[bool], *columns: ColumnElement[Any]
) -> Statement:
    """Those that somebody else is moving at this moment are left to him."""

    def write(dialect: Dialect) -> Select[Any]:
        at = column(dialect)
        chosen = select(jobs.c.seq, *columns).where(where, at.is_not(None), at <= bindparam("now")).order_by(at)
        return at_most(PORTION, chosen).with_for_update(skip_locked=True)

    return Statement(write, "now")


_ENDING = (jobs.c.id, jobs.c.state, AWAITED, jobs.c.stepped)
_EXPIRING = _portion(lambda dialect: jobs.c.expires_at, may_expire, *_ENDING)
_RISING = _portion(lambda dialect: dialect.rising, may_rise)
_COMING = _portion(lambda dialect: jobs.c.run_at, is_scheduled)
_EXPIRED = Keyed(lambda keys: select(*WHOLE).where(jobs.c.seq.in_(keys)).order_by(jobs.c.seq))


_SUCCEEDED: ColumnElement[str] = literal_column("'succeeded'")


def _change(**values: Any) -> Callable[[list[BindParameter[Any]]], Update]:
    return lambda keys: update(jobs).where(jobs.c.seq.in_(keys)).values(**values)


_EXPIRE = Keyed(
    lambda keys: (
        update(jobs)
        .where(jobs.c.seq.in_(keys))
        .ordered_values(
            (jobs.c.state, case((jobs.c.fallback.is_(None), literal_column("'expired'")), else_=_SUCCEEDED)),
            (jobs.c.result, jobs.c.fallback),
            (jobs.c.ended_at, bindparam("at")),
        )
    ),
    "at",
)
_RISE = Keyed(_change(priority=literal_column(str(HIGH))))
_COME = Keyed(_change(state=literal_column("'ready'")))


class Expiring(NamedTuple):
    """What counts of a job whose time has run out."""

    seq: int
    id: str
    state: str
    awaited: bool
    stepped: bool


class Brought(NamedTuple):
    """What time has brought, if ``any``: ``more`` of it is left, for another transaction; ``told`` should
    hear of it."""

    ahead: Ahead
    expired: list[Row]
    any: bool
    more: bool
    told: set[Channel]


def apply(link: Link, database: Database, now: int) -> Brought:
    """Apply what is due, at most a portion of each kind."""
    ahead = Ahead(link)
    if not ahead.due(now):
        return Brought(ahead, [], any=False, more=False, told=set())
    consequences = Consequences(link, now)
    expired = _expire(link, consequences, now)
    most = len(expired)
    for which, change in ((_RISING, _RISE), (_COMING, _COME)):
        seqs = [seq for (seq,) in link.all(which, now)]
        link.run_among(change, seqs)
        most = max(most, len(seqs))
    unstarted = to_rows(link, database.lanes, [values for values in expired if values[STATE] == "expired"])
    return Brought(Ahead(link), unstarted, any=True, more=most == PORTION, told=consequences.told)


def _expire(link: Link, consequences: Consequences, now: int) -> list[Values]:
    """Those whose time has run out, as they are now. What follows of it may come due at once too."""
    found = {values[0]: Expiring(*values) for values in link.all(_EXPIRING, now)}
    link.run_among(_EXPIRE, found, now)
    waits.end(link, [one.seq for one in found.values() if one.state == "blocked"])
    expired = link.among(_EXPIRED, found)
    for values in expired:
        consequences.ended(found[values[SEQ]], values[STATE])
    consequences.draw()
    return expired
