"""The MySQL store under the conformance kit, on MariaDB."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from hypothesis import settings
from mariadb_servers import emptied

from ostinato.testing.conformance import MakeStore, StoreConformance
from ostinato.testing.machine import StoreMachine
from ostinato_sql.mysql import MysqlDialect
from ostinato_sql.store import SqlStore


def store_at(url: str, clock: Callable[[], int] | None = None) -> SqlStore:
    parts = urlsplit(url)
    where = {"host": parts.hostname, "port": parts.port or 3306, "user": parts.username, "database": parts.path[1:]}
    return SqlStore(MysqlDialect(url, {**where, "password": parts.password or ""}, clock))


class TestMariadb(StoreConformance):
    @pytest.fixture
    def make_store(self, mariadb: str) -> MakeStore:
        emptied(mariadb)
        return lambda *, clock: store_at(mariadb, clock)


class MysqlMachine(StoreMachine):
    url = ""

    def make_store(self, clock: Callable[[], int]) -> SqlStore:
        return store_at(emptied(self.url), clock)


class TestMysqlMachine(MysqlMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(max_examples=10, stateful_step_count=30, deadline=None)

    @pytest.fixture(autouse=True)
    def _server(self, mariadb: str) -> None:
        MysqlMachine.url = mariadb
