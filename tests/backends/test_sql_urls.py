"""URLs of the stores on servers: what they name, and what a wrong one is answered."""

from __future__ import annotations

import sys

import pytest

from ostinato.errors import ConfigError
from ostinato_sql.naming import Naming
from ostinato_sql.plugin import ostinato_store
from ostinato_sql.store import SqlStore


def made(url: str) -> SqlStore:
    store = ostinato_store(url)
    assert isinstance(store, SqlStore)
    return store


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_what_a_postgresql_url_names(scheme: str) -> None:
    dialect = made(
        f"{scheme}://me:s%40cr%2Ft@db:6543/my%20jobs?sslmode=require&schema=jobs&prefix=a_&prepare=off"
    )._dialect
    assert dialect.place == f"{scheme}://me@db:6543/my%20jobs"
    assert dialect.naming == Naming("jobs", "a_")
    settings = dialect._settings  # type: ignore[attr-defined]
    named = {name: settings[name] for name in ("host", "port", "user", "password", "dbname", "sslmode")}
    assert named == {
        "host": "db",
        "port": 6543,
        "user": "me",
        "password": "s@cr/t",
        "dbname": "my jobs",
        "sslmode": "require",
    }
    assert settings["prepare_threshold"] is None


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_what_a_mysql_url_names(scheme: str) -> None:
    dialect = made(f"{scheme}://me:s%40cret@db/jobs?connect_timeout=3&ssl_ca=ca.pem&migrate=off")._dialect
    assert dialect.place == f"{scheme}://me@db/jobs"
    assert not dialect.migrates
    settings = dialect._settings  # type: ignore[attr-defined]
    assert (settings["host"], settings["port"], settings["password"]) == ("db", 3306, "s@cret")
    assert (settings["connect_timeout"], settings["ssl_ca"]) == (3, "ca.pem")


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("postgresql://me:secret@db", r"names no database.*postgresql://user:password@host"),
        ("mysql://me:secret@db/", r"names no database.*mysql://user:password@host"),
        ("postgresql://me:secret@db:port/jobs", "cannot be read"),
        ("postgresql://me:secret@db/jobs?sslmod=require", "Did you mean 'sslmode'"),
        ("postgresql://me:secret@db/jobs?schem=x", "Did you mean 'schema'"),
        ("mysql://me:secret@db/jobs?prefx=x_", "Did you mean 'prefix'"),
        ("mysql://me:secret@db/jobs?schema=x", "schema"),
        ("mysql://me:secret@db/jobs?connect_timeout=soon", "number of seconds"),
        ("postgresql://me:secret@db/jobs?migrate=no", "on or off"),
        ("postgresql://me:secret@db/jobs?schema=Jobs", "lower case"),
        ("postgresql://me:secret@db/jobs?prefix=1_", "a letter first"),
    ],
)
def test_wrong_urls_are_told_what_to_write(url: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as caught:
        ostinato_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "driver", "room", "extra"),
    [
        ("postgresql://me:secret@db/jobs", "psycopg", "postgresql", "postgres"),
        ("mysql://me:secret@db/jobs", "pymysql", "mysql", "mysql"),
    ],
)
def test_missing_driver_is_told_how_to_install(
    url: str, driver: str, room: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    monkeypatch.delitem(sys.modules, f"ostinato_sql.{room}", raising=False)
    with pytest.raises(ConfigError, match=rf"pip install 'ostinato\[{extra}\]'"):
        ostinato_store(url)
