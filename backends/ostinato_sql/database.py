"""The connections: one that writes, kept for good, and a few that read.

Writes of one process queue at a lock in memory, so that its threads do not poll the database's
own lock; between processes the dialect waits. Every error of the driver leaves here translated.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, bindparam, insert, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from ostinato.errors import StoreCorrupt, StoreUnavailable
from ostinato_sql.dialect import Dialect
from ostinato_sql.link import Link
from ostinato_sql.rows import Lane
from ostinato_sql.statement import Statement
from ostinato_sql.tables import SCHEMA_VERSION, meta, metadata

_IDLE = 4  # reading connections that are kept while nobody uses them
_ADD_META = Statement(insert(meta), "name", "value")
_META = Statement(select(meta.c.value).where(meta.c.name == bindparam("wanted")), "wanted")


class Database:
    """``lanes`` remembers lanes that are committed (or in the transaction that is being written)."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.lanes: dict[int, Lane] = {}
        self.writes = 0
        """How many transactions this process has written through here."""
        self._errors: tuple[type[Exception], ...] = (*dialect.errors, SQLAlchemyError)
        self._engine: Engine | None = None
        self._writer: Link | None = None
        self._lock = threading.Lock()
        self._readers: list[Link] = []
        self._readers_lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        engine = self._engine
        if engine is None:
            raise StoreUnavailable(f"The store at {self.dialect.place} is not open. Call open() before any other verb.")
        return engine

    def open(self) -> None:
        with self._lock:
            if self._engine is not None:
                return
            self._engine = self.dialect.connect()
        try:
            with self.read() as link:
                known = inspect(link.core).has_table(meta.name)
            if not known:
                self._create()
            self._verify()
        except BaseException:
            self.close()
            raise

    def _create(self) -> None:
        with self.write() as link:
            if not inspect(link.core).has_table(meta.name):  # another process may have been first
                metadata.create_all(link.core)
                link.run(_ADD_META, "schema", str(SCHEMA_VERSION))

    def _verify(self) -> None:
        with self.read() as link:
            version = link.first(_META, "schema")
        if version != (str(SCHEMA_VERSION),):
            raise StoreCorrupt(
                f"The store at {self.dialect.place} has schema version {version and version[0]}, but this Ostinato "
                f"reads version {SCHEMA_VERSION}: it was written by a newer release. "
                "Upgrade with: pip install -U ostinato."
            )

    def close(self) -> None:
        with self._lock:
            with self._readers_lock:
                self._engine = None
                idle, self._readers = self._readers, []
            for link in idle:
                link.close()
            self._let_go()

    @contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[Link]:
        """``snapshot``: all statements see the same moment. Else each sees its own."""
        link = None
        try:
            link = self._borrow()
            if snapshot:
                self.dialect.snapshot(link)
            yield link
            if snapshot:
                link.commit()
        except self._errors as error:
            if link is not None:
                link.close()
            raise self.dialect.translate(error) from error
        except BaseException:
            if link is not None:
                link.close()
            raise
        self._give_back(link)

    def _borrow(self) -> Link:
        engine = self.engine
        with self._readers_lock:
            if self._readers:
                return self._readers.pop()
        return Link(self.dialect, engine)

    def _give_back(self, link: Link) -> None:
        with self._readers_lock:
            if self._engine is not None and len(self._readers) < _IDLE:
                self._readers.append(link)
                return
        link.close()

    @contextmanager
    def write(self, *, lasting: bool = True) -> Iterator[Link]:
        """One transaction: committed at the end, undone by any error.

        ``lasting`` False: it need not survive a crash of the machine (that of a process it does),
        because what it says is void then anyway: a claim or lease of an executor that died with it.
        """
        with self._lock:
            try:
                link = self._writer
                if link is None:
                    link = self._writer = Link(self.dialect, self.engine)
                self.dialect.begin(link, lasting)
                yield link
                self.writes += 1  # before the commit: who sees the change must see this too
                link.commit()
            except self._errors as error:
                self._let_go()
                raise self.dialect.translate(error) from error
            except BaseException:
                self._let_go()
                raise

    def _let_go(self) -> None:
        """Drop the writing connection, and with it whatever it began: after an error the next
        write starts on a fresh one, whatever state the driver left the old one in."""
        link, self._writer = self._writer, None
        self.lanes.clear()
        if link is not None:
            link.close()
