"""Posting inside a transaction of the caller's, on a SQLAlchemy connection or session of his.

Jobs, tags and unique keys are written there, and come and go with his commit. Numbers and lanes
are not: they mean nothing by themselves, and a transaction of his that stays open for long must not
keep others waiting for them. Except with SQLite, where who writes is alone anyway.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Insert, RootTransaction, Table, bindparam, event, insert, text, update

from ostinato.errors import ConfigError
from ostinato.model import Job
from ostinato.storage import Posted
from ostinato_sql import post
from ostinato_sql.database import Database
from ostinato_sql.dialect import Dialect
from ostinato_sql.link import Link, Values
from ostinato_sql.statement import Statement
from ostinato_sql.tables import jobs as jobs_table
from ostinato_sql.tables import meta

_LOCK = Statement(
    update(meta).where(meta.c.name == bindparam("which")).values(value=meta.c.value),
    "which",
)
_COMMITTED = 60.0  # seconds that a commit may take before the others are told anyway


class SessionLink(Link):
    """The caller's connection, whatever its driver; nothing is begun or committed here."""

    def __init__(self, dialect: Dialect, core: Connection) -> None:
        self.core = core
        self._dialect: Any = _Spoken(dialect, core)

    def all(self, statement: Statement, *values: object) -> list[Values]:
        found = self._run(statement, self._in(values)).fetchall()
        return [tuple(map(self._dialect.from_text, row)) for row in found]

    def run(self, statement: Statement, *values: object) -> int:
        return int(self._run(statement, self._in(values)).rowcount)

    def run_many(self, statement: Statement, rows: Sequence[Values]) -> int:
        return int(self._run(statement, [self._in(values) for values in rows]).rowcount) if rows else 0

    def _run(self, statement: Statement, values: Any) -> Any:
        return self.core.exec_driver_sql(statement.text(self._dialect), values or None)

    def _in(self, values: Sequence[Any]) -> Values:
        return tuple(map(self._dialect.to_text, values))

    def keep(self, act: Callable[[], None]) -> None:
        """Whether it is committed is not known here in time."""


class _Spoken:
    """A dialect with the parameters that the caller's driver takes."""

    def __init__(self, dialect: Dialect, core: Connection) -> None:
        self._dialect = dialect
        self.core = core.dialect if core.dialect.positional else dialect.core
        self.name = f"{dialect.name}+{core.dialect.driver}"

    def insert_new(self, table: Table) -> Insert:
        return insert(table) if table is jobs_table and not self._dialect.alone else self._dialect.insert_new(table)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dialect, name)


class Within:
    """Remembers which engines of the caller's are of the store's own database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._dialect = database.dialect
        self._whose = Statement(text(self._dialect.whose))
        self._ours: weakref.WeakSet[Engine] = weakref.WeakSet()
        self._telling: weakref.WeakSet[RootTransaction] = weakref.WeakSet()

    def post(self, session: object, jobs: Sequence[Job], now: int, tell: Callable[[], None]) -> list[Posted]:
        core = _connection(session)
        link = SessionLink(self._dialect, core)
        self._check(core, link)
        if self._dialect.alone:
            link.run(_LOCK, "schema")  # what is read from here on, nobody else changes
            posted = post.insert_jobs(link, self._database, jobs, now)
        else:
            posted = self._post_new(link, jobs, now)
        if any(one.created for one in posted):
            self._tell_later(core, session, tell)
        return posted

    def _post_new(self, link: SessionLink, jobs: Sequence[Job], now: int) -> list[Posted]:
        """Known ids are sorted out before: an insert that copes with them makes MySQL lock what lies between."""
        known = {found for (found,) in link.among(post.KNOWN, [job.id for job in jobs])}
        new: list[Job] = []
        for job in jobs:
            if job.id not in known:
                known.add(job.id)
                new.append(job)
        answers = {job.id: posted for job, posted in zip(new, self._insert(link, new, now), strict=True)}
        return [answers.pop(job.id, Posted(job.id, False)) for job in jobs]

    def _insert(self, link: SessionLink, jobs: Sequence[Job], now: int) -> list[Posted]:
        return post.insert_jobs(link, self._database, jobs, now, self._prepare)

    def _prepare(self, jobs: Sequence[Job]) -> int:
        return self._database.write(lambda own: post.prepare(own, self._database, jobs))

    def _check(self, core: Connection, link: SessionLink) -> None:
        if _is_autocommit(core):
            raise ConfigError(
                "The session commits each statement by itself (isolation level AUTOCOMMIT), so that there is no "
                "transaction to post in. Give one that does not, or post without session=."
            )
        if core.engine in self._ours:
            return
        place = self._dialect.place
        if core.dialect.name.replace("mariadb", "mysql") != self._dialect.name:
            raise ConfigError(
                f"The session is on a {core.dialect.name} database, but jobs are kept in {place}. A job can only be "
                "posted within a transaction on its own store: name that database in the executor's URL."
            )
        with self._database.read() as own:
            if link.first(self._whose) != own.first(self._whose):
                raise ConfigError(
                    f"The session is on another database than {place}, where jobs are kept. A job can only be "
                    "posted within a transaction on its own store: name that database in the executor's URL."
                )
        self._ours.add(core.engine)

    def _tell_later(self, core: Connection, session: object, tell: Callable[[], None]) -> None:
        """Once it is committed; once for all posts of a transaction."""
        begun = core.get_transaction()
        if not isinstance(begun, RootTransaction):
            begun = core.begin()
        if begun in self._telling:
            return
        self._telling.add(begun)
        if _is_session(session):
            event.listen(session, "after_commit", lambda _: tell(), once=True)
        waiting: RootTransaction = begun
        event.listen(core, "commit", lambda _: _when_done(waiting, tell), once=True)


def _when_done(begun: RootTransaction, tell: Callable[[], None]) -> None:
    """SQLAlchemy speaks just before a connection commits, and not again after."""

    def wait() -> None:
        until = time.monotonic() + _COMMITTED
        while begun.is_active and time.monotonic() < until:
            time.sleep(0.001)
        tell()

    threading.Thread(target=wait, name="ostinato-commit", daemon=True).start()


def _connection(session: object) -> Connection:
    if isinstance(session, Connection):
        return session
    if _is_session(session):
        found: Connection = session.connection()  # type: ignore[attr-defined]
        return found
    if hasattr(session, "run_sync"):
        raise ConfigError("This is an asynchronous session: post with `await executor.apost(job, session=session)`.")
    raise ConfigError(
        f"session= is a {type(session).__name__}; give a SQLAlchemy Session or Connection (to apost also an "
        "AsyncSession or AsyncConnection)."
    )


def _is_session(session: object) -> bool:
    """Without importing what only the caller may need."""
    orm = sys.modules.get("sqlalchemy.orm")
    return orm is not None and isinstance(session, orm.Session)


def _is_autocommit(core: Connection) -> bool:
    asked = core.get_execution_options().get("isolation_level")
    made = getattr(core.dialect, "_on_connect_isolation_level", None)
    return "AUTOCOMMIT" in (asked, made if asked is None else None)
