"""A store of SQL and an engine of the application's own, on the same database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import mariadb_servers
import postgres_servers
import pytest
from sqlalchemy import Engine, create_engine

from ostinato.storage import PostsWithin
from ostinato_sql.plugin import ostinato_store
from ostinato_sql.store import SqlStore

DRIVERS = {"sqlite": "sqlite", "postgres18": "postgresql+psycopg", "mariadb": "mysql+pymysql"}
EMPTIED: dict[str, Callable[[str], str]] = {
    "postgres18": postgres_servers.emptied,
    "mariadb": mariadb_servers.emptied,
}


@pytest.fixture(params=DRIVERS)
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if where == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    return EMPTIED[where](request.getfixturevalue(where))


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    one = ostinato_store(url)
    assert isinstance(one, SqlStore)
    assert isinstance(one, PostsWithin)
    one.open()
    yield one
    one.close()


def driven(where: str, url: str, driver: str = "") -> str:
    """The address of the same database in the words of SQLAlchemy."""
    return (driver or DRIVERS[where]) + url[url.index(":") :]


@pytest.fixture
def engine(where: str, url: str) -> Iterator[Engine]:
    one = create_engine(driven(where, url))
    yield one
    one.dispose()
