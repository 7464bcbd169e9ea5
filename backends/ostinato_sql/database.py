"""The connections and transactions. Every error of the driver leaves here translated."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ostinato.errors import StoreUnavailable
from ostinato_sql import migrations
from ostinato_sql.dialect import Dialect
from ostinato_sql.lane import Lane
from ostinato_sql.link import Link
from ostinato_sql.pool import Pool
from ostinato_sql.terms import KnownTerms

T = TypeVar("T")

_IDLE = 4  # connections that are kept while nobody uses them
_MOST = 10  # connections to a server; a store is one of many clients
_TRIES = 8  # of a transaction that loses against others


class Database:
    """``lanes`` remembers lanes that are committed; all are forgotten when a connection breaks, since a
    server may come back from a backup, or as a replica that had not heard of the newest.

    Where only one connection can write at a time, that one is kept for good, and the writes of
    this process queue in memory, so that its threads do not poll the database's own lock.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.lanes: dict[int, Lane] = {}
        self.terms = KnownTerms()
        self.writes = 0
        """How many transactions this process has written through here."""
        self._errors: tuple[type[Exception], ...] = (*dialect.errors, SQLAlchemyError)
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._make_pools()

    def _make_pools(self) -> None:
        self._readers = self._writers = Pool(
            self._connect, self.lanes.clear, None if self.dialect.alone else _MOST, _IDLE
        )
        if self.dialect.alone:
            self._writers = Pool(self._connect, self.lanes.clear, 1, 1)

    def _connect(self) -> Link:
        return Link(self.dialect, self.engine)

    @property
    def engine(self) -> Engine:
        engine = self._engine
        if engine is None:
            raise StoreUnavailable(f"The store at {self.dialect.place} is not open. Call open() before any other verb.")
        return engine

    def open(self, *, prepare: bool = True) -> None:
        """``prepare``: see to it that the tables are there and of the version that is known here."""
        with self._lock:
            if self._engine is not None:
                return
            self._make_pools()
            self._engine = self.dialect.connect()
        try:
            if prepare and (found := self.version()) != migrations.NEWEST:
                migrations.check_allowed(self.dialect, found)
                self.migrate()
        except BaseException:
            self.close()
            raise

    def migrate(self) -> None:
        self.write(lambda link: migrations.migrate(link, self.dialect))

    def version(self) -> int | None:
        with self.read() as link:
            return migrations.version(link, self.dialect)

    def close(self) -> None:
        with self._lock:
            self._engine = None
        self._writers.close()
        self._readers.close()

    @contextmanager
    def read(self, *, snapshot: bool = False) -> Iterator[Link]:
        """``snapshot``: all statements see the same moment. Else each sees its own."""
        self._check_open()
        link = None
        try:
            link = self._readers.borrow()
            if snapshot:
                self.dialect.snapshot(link)
            yield link
            if snapshot:
                link.commit()
        except self._errors as error:
            if link is not None:
                self._readers.drop(link)
            raise self.dialect.translate(error) from error
        except BaseException:
            if link is not None:
                self._readers.drop(link)
            raise
        self._readers.give_back(link)

    def _check_open(self) -> None:
        _ = self.engine

    def write(self, work: Callable[[Link], T], *, lasting: bool = True) -> T:
        """One transaction: committed at the end of the work, undone by any error. If others win a race
        against it, the work is done anew, so that it must leave nothing behind but its answer.

        ``lasting`` False: it need not survive a crash of the machine (that of a process it does),
        because what it says is void then anyway: a claim or lease of an executor that died with it.
        """
        tries = 1
        while True:
            try:
                return self._write_once(work, lasting)
            except self._errors as error:
                if tries == _TRIES or not self.dialect.lost_a_race(error):
                    raise self.dialect.translate(error) from error
            time.sleep(random.uniform(0, 0.005) * tries)  # noqa: S311 - so that they do not meet again
            tries += 1

    def _write_once(self, work: Callable[[Link], T], lasting: bool) -> T:
        link = self._begin(lasting)
        try:
            answer = work(link)
            self.writes += 1  # before the commit: who sees the change must see this too
            link.commit()
        except BaseException as error:
            if isinstance(error, Exception) and not isinstance(error, self._errors) and link.undo():
                self._writers.give_back(link)  # it was not the connection's fault
            else:
                self._writers.drop(link)
            raise
        self._writers.give_back(link)
        return answer

    def _begin(self, lasting: bool) -> Link:
        """Once more on a fresh connection if a kept one turns out to be dead: nothing was done yet."""
        self._check_open()
        for last in (False, True):
            link = self._writers.borrow()
            try:
                self.dialect.begin(link, lasting)
                link.writing = True
                return link
            except BaseException as error:
                self._writers.drop(link)
                self._writers.forget()
                if last or self.dialect.alone or not isinstance(error, self._errors):
                    raise
        raise AssertionError("not reached")
