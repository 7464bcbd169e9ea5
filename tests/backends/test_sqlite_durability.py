"""Which writes are synced to disk before they return."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ostinato.model import Row
from ostinato.testing.samples import claim_one, finish, info, job, want
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore


@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_claims_and_signs_of_life_need_not_be_synced_and_all_else_is(tmp_path: Path, synchronous: str) -> None:
    """After a crash of the machine its executors are gone, and what they held is void anyway."""
    store = SqlStore(SqliteDialect(str(tmp_path / "jobs.db"), synchronous))
    store.open()
    store.post([job("first")])
    (writer,) = store._database._writers._kept
    levels: list[int] = []  # of the commits

    def heard(statement: str) -> None:
        if statement == "COMMIT":
            levels.append(spy.execute("PRAGMA synchronous").fetchone()[0])

    spy = writer._driver
    spy.set_trace_callback(heard)
    rows: list[Row] = []
    verbs: list[tuple[bool, Callable[[], object]]] = [
        (True, lambda: store.post([job("a")])),
        (False, lambda: rows.append(claim_one(store))),
        (False, lambda: store.renew(info("e1"), [rows[0].fence], 1000)),
        (True, lambda: finish(store, rows[0])),
        (True, lambda: store.post_and_claim([job("b")], "e1", want())),
    ]
    for lasting, verb in verbs:
        levels.clear()
        verb()
        assert levels == [2 if lasting and synchronous == "FULL" else 1]  # 2 is FULL, 1 is NORMAL
    spy.set_trace_callback(None)
    store.close()
