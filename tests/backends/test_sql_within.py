"""Posting inside a transaction of the application's own."""

# ruff: noqa: F811 - fixtures are asked for by their names
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sql_engines import driven, engine, store, url, where  # noqa: F401
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from ostinato import ConfigError, TaskExecutor
from ostinato.errors import AlreadyPosted, StoreUnavailable
from ostinato.ids import new_ids
from ostinato.model import Job, Unique
from ostinato.storage import Ask, JobQuery
from ostinato.testing.samples import claim, exists, job, jobs, look, names
from ostinato_sql.store import SqlStore

ASYNC = {"sqlite": "sqlite+aiosqlite", "postgres18": "postgresql+psycopg", "mariadb": ""}


@pytest.mark.parametrize("kind", [Session, Connection])
def test_there_with_the_commit(store: SqlStore, engine: Engine, kind: Any) -> None:
    ear = store.listen(frozenset({"ready"}))
    with Session(engine) if kind is Session else engine.connect() as session:
        posted = store.post_within(session, jobs(3, tags=("t",)))
        assert [one.created for one in posted] == [True] * 3
        assert not exists(store, "j0000")
        assert ear.wait(0.05) == frozenset()
        session.commit()
        assert ear.wait(10) == {"ready"}
        store.post_within(session, [job("again")])
        session.commit()
    assert names(store.find(JobQuery(tag="t", oldest_first=True)).rows) == names(claim(store))[:3]
    assert look(store, "again").state == "running"


@pytest.mark.parametrize("kind", [Session, Connection])
def test_gone_with_the_rollback(store: SqlStore, engine: Engine, kind: Any) -> None:
    ear = store.listen(frozenset({"ready"}))
    with Session(engine) if kind is Session else engine.connect() as session:
        store.post_within(session, [job("a", unique=Unique("k"))])
        session.rollback()
    assert ear.wait(0.05) == frozenset()
    assert claim(store) == []
    assert store.post([job("b", unique=Unique("k"))])[0].created
    assert names(claim(store)) == ["b"]


def test_with_the_rows_of_the_application(store: SqlStore, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)"))
        connection.execute(text("DELETE FROM orders"))
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO orders (id) VALUES (1)"))
        store.post_within(connection, [job("a")])
        connection.rollback()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO orders (id) VALUES (2)"))
        with connection.begin_nested() as savepoint:
            store.post_within(connection, [job("b")])
            savepoint.rollback()
        store.post_within(connection, [job("c")])
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM orders")).fetchall() == [(2,)]
    assert names(claim(store)) == ["c"]


def test_any_text_and_known_ids(store: SqlStore, engine: Engine, where: str) -> None:
    odd = Job(id="a\0b", task="t\0u'%s", queue="q \ue000", args='"%(x)s :name"', tags=("s\0t", "ü🦄"))
    with Session(engine) as session:
        assert store.post_within(session, [odd])[0].created
        assert not store.post_within(session, [odd])[0].created
        session.commit()
    assert look(store, "a\0b").job == odd
    assert names(store.find(JobQuery(tag="s\0t")).rows) == ["a\0b"]


def test_unique_keys(store: SqlStore, engine: Engine) -> None:
    store.post([job("a", unique=Unique("k"))])
    with Session(engine) as session:
        assert store.post_within(session, [job("b", unique=Unique("k"))])[0].id == "a"
        with pytest.raises(AlreadyPosted):
            store.post_within(session, [job("c", unique=Unique("k", on_conflict="raise"))])
        session.commit()
    store.change(["a"], Ask(kind="cancel"))
    with Session(engine) as session:
        assert store.post_within(session, [job("d", unique=Unique("k"))])[0].created
        session.commit()
    assert names(claim(store)) == ["d"]


@pytest.mark.parametrize("where", ["postgres18", "mariadb"])
def test_an_open_transaction_keeps_nobody_waiting(store: SqlStore, engine: Engine, where: str) -> None:
    """Who writes to a SQLite file is alone, though. The ids are new, as ids are: at the place of one that
    was deleted a moment ago MySQL locks what lies around it."""
    a, b = new_ids(2)
    with Session(engine) as session:
        store.post_within(session, [job(a, queue="new one")])
        assert store.post([job(b, queue="new one")])[0].created
        assert names(claim(store, queues=("*",))) == [b]
        session.commit()
    assert names(claim(store, queues=("*",))) == [a]


def test_numbers_do_not_collide_with_posts_of_others(store: SqlStore, engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(text("SELECT count(*) FROM ostinato_jobs")).fetchall()
        store.post([job("between")])
        try:
            store.post_within(session, [job("a")])
            session.commit()
        except StoreUnavailable:
            session.rollback()  # SQLite refuses to write after it has read what has changed since
        else:
            assert exists(store, "a")
    assert exists(store, "between")


# refused


def test_other_databases_are_refused_at_once(store: SqlStore, url: str, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/other.db")
    with engine.connect() as other, pytest.raises(ConfigError, match="database"):
        store.post_within(other, [job("a")])
    engine.dispose()


@pytest.mark.parametrize(("where", "name"), [("postgres18", "template1"), ("mariadb", "mysql")])
def test_other_databases_of_the_same_server_are_refused_at_once(
    store: SqlStore, engine: Engine, where: str, name: str
) -> None:
    elsewhere = create_engine(engine.url.set(database=name))
    with elsewhere.connect() as other:
        with pytest.raises(ConfigError, match="another database"):
            store.post_within(other, [job("a")])
        assert other.execute(text("SELECT 1")).scalar() == 1
    elsewhere.dispose()


def test_what_has_no_transaction_is_refused(store: SqlStore, engine: Engine) -> None:
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(ConfigError, match="AUTOCOMMIT"):
            store.post_within(connection, [job("a")])
    with pytest.raises(ConfigError, match="Session or Connection"):
        store.post_within("session", [job("a")])


# by an executor


def test_by_an_executor(url: str, engine: Engine) -> None:
    executor = TaskExecutor(url)
    with Session(engine) as session:
        handle = executor.post(Job.command(["true"]), session=session, priority="high")
        assert not list(executor.jobs())
        session.commit()
    assert handle.status().state == "ready"
    executor.close()
    with Session(engine) as session, pytest.raises(ConfigError, match="session"):
        TaskExecutor("memory://").post(Job.command(["true"]), session=session)


@pytest.mark.parametrize("where", ["sqlite", "postgres18"])
def test_asynchronously(where: str, url: str) -> None:
    async def post_both() -> None:
        executor = TaskExecutor(url)
        engine = create_async_engine(driven(where, url, ASYNC[where]))
        async with AsyncSession(engine) as session:
            await executor.apost(Job.command(["true"]), session=session)
            await session.rollback()
            kept = await executor.apost([Job.command(["true"])], session=session)
            await session.commit()
        async with engine.begin() as connection:
            kept.append(await executor.apost(Job.command(["true"]), session=connection))
        kept.append(await executor.apost(Job.command(["true"])))
        assert {one.id for one in executor.jobs()} == {one.id for one in kept}
        with pytest.raises(ConfigError, match="apost"):
            executor.post(Job.command(["true"]), session=AsyncSession(engine))
        await engine.dispose()
        executor.close()

    asyncio.run(post_both())
