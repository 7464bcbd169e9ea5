"""Versions of the schema: what an older store becomes, and names of tables."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mariadb_servers
import postgres_servers
import pytest
from sqlalchemy import Connection, create_engine, inspect

from ostinato.cli.main import run
from ostinato.errors import ConfigError, StoreCorrupt
from ostinato.model import After, Unique
from ostinato.storage import Ask, Migrates, Store
from ostinato.testing.samples import claim, finish, job, look, names
from ostinato_sql.migrations import NEWEST
from ostinato_sql.plugin import ostinato_store
from ostinato_sql.store import SqlStore

DATA = Path(__file__).parent / "data"
SCHEMA_1 = (DATA / "sqlite_schema_1.sql").read_text()
CONTENT_1 = """
INSERT INTO ostinato_meta VALUES ('schema', '1');
INSERT INTO ostinato_lanes VALUES (77, 'default', 'work', 1, 1, '[]');
INSERT INTO ostinato_jobs (seq, id, lane, state, priority, position, run_at, posted_at, kind, front, asked_priority,
    asked_run_at, tags, policy, args)
    VALUES (1, 'old', 77, 'ready', 0, 1, 0, 5, 'function', 0, 0, 0, '["t"]', '{}', '{}');
INSERT INTO ostinato_tags VALUES ('t', 1);
INSERT INTO ostinato_executors VALUES ('gone', 1, '{"id":"gone","tasks":["work"]}');
"""


@pytest.fixture
def old(tmp_path: Path) -> str:
    """The URL of a file that the first release wrote."""
    with sqlite3.connect(tmp_path / "jobs.db") as connection:
        connection.executescript(SCHEMA_1 + CONTENT_1)
    connection.close()
    return f"sqlite:///{tmp_path}/jobs.db"


def made(url: str) -> SqlStore:
    store = ostinato_store(url)
    assert isinstance(store, SqlStore)
    assert isinstance(store, Migrates)
    return store


def lives(store: Store) -> None:
    """A job goes all the way."""
    assert store.post([job("new", unique=Unique("k")), job("twin", unique=Unique("k"))])[1].id == "new"
    rows = claim(store)
    assert all(finish(store, row) for row in rows)
    assert "new" in names(rows)
    assert look(store, "new").state == "succeeded"


def test_file_of_the_first_release_is_brought_here_when_it_is_opened(old: str) -> None:
    store = made(old)
    store.open()
    assert look(store, "old").job == job("old", tags=("t",))
    assert store.executors() == []
    lives(store)
    assert look(store, "old").state == "succeeded"
    store.close()
    store.open()  # and is not brought there twice
    store.close()


def test_a_migrated_file_is_as_a_new_one(old: str, tmp_path: Path) -> None:
    made(old).migrate()
    new = made(f"sqlite:///{tmp_path}/new.db")
    new.open()
    new.close()

    def shape(name: str) -> set[object]:
        with sqlite3.connect(tmp_path / name) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            found: set[object] = set()
            for (table,) in tables:
                columns = connection.execute(f"SELECT name, type, \"notnull\", pk FROM pragma_table_info('{table}')")
                found |= {(table, *column) for column in columns}
            found |= set(connection.execute("SELECT type, name, tbl_name FROM sqlite_master"))
            found |= set(connection.execute("SELECT * FROM ostinato_meta"))
        connection.close()
        return found

    assert shape("jobs.db") == shape("new.db")


CONTENT_2 = (
    "INSERT INTO ostinato_lanes VALUES (77, 'default', 'work', 1, 1, '[]')",
    "INSERT INTO ostinato_jobs (seq, id, lane, state, priority, position, run_at, posted_at, kind, front, "
    "asked_priority, asked_run_at, tags, policy, args) "
    "VALUES (1, 'old', 77, 'ready', 0, 1, 0, 5, 'function', 0, 0, 0, '', '{}', '{}')",
)
SHAPES = {
    "sqlite": 'SELECT m.name, c.name, c.type, c."notnull", c.pk FROM sqlite_master m, pragma_table_info(m.name) c '
    "UNION SELECT type, name, sql, 0, 0 FROM sqlite_master WHERE type = 'index'",
    "postgresql": "SELECT table_name, column_name, data_type, is_nullable, column_default FROM "
    "information_schema.columns UNION SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes",
    "mysql": "SELECT table_name, column_name, column_type, is_nullable, column_default, generation_expression, "
    "collation_name FROM information_schema.columns WHERE table_schema = DATABASE() UNION SELECT table_name, "
    "index_name, column_name, seq_in_index, '', '', '' FROM information_schema.statistics "
    "WHERE table_schema = DATABASE()",
}


def _shape(connection: Connection, prefix: str) -> set[str]:
    """All columns and indexes of the tables that begin so."""
    found = connection.exec_driver_sql(SHAPES[connection.dialect.name]).fetchall()
    connection.commit()
    return {str(tuple(row)).replace(prefix, "") for row in found if prefix in str(row)}


def _forget(connection: Connection, *prefixes: str) -> None:
    for table in inspect(connection).get_table_names():
        if table.startswith(prefixes):
            connection.exec_driver_sql(f"DROP TABLE {table}")
    if connection.dialect.name == "postgresql":
        for prefix in prefixes:
            connection.exec_driver_sql(f"DROP SEQUENCE IF EXISTS {prefix}seq")
    connection.commit()


@pytest.mark.parametrize("where", ["sqlite", "postgres18", "mariadb"])
def test_store_of_version_2_is_brought_here(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """And becomes as a new one is."""
    url = f"sqlite:///{tmp_path}/jobs.db" if where == "sqlite" else request.getfixturevalue(where)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:").replace("mysql:", "mysql+pymysql:"))
    with engine.connect() as connection:
        _forget(connection, "older_", "newer_")
        script = (DATA / f"{connection.dialect.name}_schema_2.sql").read_text().rstrip(";\n").split(";\n")
        for statement in (*script, *CONTENT_2):
            connection.exec_driver_sql(statement.replace("ostinato_", "older_"))
        connection.commit()
        older, newer = made(f"{url}?prefix=older_"), made(f"{url}?prefix=newer_")
        for store in (older, newer):
            store.open()
        assert _shape(connection, "older_") == _shape(connection, "newer_")
        assert look(older, "old").job == job("old")
        lives(older)
        older.post([job("one"), job("two", after=After(("one",)))])
        assert look(older, "two").state == "blocked"
        for store in (older, newer):
            store.close()
        _forget(connection, "older_", "newer_")
    engine.dispose()


def test_not_against_the_users_will(old: str, tmp_path: Path) -> None:
    for url, what in ((f"{old}?migrate=off", "version 1"), (f"sqlite:///{tmp_path}/new.db?migrate=off", "no tables")):
        store = made(url)
        with pytest.raises(StoreCorrupt, match=rf"{what}.*ostinato migrate URL"):
            store.open()
        assert store.migrate().before == (1 if "version" in what else None)
        store.open()
        lives(store)
        store.close()


def test_failed_migration_leaves_all_as_it_was(old: str) -> None:
    path = old.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE ostinato_holders (in_the_way)")
    with pytest.raises(Exception, match="holders"):
        made(old).open()
    with sqlite3.connect(path) as connection:
        assert "uniqueness" not in str(connection.execute("SELECT sql FROM sqlite_master").fetchall())
        assert connection.execute("SELECT value FROM ostinato_meta").fetchall() == [("1",)]
        connection.execute("DROP TABLE ostinato_holders")
    connection.close()
    store = made(old)
    store.open()
    lives(store)
    store.close()


OPEN = """
import sys
from ostinato_sql.plugin import ostinato_store
store = ostinato_store(sys.argv[1])
sys.stdin.readline()
store.open()
"""


@pytest.mark.parametrize("where", ["sqlite", "postgres18", "mariadb"])
def test_processes_may_open_it_together(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """One of them makes the tables, the others wait for it."""
    url = f"sqlite:///{tmp_path}/jobs.db" if where == "sqlite" else request.getfixturevalue(where)
    url += "?prefix=together_"
    running = [
        subprocess.Popen([sys.executable, "-c", OPEN, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for one in running:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    assert [one.communicate(timeout=30)[1] for one in running] == [""] * 3


# the command line


def test_migrate_by_the_command_line(old: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["migrate", f"{old}?migrate=off", "--sql"]) == 0
    script = capsys.readouterr().out
    assert run(["migrate", f"{old}?migrate=off"]) == 0
    assert f"From version 1 to version {NEWEST}" in capsys.readouterr().out
    assert run(["migrate", old]) == 0
    assert "Nothing to do" in capsys.readouterr().out
    with sqlite3.connect(":memory:") as by_hand:
        by_hand.executescript(SCHEMA_1 + CONTENT_1)
        by_hand.executescript(script)
        assert by_hand.execute("SELECT value FROM ostinato_meta").fetchall() == [(str(NEWEST),)]
    by_hand.close()
    assert run(["migrate", "--url", old, "--json"]) == 0
    assert f'"after":{NEWEST}' in capsys.readouterr().out.replace(" ", "")


def test_script_for_an_administrator_makes_all_of_it(postgres18: str, capsys: pytest.CaptureFixture[str]) -> None:
    import psycopg

    url = f"{postgres18}?schema=by_hand&prefix=app_"
    with psycopg.connect(postgres18, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS by_hand CASCADE")
        assert run(["migrate", url, "--sql"]) == 0
        connection.execute(capsys.readouterr().out)  # type: ignore[arg-type]
    store = made(f"{url}&migrate=off")
    store.open()
    lives(store)
    store.close()


# names

SERVERS: dict[str, Callable[[str], str]] = {
    "postgres18": postgres_servers.emptied,
    "mariadb": mariadb_servers.emptied,
}


@pytest.mark.parametrize("where", ["sqlite", "postgres18", "mariadb"])
def test_two_sets_of_tables_know_nothing_of_each_other(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db" if where == "sqlite" else SERVERS[where](request.getfixturevalue(where))
    one, other = made(url), made(f"{url}?prefix=app_")
    for store in (one, other):
        store.open()
        store.limit({"gpu": 1})
    one.post([job("mine")])
    other.post([job("yours", tags=("t",), holds=(("gpu", 1),))])
    assert names(claim(one)) == ["mine"]
    assert names(claim(other)) == ["yours"]
    assert [count.state for count in other.count()] == ["running"]
    for store in (one, other):
        store.change(["mine", "yours"], Ask(kind="cancel"))
        store.close()
    with pytest.raises(ConfigError, match="prefix="):
        made(f"{url}?prefix=a'b")


def test_a_schema_of_its_own(postgres18: str) -> None:
    import psycopg

    url = f"{postgres18}?schema=of_its_own"
    store, again = made(url), made(url)
    store.open()
    again.open()
    ear = store.listen(frozenset({"ready"}))
    again.post([job("x")])
    assert ear.wait(10) == {"ready"}
    lives(store)
    store.close()
    again.close()
    with psycopg.connect(postgres18) as connection:
        found = connection.execute("SELECT count(*) FROM of_its_own.ostinato_jobs").fetchone()
        assert found == (2,)
        connection.execute("DROP SCHEMA of_its_own CASCADE")
    with pytest.raises(ConfigError, match="schema="):
        made(f"{postgres18}?schema=A")
