"""The PostgreSQL store under the conformance kit."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from postgres_servers import emptied

from ostinato.testing.conformance import MakeStore, StoreConformance
from ostinato_sql.postgresql import PostgresDialect
from ostinato_sql.store import SqlStore


def store_at(url: str, clock: Callable[[], int] | None = None) -> SqlStore:
    return SqlStore(PostgresDialect(url, psycopg.conninfo.conninfo_to_dict(url), clock))


class TestPostgres18(StoreConformance):
    @pytest.fixture
    def make_store(self, postgres18: str) -> MakeStore:
        emptied(postgres18)
        return lambda *, clock: store_at(postgres18, clock)
