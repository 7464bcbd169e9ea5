"""MariaDB (10.6 and later) and MySQL (8.0 and later), by PyMySQL.

As with PostgreSQL, executors claim at the same time and pass over what others have locked. There
are no partial indexes: whole ones begin with the state, and those on computed columns stand for
the few jobs that may rise or lapse. There is no push: see `ostinato_sql.poll`.
"""

from __future__ import annotations

import select as polling
import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import pymysql
from pymysql.constants import CLIENT, CR
from sqlalchemy import ColumnElement, Engine, Insert, Table, create_engine, literal_column
from sqlalchemy import Dialect as Core
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects.mysql import pymysql as core
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ostinato.errors import StoreCorrupt, StoreError, StoreUnavailable
from ostinato_sql import poll
from ostinato_sql.dialect import Linked, Waker, values_of
from ostinato_sql.link import Link
from ostinato_sql.served import DURABLE, Served

BITS = 20
"""A number that is drawn stands for so many bits of ``jobs.seq``: one is enough for a whole post."""
_SESSION = (
    "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout = 4; "
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
)
# Text compares as it is, trailing spaces included.
_COLLATIONS = {True: "utf8mb4_nopad_bin", False: "utf8mb4_0900_bin"}
_SETTINGS: Mapping[str, Any] = {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}
_COMPUTED = (
    "ALTER TABLE ostinato_jobs ADD COLUMN rises_at BIGINT GENERATED ALWAYS AS (CASE WHEN promote_at IS NOT NULL AND "
    "priority < 100 AND state IN ('ready', 'scheduled') THEN promote_at END) VIRTUAL",
    "CREATE INDEX ostinato_rising ON ostinato_jobs (rises_at)",
    "ALTER TABLE ostinato_jobs ADD COLUMN lapses_at BIGINT GENERATED ALWAYS AS (CASE WHEN state = 'waiting' AND "
    "attempt = 0 THEN expires_at END) VIRTUAL",
    "CREATE INDEX ostinato_lapsing ON ostinato_jobs (lapses_at)",
)
# Its optimizer does not step along an index, but looks once for each lane there ever was; a semi-join
# of EXISTS might read all ready jobs instead.
_READY_LANES = """
    SELECT lane FROM (
        SELECT id AS lane, (SELECT 1 FROM ostinato_jobs j WHERE j.state = 'ready' AND j.lane = l.id LIMIT 1) AS waits
        FROM ostinato_lanes l
    ) looked WHERE waits = 1
"""
_SEQUENCE = "CREATE TABLE ostinato_seq (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY)"
_RESERVE = "INSERT INTO ostinato_seq () VALUES (); DELETE FROM ostinato_seq WHERE id = LAST_INSERT_ID()"
_NOW = "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"
_LOCK_SHARED = "SELECT value FROM ostinato_meta WHERE name = 'schema' LOCK IN SHARE MODE"
_LOCK_ALONE = "SELECT value FROM ostinato_meta WHERE name = 'schema' FOR UPDATE"
_RACES = (1213, 1205, 1020)  # deadlock, lock wait timeout, changed since it was read


class MysqlDialect(Served):
    name = "mysql"
    core: Core = core.dialect(paramstyle="format")
    errors: tuple[type[Exception], ...] = (pymysql.Error,)
    alone = False
    partial = False
    table_end = ""
    defaults = _SETTINGS
    whose = "SELECT DATABASE(), @@hostname, @@port, @@datadir"
    ready_lanes = _READY_LANES
    own_tables: tuple[str, ...] = (*_COMPUTED, _SEQUENCE, poll.TABLE)
    rising: ColumnElement[int] = literal_column("ostinato_jobs.rises_at")
    lapsing: ColumnElement[int] = literal_column("ostinato_jobs.lapses_at")

    @cached_property
    def _tls(self) -> dict[str, Any]:
        return {} if any(name.startswith("ssl") for name in self._settings) else {"ssl": _unverified()}

    # connections

    def connect(self) -> Engine:
        engine = create_engine("mysql+pymysql://", creator=self.open_connection, poolclass=NullPool)
        try:
            link = Link(self, engine)
            try:
                self._read_settings(link)
            finally:
                link.close()
        except (pymysql.Error, SQLAlchemyError) as error:
            raise self.translate(error) from error
        return engine

    def open_connection(self) -> Any:
        connection = self._open()
        try:
            with connection.cursor() as cursor:
                _all_results(cursor, _SESSION)
                if "mariadb" in connection.get_server_info().lower():
                    # A process that is stopped in the middle of a transaction must not hold its locks for ever.
                    cursor.execute("SET SESSION idle_transaction_timeout = 15")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self) -> Any:
        """Encrypted if the server can, as the driver does it; which, however, reads all certificates of
        the machine anew for each connection."""
        settings = {**self._settings, "charset": "utf8mb4", "autocommit": True}
        try:
            return pymysql.connect(**{**self._tls, **settings}, client_flag=CLIENT.MULTI_STATEMENTS)
        except pymysql.OperationalError as error:
            if _number(error) != CR.CR_SSL_CONNECTION_ERROR or "ssl" not in self._tls:
                raise
            self._tls = {"ssl_disabled": True}
            return self._open()

    def _read_settings(self, link: Link) -> None:
        driver: Any = link.core.connection.driver_connection
        self._compare_clocks(driver)
        mariadb = "mariadb" in driver.get_server_info().lower()
        self.table_end = f" ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE {_COLLATIONS[mariadb]}"
        link.cursor.execute("SELECT @@innodb_flush_log_at_trx_commit, @@read_only")
        ((flush, read_only),) = link.cursor.fetchall()
        if read_only and str(read_only) not in ("0", "OFF"):
            raise StoreUnavailable(f"{self.place} only reads (read_only is on). Name the primary.")
        self.durable = DURABLE
        if flush != 1:
            self.durable = (
                "a crash of the process; a crash of the server's machine may lose the newest "
                f"(innodb_flush_log_at_trx_commit={flush})"
            )

    def usable(self, driver: Any) -> bool:
        """An idle connection has nothing to say; one that can be read was closed by the server."""
        try:
            watched = polling.poll()
            watched.register(driver._sock.fileno(), polling.POLLIN)
            if not driver.open or watched.poll(0):
                return False
            self._compare_clocks(driver)
        except (pymysql.Error, OSError, AttributeError):
            return False
        return True

    def _compare_clocks(self, driver: Any) -> None:
        clock = self._server_clock
        if clock is None or not clock.is_old():
            return

        def ask() -> int:
            with driver.cursor() as cursor:
                cursor.execute(_NOW)
                return int(cursor.fetchone()[0])

        clock.compare(ask)

    # transactions

    def begin(self, link: Linked, lasting: bool) -> None:
        link.cursor.execute("START TRANSACTION")

    def snapshot(self, link: Linked) -> None:
        _all_results(
            link.cursor,
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        )

    def lock_capacities(self, link: Linked, alone: bool) -> None:
        link.cursor.execute(self.naming.apply(_LOCK_ALONE if alone else _LOCK_SHARED))
        link.cursor.fetchall()

    def lock_schema(self, link: Linked) -> None:
        """Tables cannot be made within a transaction here: the lock is the session's."""
        name = f"ostinato{self.naming.key('schema'):x}"
        link.cursor.execute("SELECT GET_LOCK(CONCAT(%s, CRC32(DATABASE())), 60)", (name,))
        if link.cursor.fetchone()[0] != 1:
            raise StoreUnavailable(f"Somebody has been migrating {self.place} for a minute. Try again later.")
        link.keep(lambda: link.cursor.execute("SELECT RELEASE_ALL_LOCKS()"))

    def before_tables(self) -> list[str]:
        return []

    def to_text(self, value: Any) -> Any:
        return value

    from_text = to_text

    def lost_a_race(self, error: BaseException) -> bool:
        return _number(error) in _RACES

    # statements

    def reserve(self, link: Linked, count: int) -> int:
        if count >> BITS:
            raise StoreUnavailable(f"{count} jobs in one post are too many. Post them in parts of 100,000.")
        link.cursor.execute(self.naming.apply(_RESERVE))
        number = int(link.cursor.lastrowid)
        link.cursor.nextset()
        return number << BITS

    def insert_new(self, table: Table) -> Insert:
        """Not IGNORE, which would overlook other errors too."""
        key = next(iter(table.primary_key))
        return mysql.insert(table).on_duplicate_key_update({key.name: key})

    def insert_or_replace(self, table: Table) -> Insert:
        statement = mysql.insert(table)
        return statement.on_duplicate_key_update(values_of(table, statement.inserted))

    def run_many(self, cursor: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> int:
        if text.startswith("INSERT"):  # which the driver makes one statement of
            return int(cursor.executemany(text, rows) or 0)
        return sum(_all_counts(cursor, text, rows))

    def all_of(self, cursor: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
        found = []
        for some in _portions(rows):
            cursor.execute("; ".join(cursor.mogrify(text, values) for values in some))
            found.append(list(cursor.fetchall()))
            while cursor.nextset():
                found.append(list(cursor.fetchall()))
        return found

    def waker(self, engine: Engine, writes: Callable[[], int]) -> Waker:
        return poll.Polling(self.open_connection, self.naming, self.errors, self.place)

    # errors

    def translate(self, error: BaseException) -> StoreError:
        cause = error.orig if isinstance(error, DBAPIError) else error
        said = str(cause)
        for numbers, kind, advice in _MEANINGS:
            if _number(error) in numbers:
                return kind(f"{advice.format(place=self.place)} (the server says: {said})")
        return StoreUnavailable(f"Cannot use {self.place}: {said}")


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _number(error: BaseException) -> int | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return cause.args[0] if cause is not None and cause.args and isinstance(cause.args[0], int) else None


def _all_results(cursor: Any, text: str) -> None:
    cursor.execute(text)
    while cursor.nextset():
        pass


def _all_counts(cursor: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> list[int]:
    counts = []
    for some in _portions(rows):
        cursor.execute("; ".join(cursor.mogrify(text, values) for values in some))
        counts.append(int(cursor.rowcount))
        while cursor.nextset():
            counts.append(int(cursor.rowcount))
    return counts


def _portions(rows: Sequence[tuple[Any, ...]]) -> list[Sequence[tuple[Any, ...]]]:
    """Texts that travel together must not grow beyond what a server takes at once."""
    portions: list[Sequence[tuple[Any, ...]]] = []
    begin = size = 0
    for at, values in enumerate(rows):
        size += sum(len(value) for value in values if isinstance(value, str))
        if size > 1_000_000 or at - begin >= 500:
            portions.append(rows[begin : at + 1])
            begin, size = at + 1, 0
    return [*portions, rows[begin:]] if begin < len(rows) else portions


_MEANINGS: tuple[tuple[tuple[int, ...], type[StoreError], str], ...] = (
    ((1045, 1698), StoreUnavailable, "{place} refuses the user or the password. Check both in the URL"),
    (
        (1049,),
        StoreUnavailable,
        "{place}: there is no such database. Create it (CREATE DATABASE name) or name another in the URL",
    ),
    (
        (1146, 1054),
        StoreCorrupt,
        "{place} does not hold the tables that this Ostinato wrote. Restore them from a backup, or name another "
        "database or prefix",
    ),
    (
        (1044, 1142, 1290, 1792, 1836),
        StoreUnavailable,
        "{place} does not let this user write. Grant it the right to use and to make tables in the database",
    ),
    ((1040, 1203), StoreUnavailable, "{place} takes no more connections. Raise max_connections"),
    (
        (1021, 1114),
        StoreUnavailable,
        "The server of {place} has no space left; nothing was stored. Free some and try again",
    ),
    (
        (1153,),
        StoreUnavailable,
        "A job is larger than {place} takes at once; nothing was stored. Raise max_allowed_packet",
    ),
)
