"""What time brings: scheduled jobs come due, jobs near their deadline rise, others expire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Select, Update, and_, bindparam, literal_column, select, update
from sqlalchemy.sql.selectable import ScalarSelect

from ostinato.model import HIGH, Row
from ostinato_sql.database import Database
from ostinato_sql.dialect import Dialect
from ostinato_sql.link import Link
from ostinato_sql.rows import WHOLE, to_rows
from ostinato_sql.statement import Keyed, Statement, at_most
from ostinato_sql.tables import is_ready, is_scheduled, jobs, may_expire, may_rise
from ostinato_sql.terms import stamp_now

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
        stamp_now,
    )
)


class Ahead:
    """When the next of each kind comes, at the cost of four looks at an index; and the ``stamp`` of the terms."""

    def __init__(self, link: Link) -> None:
        ((ready, self.run_at, self.promote_at, self.expires_at, self.stamp),) = link.all(_AHEAD)
        self.ready = ready is not None

    def due(self, now: int) -> bool:
        return any(at is not None and at <= now for at in (self.run_at, self.promote_at, self.expires_at))


def _portion(column: Callable[[Dialect], ColumnElement[int]], where: ColumnElement[bool]) -> Statement:
    """Those that somebody else is moving at this moment are left to him."""

    def write(dialect: Dialect) -> Select[Any]:
        at = column(dialect)
        chosen = select(jobs.c.seq).where(where, at.is_not(None), at <= bindparam("now")).order_by(at)
        return at_most(PORTION, chosen).with_for_update(skip_locked=True)

    return Statement(write, "now")


_EXPIRING = _portion(lambda dialect: jobs.c.expires_at, may_expire)
_RISING = _portion(lambda dialect: dialect.rising, may_rise)
_COMING = _portion(lambda dialect: jobs.c.run_at, is_scheduled)
_EXPIRED = Keyed(lambda keys: select(*WHOLE).where(jobs.c.seq.in_(keys)).order_by(jobs.c.seq))


def _change(**values: Any) -> Callable[[list[BindParameter[Any]]], Update]:
    return lambda keys: update(jobs).where(jobs.c.seq.in_(keys)).values(**values)


_EXPIRE = Keyed(_change(state=literal_column("'expired'"), ended_at=bindparam("at")), "at")
_RISE = Keyed(_change(priority=literal_column(str(HIGH))))
_COME = Keyed(_change(state=literal_column("'ready'")))


class Brought(NamedTuple):
    """What time has brought, if ``any``: ``more`` of it is left, for another transaction."""

    ahead: Ahead
    expired: list[Row]
    any: bool
    more: bool


def apply(link: Link, database: Database, now: int) -> Brought:
    """Apply what is due, at most a portion of each kind."""
    ahead = Ahead(link)
    if not ahead.due(now):
        return Brought(ahead, [], any=False, more=False)
    seqs = [seq for (seq,) in link.all(_EXPIRING, now)]
    link.run_among(_EXPIRE, seqs, now)
    expired = to_rows(link, database.lanes, link.among(_EXPIRED, seqs))
    most = len(seqs)
    for which, change in ((_RISING, _RISE), (_COMING, _COME)):
        seqs = [seq for (seq,) in link.all(which, now)]
        link.run_among(change, seqs)
        most = max(most, len(seqs))
    return Brought(Ahead(link), expired, any=True, more=most == PORTION)
