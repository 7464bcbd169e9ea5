"""The PostgreSQL store under the conformance kit.

Version 18 has all cases, version 16 a selection: those on which locks, waking and texts depend.
``OSTINATO_TEST_ALL_SERVERS=1`` gives it all of them too.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import psycopg
import pytest
from hypothesis import settings
from postgres_servers import emptied

from ostinato.testing.cases.capacity import CapacityCases
from ostinato.testing.cases.timing import TimingCases
from ostinato.testing.cases.unique import UniqueCases
from ostinato.testing.conformance import MakeStore, StoreConformance
from ostinato.testing.machine import StoreMachine
from ostinato_sql.postgresql import PostgresDialect
from ostinato_sql.store import SqlStore


def store_at(url: str, clock: Callable[[], int] | None = None) -> SqlStore:
    return SqlStore(PostgresDialect(url, psycopg.conninfo.conninfo_to_dict(url), clock))


class TestPostgres18(StoreConformance):
    @pytest.fixture
    def make_store(self, postgres18: str) -> MakeStore:
        emptied(postgres18)
        return lambda *, clock: store_at(postgres18, clock)


class Selection(CapacityCases, TimingCases, UniqueCases):
    """What an older server might do in another way."""


class TestPostgres16(StoreConformance if os.environ.get("OSTINATO_TEST_ALL_SERVERS") else Selection):  # type: ignore[misc]
    @pytest.fixture
    def make_store(self, postgres16: str) -> MakeStore:
        emptied(postgres16)
        return lambda *, clock: store_at(postgres16, clock)


class PostgresMachine(StoreMachine):
    url = ""

    def make_store(self, clock: Callable[[], int]) -> SqlStore:
        return store_at(emptied(self.url), clock)


class TestPostgresMachine(PostgresMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(max_examples=10, stateful_step_count=30, deadline=None)

    @pytest.fixture(autouse=True)
    def _server(self, postgres18: str) -> None:
        PostgresMachine.url = postgres18
