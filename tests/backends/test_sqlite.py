"""The SQLite store under the conformance kit."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from ostinato.testing.conformance import MakeStore, StoreConformance
from ostinato.testing.machine import StoreMachine
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore


class TestSqlite(StoreConformance):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        return lambda *, clock: SqlStore(SqliteDialect(str(tmp_path / "jobs.db"), clock=clock))


class SqliteMachine(StoreMachine):
    def make_store(self, clock: Callable[[], int]) -> SqlStore:
        self.folder = tempfile.TemporaryDirectory()
        return SqlStore(SqliteDialect(f"{self.folder.name}/jobs.db", "NORMAL", clock))

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
