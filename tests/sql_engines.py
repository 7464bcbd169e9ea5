"""A store of SQL and an engine of the application's own, on the same database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine
from stores import empties

from ostinato.storage import PostsWithin
from ostinato_sql.plugin import ostinato_store
from ostinato_sql.store import SqlStore

DRIVERS = {"sqlite": "sqlite", "postgres18": "postgresql+psycopg", "mariadb": "mysql+pymysql"}


@pytest.fixture(params=DRIVERS)
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(where: str, request: pytest.FixtureRequest) -> str:
    return empties(request, where)()


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
