"""PostgreSQL, by psycopg 3.

Executors claim at the same time: who locks a job first has it, the others pass it over. Each
statement sees what was committed before it began (READ COMMITTED), so that what was locked is
read after it was locked.
"""

from __future__ import annotations

import select as polling
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import psycopg
from psycopg.types.string import StrDumper, TextLoader
from sqlalchemy import ColumnElement, Engine, Insert, Table, create_engine
from sqlalchemy import Dialect as Core
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import psycopg as core
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ostinato.errors import StoreCorrupt, StoreError, StoreUnavailable
from ostinato.model import Channel
from ostinato_sql.dialect import READY_LANES, Linked, Waker, values_of
from ostinato_sql.link import Link
from ostinato_sql.push import Pushing
from ostinato_sql.served import DURABLE, Served
from ostinato_sql.tables import jobs

BITS = 20
"""A number of the sequence stands for so many bits of ``jobs.seq``: one is drawn for a whole post."""
_SETTINGS: Mapping[str, Any] = {
    "application_name": "ostinato",
    "connect_timeout": 10,
    # A server that vanished without a word is noticed within half a minute.
    "tcp_user_timeout": 20_000,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
# A process that is stopped in the middle of a transaction must not hold its locks for ever.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL idle_in_transaction_session_timeout = 15000"
_BEGIN_FLEETING = f"{_BEGIN}; SET LOCAL synchronous_commit = off"
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_LOOK = """
    SELECT (SELECT last_value FROM ostinato_seq), (SELECT max(ended_at) FROM ostinato_jobs WHERE ended_at IS NOT NULL),
        (SELECT count(*) FROM ostinato_executors),
        (SELECT count(*) FROM ostinato_jobs WHERE state = 'running' AND cancelling <> 0)
"""


class PostgresDialect(Served):
    name = "postgresql"
    core: Core = core.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    alone = False
    partial = True
    whose = "SELECT current_database(), CAST(pg_postmaster_start_time() AS text)"
    ready_lanes = READY_LANES
    own_tables: tuple[str, ...] = ("CREATE SEQUENCE ostinato_seq",)
    table_end = ""
    defaults = _SETTINGS
    rising: ColumnElement[int] = jobs.c.promote_at
    lapsing: ColumnElement[int] = jobs.c.expires_at

    @cached_property
    def _lock_keys(self) -> tuple[int, int]:
        return self.naming.key("capacities"), self.naming.key("schema")

    # connections

    def connect(self) -> Engine:
        engine = create_engine(
            "postgresql+psycopg://", creator=self.open_connection, poolclass=NullPool, use_native_hstore=False
        )
        try:
            link = Link(self, engine)
            try:
                self._read_settings(link)
            finally:
                link.close()
        except (psycopg.Error, SQLAlchemyError) as error:
            raise self.translate(error) from error
        return engine

    def open_connection(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(**self._settings, autocommit=True)
        connection.adapters.register_dumper(str, TextDumper)
        for kind in ("text", "varchar"):
            connection.adapters.register_loader(kind, NulLoader)
        return connection

    def _read_settings(self, link: Link) -> None:
        self._compare_clocks(link.core.connection.driver_connection)
        link.cursor.execute(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit'), pg_is_in_recovery()"
        )
        ((fsync, commit, standby),) = link.cursor.fetchall()
        if standby:
            raise StoreUnavailable(
                f"{self.place} is a standby, which only reads. Name the primary, or several hosts with "
                "?target_session_attrs=read-write."
            )
        self.durable = DURABLE
        if fsync == "off":
            self.durable = "a crash of the process, but not one of the server's machine (fsync=off there)"
        elif commit == "off":
            self.durable = "a crash of the process; a crash of the server may lose the newest (synchronous_commit=off)"

    def usable(self, driver: Any) -> bool:
        """An idle connection has nothing to say; one that can be read was closed by the server."""
        try:
            watched = polling.poll()
            watched.register(driver.fileno(), polling.POLLIN)
            if driver.closed or watched.poll(0):
                return False
            self._compare_clocks(driver)
        except (psycopg.Error, OSError):
            return False
        return True

    def _compare_clocks(self, driver: Any) -> None:
        clock = self._server_clock
        if clock is not None and clock.is_old():
            clock.compare(lambda: int(driver.execute(_NOW).fetchone()[0]))

    # transactions

    def begin(self, link: Linked, lasting: bool) -> None:
        link.cursor.execute(_BEGIN if lasting else _BEGIN_FLEETING)

    def snapshot(self, link: Linked) -> None:
        link.cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def lock_capacities(self, link: Linked, alone: bool) -> None:
        how = "" if alone else "_shared"
        link.cursor.execute(f"SELECT pg_advisory_xact_lock{how}({self._lock_keys[0]})")

    def lock_schema(self, link: Linked) -> None:
        link.cursor.execute(f"SELECT pg_advisory_xact_lock({self._lock_keys[1]})")
        if not self.naming.schema:
            return
        name = self.naming.schema
        link.cursor.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (name,))
        if not link.cursor.fetchall():
            link.cursor.execute(f'CREATE SCHEMA "{name}"')
        link.cursor.execute(f'SET LOCAL search_path TO "{name}"')

    def before_tables(self) -> list[str]:
        if not self.naming.schema:
            return []
        name = self.naming.schema
        return [f'CREATE SCHEMA IF NOT EXISTS "{name}"', f'SET LOCAL search_path TO "{name}"']

    def to_text(self, value: Any) -> Any:
        return _escaped(value) if isinstance(value, str) else value

    def from_text(self, value: Any) -> Any:
        return _unescaped(value) if isinstance(value, str) else value

    def lost_a_race(self, error: BaseException) -> bool:
        cause = error.orig if isinstance(error, DBAPIError) else error
        return getattr(cause, "sqlstate", None) in ("40001", "40P01")

    # statements

    def reserve(self, link: Linked, count: int) -> int:
        numbers = (count >> BITS) + 1
        link.cursor.execute(self.naming.apply("SELECT nextval('ostinato_seq') FROM generate_series(1, %s)"), (numbers,))
        found = [number for (number,) in link.cursor.fetchall()]
        if found[-1] - found[0] != numbers - 1:
            raise StoreUnavailable(f"{count} jobs in one post are too many. Post them in parts of 100,000.")
        return int(found[0]) << BITS

    def insert_new(self, table: Table) -> Insert:
        return postgresql.insert(table).on_conflict_do_nothing()

    def insert_or_replace(self, table: Table) -> Insert:
        statement = postgresql.insert(table)
        new = values_of(table, statement.excluded)
        return statement.on_conflict_do_update(index_elements=table.primary_key, set_=new)

    def run_many(self, cursor: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """The driver sends them all before it reads the first answer."""
        cursor.executemany(text, rows)
        return int(cursor.rowcount)

    def all_of(self, cursor: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
        cursor.executemany(text, rows, returning=True)
        found = [cursor.fetchall()]
        while cursor.nextset():
            found.append(cursor.fetchall())
        return found

    def waker(self, engine: Engine, writes: Callable[[], int]) -> Waker:
        return Pushing(self.open_connection, f"ostinato_{self.naming.key('wake'):x}", self.place, self._look)

    def _look(self, connection: psycopg.Connection[Any]) -> dict[Channel, Any]:
        found = connection.execute(self.naming.apply(_LOOK)).fetchone()
        assert found is not None  # noqa: S101 - a query without FROM has one row
        last, ended, executors, cancelling = found
        return {"ready": (last, ended), "ended": ended, "orders": (executors, cancelling)}

    # errors

    def translate(self, error: BaseException) -> StoreError:
        cause = error.orig if isinstance(error, DBAPIError) else error
        said = " ".join(str(cause).split())
        state = getattr(cause, "sqlstate", None)
        for states, words, kind, advice in _MEANINGS:
            # What goes wrong while a connection is made comes without a state.
            if state.startswith(states) if state else any(word in said for word in words):
                return kind(f"{advice.format(place=self.place)} (PostgreSQL says: {said})")
        return StoreUnavailable(f"Cannot use {self.place}: {said}")


_ESCAPE = "\ue000"


def _escaped(text: str) -> str:
    """PostgreSQL's texts cannot hold NUL: it travels as a character of the private use area and a
    digit, and that character so too, so that every text comes back as it was."""
    if "\0" in text or _ESCAPE in text:
        return text.replace(_ESCAPE, _ESCAPE + "1").replace("\0", _ESCAPE + "0")
    return text


def _unescaped(text: str) -> str:
    if _ESCAPE in text:
        return text.replace(_ESCAPE + "0", "\0").replace(_ESCAPE + "1", _ESCAPE)
    return text


class TextDumper(StrDumper):
    def dump(self, obj: str) -> Any:
        return super().dump(_escaped(obj))


class NulLoader(TextLoader):
    def load(self, data: Any) -> Any:
        return _unescaped(super().load(data))  # type: ignore[arg-type]


_MEANINGS: tuple[tuple[tuple[str, ...], tuple[str, ...], type[StoreError], str], ...] = (
    (
        ("28",),
        ("authentication failed", "pg_hba.conf", "no password supplied"),
        StoreUnavailable,
        "{place} refuses the user or the password. Check both in the URL, and pg_hba.conf on the server",
    ),
    (
        ("3D000",),
        ("does not exist",),
        StoreUnavailable,
        "{place}: there is no such database. Create it (createdb NAME) or name another in the URL",
    ),
    (
        ("42P01", "42703"),
        (),
        StoreCorrupt,
        "{place} does not hold the tables that this Ostinato wrote. Restore them from a backup, or name another "
        "database, schema or prefix",
    ),
    (
        ("42501", "25006"),
        (),
        StoreUnavailable,
        "{place} does not let this user write. Grant it the right to use and to make tables in the schema",
    ),
    (
        ("53100", "53200"),
        (),
        StoreUnavailable,
        "The server of {place} has no space left; nothing was stored. Free some and try again",
    ),
    (
        ("53300",),
        ("too many clients", "remaining connection slots"),
        StoreUnavailable,
        "{place} takes no more connections. Raise max_connections, or put a pooler such as PgBouncer before it",
    ),
)
