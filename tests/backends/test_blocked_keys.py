"""A claim does not look at lanes for which there is no room: there may be one for every customer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from steps import steps_of  # type: ignore[import-not-found]

from ostinato.model import HIGH
from ostinato.storage import Store
from ostinato.testing.samples import claim, job, names
from ostinato_memory.store import MemoryStore
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore

KEYS = 500


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = MemoryStore() if request.param == "memory" else SqlStore(SqliteDialect(f"{tmp_path}/jobs.db"))
    made.open()
    yield made
    made.close()


def calls_of_a_claim(store: Store, name: str) -> int:
    store.post([job(name)])
    calls = steps_of(lambda: names(claim(store)) == [name] or pytest.fail(f"{name} was not claimed"), lines=False)
    return int(calls)


def test_a_claim_behind_many_blocked_keys_costs_little_more_than_one_behind_none(store: Store) -> None:
    calls_of_a_claim(store, "first")
    alone = calls_of_a_claim(store, "alone")
    store.limit({f"key:{n}": 0 for n in range(KEYS)})
    store.post([job(f"blocked{n}", holds=((f"key:{n}", 1),), priority=HIGH) for n in range(KEYS)])
    calls_of_a_claim(store, "meets them for the first time")
    assert calls_of_a_claim(store, "again") < 2 * alone
    store.limit({f"key:{KEYS - 1}": 1})
    assert names(claim(store)) == [f"blocked{KEYS - 1}"]
