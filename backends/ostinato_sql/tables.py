"""The schema: what is kept, and the indexes that keep a claim's cost apart from the backlog.

A *lane* is all jobs of the same queue, task, version, slots and holds. Whether an executor can
take a job depends on its lane alone, so a claim looks at lanes first and then only at the heads
of those that fit: a hundred thousand jobs of a task that it does not know cost it nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    and_,
    literal_column,
    text,
)
from sqlalchemy.dialects.mysql import LONGTEXT

metadata = MetaData()

Whole = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's fast row key must be called INTEGER
Name = String(255).with_variant(Text(), "postgresql")
Long = Text().with_variant(LONGTEXT(), "mysql", "mariadb")


def _count(name: str) -> Column[int]:
    return Column(name, Whole, nullable=False, server_default="0")


meta = Table(
    "ostinato_meta",
    metadata,
    Column("name", Name, primary_key=True),
    Column("value", Long, nullable=False),
)

# The key is a hash of the other columns, so that two processes agree on it without asking, and
# rows are never changed or removed, so that they can be remembered.
lanes = Table(
    "ostinato_lanes",
    metadata,
    Column("id", Whole, primary_key=True, autoincrement=False),
    Column("queue", Long, nullable=False),
    Column("task", Long, nullable=False),
    Column("version", Whole, nullable=False),
    Column("slots", Whole, nullable=False),
    Column("holds", Long, nullable=False),
)

# ``priority``, ``run_at`` and ``expires_at`` are the ones in force; those that were asked for are
# kept beside them. ``position`` is the order among equals: ``seq``, or ``-seq`` for a job at the front.
# ``awaited``: others may wait for it; ``stepped``: there may be steps of it, or records of such. Where they
# are 0, which is almost always, nobody looks for any.
jobs = Table(
    "ostinato_jobs",
    metadata,
    Column("seq", Whole, primary_key=True, autoincrement=False),
    Column("id", Name, nullable=False),
    Column("lane", Whole, nullable=False),
    Column("state", String(16), nullable=False),
    Column("priority", Whole, nullable=False),
    Column("position", Whole, nullable=False),
    Column("run_at", Whole, nullable=False),
    Column("promote_at", Whole),
    Column("expires_at", Whole),
    Column("posted_at", Whole, nullable=False),
    _count("token"),
    _count("attempt"),
    _count("charged"),
    _count("deaths"),
    _count("cancelling"),
    Column("executor_id", Name),
    Column("lease_until", Whole),
    Column("started_at", Whole),
    Column("ended_at", Whole),
    Column("reason", Long, nullable=False, server_default=text("('')")),
    Column("kind", String(16), nullable=False),
    Column("front", Integer, nullable=False),
    Column("asked_priority", Whole, nullable=False),
    Column("asked_run_at", Whole, nullable=False),
    Column("asked_expires_at", Whole),
    Column("deadline", Whole),
    Column("schedule", Long),
    Column("tick", Whole),
    Column("parent", Name),
    Column("uniqueness", Long),
    Column("tags", Long, nullable=False),
    Column("policy", Long, nullable=False),
    Column("args", Long, nullable=False),
    Column("result", Long),
    Column("error", Long),
    Column("after", Long),
    Column("flow", Name),
    Column("step", Long),
    Column("fallback", Long),
    _count("awaited"),
    _count("stepped"),
)


def in_state(state: str) -> ColumnElement[bool]:
    """Rendered as a literal: a planner cannot match a bound parameter with a partial index."""
    return jobs.c.state == literal_column(f"'{state}'")


is_ready = in_state("ready")
is_scheduled = in_state("scheduled")
is_running = in_state("running")
_rises = and_(jobs.c.promote_at.is_not(None), jobs.c.priority < literal_column("100"))
may_rise = and_(_rises, jobs.c.state.in_([literal_column("'ready'"), literal_column("'scheduled'")]))
has_ended = jobs.c.ended_at.is_not(None)
may_expire = and_(
    jobs.c.expires_at.is_not(None),
    jobs.c.attempt == literal_column("0"),
    jobs.c.ended_at.is_(None),
)


may_lapse = and_(in_state("waiting"), jobs.c.attempt == literal_column("0"), jobs.c.expires_at.is_not(None))


def _index(
    name: str,
    *columns: ColumnElement[object],
    only: ColumnElement[bool] | None = None,
    whole: tuple[ColumnElement[object], ...] = (),
) -> None:
    """``whole`` are the columns for databases whose indexes are always of ``only`` all rows."""
    where: dict[str, Any] = {} if only is None else {"sqlite_where": only, "postgresql_where": only}
    Index(f"ostinato_{name}", *columns, unique=name == "id", info={"whole": False if where else None}, **where)
    if whole:
        Index(f"ostinato_{name}", *whole, info={"whole": True})


def indexes_of(table: Table, whole: bool) -> list[Index]:
    """Those for databases that have whole indexes only, or partial ones too."""
    found = [index for index in table.indexes if index.info.get("whole") in (None, whole)]
    return sorted(found, key=lambda index: str(index.name))


_index("id", jobs.c.id)
_line = (jobs.c.lane, jobs.c.priority.desc(), jobs.c.position)
_index("ready", *_line, only=is_ready, whole=(jobs.c.state, *_line))
_index("scheduled", jobs.c.run_at, only=is_scheduled, whole=(jobs.c.state, jobs.c.run_at))
_run = (jobs.c.lease_until, jobs.c.executor_id, jobs.c.lane)
_index("running", *_run, only=is_running, whole=(jobs.c.state, *_run))
_index("rising", jobs.c.promote_at, only=may_rise)
_expiry = (jobs.c.ended_at, jobs.c.attempt, jobs.c.expires_at)
_index("expiring", jobs.c.expires_at, only=may_expire, whole=_expiry)
# Only of ended jobs: an index by state of all would look better to SQLite's planner than the ones
# above, and then a claim would walk along the whole backlog.
_index("final", jobs.c.state, jobs.c.seq, only=has_ended, whole=(jobs.c.state, jobs.c.seq))
_index("ended", jobs.c.ended_at, only=has_ended)
_index("lapsing", jobs.c.expires_at, only=may_lapse)
_flow = (jobs.c.flow, jobs.c.seq)
_index("flow", *_flow, only=jobs.c.flow.is_not(None), whole=_flow)

attempts = Table(
    "ostinato_attempts",
    metadata,
    Column("job", Whole, primary_key=True, autoincrement=False),
    Column("number", Whole, primary_key=True, autoincrement=False),
    Column("token", Whole, nullable=False),
    Column("executor_id", Name, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("started_at", Whole, nullable=False),
    Column("ended_at", Whole, nullable=False),
    Column("reason", Long, nullable=False),
    Column("error", Long),
    Column("exit_code", Whole),
    Column("signal", Whole),
    Column("cpu", Whole),
    Column("peak_memory", Whole),
    Column("log", Long),
    sqlite_with_rowid=False,
)

notes = Table(
    "ostinato_notes",
    metadata,
    Column("job", Whole, primary_key=True, autoincrement=False),
    Column("key", String(64), primary_key=True),
    Column("value", Long, nullable=False),
    sqlite_with_rowid=False,
)

# What runs have recorded of their steps.
steps = Table(
    "ostinato_steps",
    metadata,
    Column("job", Whole, primary_key=True, autoincrement=False),
    Column("name", Name, primary_key=True),
    Column("value", Long, nullable=False),
    sqlite_with_rowid=False,
)

# A blocked job and one that it still waits for, by id: that one may not be here yet. ``token`` is the
# waiting job's own, which stays the same as long as it waits; ``place`` the other's place among all that it
# waits for. `After.failure` and `After.first` are the same in all its rows.
waits = Table(
    "ostinato_waits",
    metadata,
    Column("awaited", Name, primary_key=True),
    Column("job", Whole, primary_key=True, autoincrement=False),
    Column("token", Whole, nullable=False),
    Column("place", Whole, nullable=False),
    Column("failure", String(8), nullable=False),
    Column("first", Integer, nullable=False),
    Index("ostinato_waits_job", "job", "place"),
    sqlite_with_rowid=False,
)

tags = Table(
    "ostinato_tags",
    metadata,
    Column("tag", Name, primary_key=True),
    Column("job", Whole, primary_key=True, autoincrement=False),
    Index("ostinato_tags_job", "job"),
    sqlite_with_rowid=False,
)

# Who held a key last; whether he still does follows from his row.
holders = Table(
    "ostinato_holders",
    metadata,
    Column("key", Name, primary_key=True),
    Column("job", Whole, nullable=False),
    Index("ostinato_holders_job", "job"),
    sqlite_with_rowid=False,
)

# A capacity, or a rate of so many starts per microseconds, or both.
limits = Table(
    "ostinato_limits",
    metadata,
    Column("name", Name, primary_key=True),
    Column("capacity", Whole),
    Column("starts", Whole),
    Column("per", Whole),
)

# Of jobs that hold the name of a rate, as long as the rate counts them.
starts = Table(
    "ostinato_starts",
    metadata,
    Column("name", Name, primary_key=True),
    Column("at", Whole, primary_key=True, autoincrement=False),
    Column("jobs", Whole, nullable=False),
    sqlite_with_rowid=False,
)

ticks = Table(
    "ostinato_ticks",
    metadata,
    Column("schedule", Name, primary_key=True),
    Column("due", Whole, nullable=False),
    sqlite_with_rowid=False,
)

entries = Table(
    "ostinato_entries",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("name", Name, primary_key=True),
    Column("value", Long, nullable=False),
    Column("version", Whole, nullable=False),
    sqlite_with_rowid=False,
)

executors = Table(
    "ostinato_executors",
    metadata,
    Column("id", Name, primary_key=True),
    Column("lease_until", Whole, nullable=False),
    Column("info", Long, nullable=False),
)
