"""Jobs that depend on others, where several transactions meet."""

# ruff: noqa: F811 - fixtures are asked for by their names
from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from s3_servers import wait_until
from sql_engines import engine, store, url, where  # noqa: F401
from sqlalchemy import Connection, text
from sqlalchemy.engine import Engine

from ostinato.model import After, Unique
from ostinato.storage import Ask
from ostinato.testing.cases.flowing import fan_out
from ostinato.testing.samples import claim, claim_one, end, exists, finish, job, look, names
from ostinato_sql.store import SqlStore

WAITING = {
    "postgres18": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}
servers = pytest.mark.parametrize("where", ["postgres18", "mariadb"])


@pytest.fixture
def aside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def lock(connection: Connection, job_id: str, how: str = "") -> None:
    found = connection.execute(text(f"SELECT seq FROM ostinato_jobs WHERE id = :id FOR UPDATE {how}"), {"id": job_id})
    assert found.all()


def until_it_waits(engine: Engine, where: str, working: Future[object]) -> None:
    with engine.connect() as watcher:
        watcher = watcher.execution_options(isolation_level="AUTOCOMMIT")
        wait_until(lambda: working.done() or watcher.execute(text(WAITING[where])).scalar(), timeout=10)
    assert not working.done()


@servers
def test_steps_are_locked_before_their_flow(
    store: SqlStore, engine: Engine, where: str, aside: ThreadPoolExecutor
) -> None:
    """Else who cancels a flow and who ends a step of it would wait for each other."""
    store.post([job("f"), job("s", flow="f"), job("t", flow="s")])
    with engine.connect() as connection:
        lock(connection, "t")  # as who ends it does
        cancelling: Future[object] = aside.submit(store.change, ["f"], Ask(kind="cancel"))
        until_it_waits(engine, where, cancelling)
        lock(connection, "s", "NOWAIT")
        lock(connection, "f", "NOWAIT")
        connection.rollback()
    cancelling.result(10)
    assert [look(store, one).state for one in "fst"] == ["cancelled"] * 3


def test_posted_within_a_transaction_it_waits(store: SqlStore, engine: Engine) -> None:
    store.post([job("a"), job("b")])
    with engine.connect() as connection:
        store.post_within(connection, [job("gone", after=After(("a",)))])
        connection.rollback()
        store.post_within(connection, [job("c", after=After(("a",))), job("d", after=After(("c", "b")))])
        connection.commit()
    store.finish([end(row) for row in claim(store)])
    assert names(claim(store)) == ["c"]
    assert look(store, "d").after == After(("c",))
    assert not exists(store, "gone")


@servers
def test_what_a_transaction_waits_for_ends_after_it(
    store: SqlStore, engine: Engine, where: str, aside: ThreadPoolExecutor
) -> None:
    """Else nobody would release its job: who ends the other does not see it."""
    store.post([job("a")])
    row = claim_one(store)
    with engine.connect() as connection:
        store.post_within(connection, [job("b", after=After(("a",)))])
        ending: Future[object] = aside.submit(finish, store, row)
        until_it_waits(engine, where, ending)
        connection.commit()
    assert ending.result(10)
    assert names(claim(store)) == ["b"]


def test_one_that_takes_over_waits_too(store: SqlStore) -> None:
    replacing = Unique("k", on_conflict="replace")
    store.post([job("a"), job("b", unique=replacing)])
    assert store.post([job("c", unique=replacing, after=After(("a",)))])[0].id == "b"
    assert look(store, "b").after == After(("a",))
    assert store.post([job("d", unique=replacing)])[0].id == "b"  # a blocked one is left as it is
    finish(store, claim_one(store))
    assert look(store, "b").state == "ready"


def test_a_flow_that_waits_for_all_of_its_steps_watches_one(store: SqlStore, engine: Engine) -> None:
    """A row for each would be most of what a large flow costs."""

    def waits() -> list[str]:
        with engine.connect() as connection:
            return list(connection.execute(text("SELECT awaited FROM ostinato_waits")).scalars())

    fan_out(store, "f", 9)
    assert waits() == ["f-8"]
    rows = claim(store)
    store.finish([end(one) for one in rows[3:]])
    assert waits() == ["f-2"]
    store.finish([end(one) for one in rows[:2]])
    assert waits() == ["f-2"]
    finish(store, rows[2])
    assert waits() == []
    assert claim_one(store).job.id == "f"
