"""SQLite: one file, many processes.

Write-ahead log, so that readers and the writer do not wait for each other; ``BEGIN IMMEDIATE``
for every transaction that writes, so that none fails halfway because another wrote meanwhile;
and our own waiting for the write lock, since SQLite's sleeps up to 100 ms between tries.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, Insert, Table, create_engine, func, select
from sqlalchemy import Dialect as Core
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ostinato.errors import StoreCorrupt, StoreError, StoreUnavailable
from ostinato_sql.dialect import READY_LANES, Linked, Waker, values_of
from ostinato_sql.link import Link
from ostinato_sql.naming import Naming
from ostinato_sql.statement import Statement
from ostinato_sql.tables import jobs
from ostinato_sql.wake import FileWaker

SYNCHRONOUS = {
    "FULL": "a crash of the process, of the machine or of its power: each is synced to disk before it returns",
    "NORMAL": "a crash of the process; a crash of the machine may lose the newest (synchronous=NORMAL)",
}
_PATIENCE = 30.0  # seconds to wait for the write lock
_SETTINGS = ("PRAGMA cache_size=-16384", "PRAGMA temp_store=MEMORY", "PRAGMA wal_autocheckpoint=2000")
_LAST = Statement(select(func.max(jobs.c.seq)))


def system_clock() -> int:
    return time.time_ns() // 1000


class SqliteDialect:
    name = "sqlite"
    alone = True
    partial = True
    whose = "SELECT file FROM pragma_database_list WHERE name = 'main'"
    ready_lanes = READY_LANES
    own_tables: tuple[str, ...] = ()
    table_end = ""
    rising: ColumnElement[int] = jobs.c.promote_at
    lapsing: ColumnElement[int] = jobs.c.expires_at
    core: Core = sqlite.dialect(paramstyle="qmark")
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(
        self,
        path: str,
        synchronous: str = "FULL",
        clock: Callable[[], int] = system_clock,
        *,
        naming: Naming = Naming(),  # noqa: B008 - a frozen value
        migrates: bool = True,
    ) -> None:
        self.naming = naming
        self.migrates = migrates
        self.place = os.path.abspath(path)
        self.durable = SYNCHRONOUS[synchronous]
        self.clock = clock
        self._synchronous = synchronous

    def connect(self) -> Engine:
        self._check_place()
        engine = create_engine("sqlite://", creator=self._open_file, poolclass=NullPool)
        try:
            link = Link(self, engine)
            try:
                (mode,) = _patiently(lambda: link.cursor.execute("PRAGMA journal_mode=WAL").fetchone())
            finally:
                link.close()
        except (sqlite3.Error, SQLAlchemyError) as error:
            raise self.translate(error) from error
        if mode != "wal":
            raise StoreUnavailable(
                f"SQLite cannot keep a write-ahead log for {self.place} (journal mode {mode!r}): the file system does "
                "not share memory between processes. Put the file on a local disk."
            )
        return engine

    def _check_place(self) -> None:
        folder = os.path.dirname(self.place)
        if not os.path.isdir(folder):
            raise StoreUnavailable(
                f"Cannot open {self.place}: the folder {folder} does not exist. Create it: mkdir -p {folder}"
            )
        if os.path.isdir(self.place):
            raise StoreUnavailable(
                f"Cannot open {self.place}: it is a folder. Name a file, such as {self.place}/jobs.db"
            )

    def _open_file(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.place, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            for setting in (*_SETTINGS, f"PRAGMA synchronous={self._synchronous}"):
                connection.execute(setting)
        except BaseException:
            connection.close()
            raise
        return connection

    def begin(self, link: Linked, lasting: bool) -> None:
        info = link.core.info
        if "waits itself" not in info:
            link.cursor.execute("PRAGMA busy_timeout=0")
            info["waits itself"] = True
        level = self._synchronous if lasting else "NORMAL"
        if info.get("synchronous", self._synchronous) != level:
            link.cursor.execute(f"PRAGMA synchronous={level}")
            info["synchronous"] = level
        _patiently(lambda: link.cursor.execute("BEGIN IMMEDIATE"))

    def snapshot(self, link: Linked) -> None:
        link.cursor.execute("BEGIN")

    def usable(self, driver: Any) -> bool:
        return True

    def lock_capacities(self, link: Linked, alone: bool) -> None:
        """The writer is alone."""

    def lock_schema(self, link: Linked) -> None:
        """The writer is alone."""

    def before_tables(self) -> list[str]:
        return []

    def run_many(self, cursor: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> int:
        cursor.executemany(text, rows)
        return int(cursor.rowcount)

    def all_of(self, cursor: Any, text: str, rows: Sequence[tuple[Any, ...]]) -> list[list[tuple[Any, ...]]]:
        return [cursor.execute(text, values).fetchall() for values in rows]

    def to_text(self, value: Any) -> Any:
        return value

    from_text = to_text

    def lost_a_race(self, error: BaseException) -> bool:
        return False

    def reserve(self, link: Linked, count: int) -> int:
        """The writer is alone, so that the next free ones are his."""
        ((last,),) = link.all(_LAST)
        return (last or 0) + 1

    def insert_new(self, table: Table) -> Insert:
        return sqlite.insert(table).on_conflict_do_nothing()

    def insert_or_replace(self, table: Table) -> Insert:
        statement = sqlite.insert(table)
        return statement.on_conflict_do_update(
            index_elements=table.primary_key, set_=values_of(table, statement.excluded)
        )

    def translate(self, error: BaseException) -> StoreError:
        said = str(error.orig if isinstance(error, DBAPIError) else error)
        for words, kind, advice in _MEANINGS:
            if any(word in said for word in words):
                return kind(f"{advice.format(place=self.place)} (SQLite says: {said})")
        return StoreUnavailable(f"SQLite cannot use {self.place}: {said}")

    def waker(self, engine: Engine, writes: Callable[[], int]) -> Waker:
        return FileWaker(self.place, Versions(engine, self, writes))


class Versions:
    """A number that changes when another process has written to the file. SQLite's own, which is
    asked here, means something only on one and the same connection, which is therefore kept; it
    changes with our own writes too, and a change beside one of those is taken for ours: an idle
    executor's signs of life must not wake it up."""

    def __init__(self, engine: Engine, dialect: SqliteDialect, writes: Callable[[], int]) -> None:
        self._writes = writes
        self._seen = (0, 0)
        self._foreign = 0
        self._engine: Engine | None = engine
        self._dialect = dialect
        self._link: Link | None = None
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            if self._engine is None:
                raise StoreUnavailable(f"The store at {self._dialect.place} is closed.")
            try:
                if self._link is None:
                    self._link = Link(self._dialect, self._engine)
                ((version,),) = self._link.cursor.execute("PRAGMA data_version").fetchall()
                seen, self._seen = self._seen, (version, self._writes())
                if self._seen[0] != seen[0] and self._seen[1] == seen[1]:
                    self._foreign += 1
                return self._foreign
            except (sqlite3.Error, SQLAlchemyError) as error:
                raise self._dialect.translate(error) from error

    def close(self) -> None:
        with self._lock:
            self._engine = None
            if self._link is not None:
                self._link.close()
                self._link = None


def _patiently(act: Callable[[], Any]) -> Any:
    """Try again while another process holds the lock: with short sleeps, for it is held
    shortly, and uneven ones, so that those who wait do not meet again and again."""
    pause, until = 0.0003, time.monotonic() + _PATIENCE
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret depends on it
        pause = min(pause * 1.2, 0.003)


_MEANINGS: tuple[tuple[tuple[str, ...], type[StoreError], str], ...] = (
    (
        ("not a database", "malformed", "unsupported file format"),
        StoreCorrupt,
        "{place} is not a SQLite database, or is damaged. Restore it from a backup, or save what can be read with: "
        "sqlite3 {place} .recover",
    ),
    (
        ("no such table", "no such column"),
        StoreCorrupt,
        "{place} does not hold the tables that this Ostinato wrote. Restore it from a backup, or name another file",
    ),
    (
        ("disk is full",),
        StoreUnavailable,
        "There is no space left on the disk of {place}; nothing was stored. Free some space and try again",
    ),
    (
        ("disk I/O error",),
        StoreUnavailable,
        "The disk of {place} refused to read or write; nothing was stored. Check the disk, its quota and its space",
    ),
    (
        ("readonly", "unable to open", "attempt to write"),
        StoreUnavailable,
        "{place} cannot be opened for writing. Give this user the right to write the file and its folder (SQLite keeps "
        "two more files beside it)",
    ),
    (
        ("locked", "busy"),
        StoreUnavailable,
        "Another process has been writing to {place} for too long. Look for a transaction left open, in a shell or a "
        "backup, and end it",
    ),
)
