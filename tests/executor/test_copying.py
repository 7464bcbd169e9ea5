"""A whole store moves into another, and nothing is lost."""

from __future__ import annotations

import os
import signal

import chores
import pytest
from harness import WAIT

from ostinato import ConfigError
from ostinato.copying import Copied, copy
from ostinato.errors import StoreCorrupt
from ostinato.model import SECOND, Unique
from ostinato.storage import JobQuery, Record, Store
from ostinato.testing.samples import bring_to, claim, info, job, jobs, look
from ostinato_memory.store import MemoryStore
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore


@pytest.fixture(params=["memory to sqlite", "sqlite to memory", "sqlite to sqlite"])
def stores(request, tmp_path):
    def make(kind: str, name: str) -> Store:
        store = MemoryStore() if kind == "memory" else SqlStore(SqliteDialect(str(tmp_path / name)))
        store.open()
        return store

    source, target = (make(kind, name) for kind, name in zip(request.param.split(" to "), "ab", strict=True))
    yield source, target
    source.close()
    target.close()


def records(store: Store) -> list[Record]:
    rows = store.find(JobQuery(oldest_first=True, limit=10_000)).rows
    return [Record(row, tuple(store.attempts([row.job.id]))) for row in rows]


def test_all_of_it(stores):
    source, target = stores
    for state in ("scheduled", "succeeded", "failed", "cancelled", "expired"):
        bring_to(source, state, state)
    source.post([*jobs(1200, tags=("many",)), job("keyed", unique=Unique("k"))])
    source.limit({"queue:default": 5, "gpu": 2})
    seen: list[Copied] = []
    assert copy(source, target, seen.append) == Copied(jobs=1206, attempts=3)
    assert records(target) == records(source)
    assert target.limits() == {"queue:default": 5, "gpu": 2}
    assert target.post([job("other", unique=Unique("k"))])[0].id == "keyed"
    assert [one.jobs for one in seen] == [500, 1000, 1206]


def test_again_copies_only_what_is_missing(stores):
    source, target = stores
    source.post(jobs(3))
    copy(source, target, lambda so_far: None)
    source.post([job("late")])
    assert copy(source, target, lambda so_far: None) == Copied(jobs=1, known=3)
    assert [one.row.job.id for one in records(target)] == ["j0000", "j0001", "j0002", "late"]


def test_runs_of_the_dead_are_rescued_first(stores):
    source, target = stores
    source.post(jobs(3))
    claim(source, "dead", count=2, lease=60 * SECOND)
    assert copy(source, target, lambda so_far: None) == Copied(jobs=3, attempts=2)
    assert [(one.row.state, one.row.deaths) for one in records(target)] == [("ready", 1), ("ready", 1), ("ready", 0)]
    assert [row.token for row in claim(target, count=3)] == [3, 3, 1]


def test_nothing_is_copied_beside_a_living_executor(stores):
    source, target = stores
    source.post(jobs(1))
    source.renew(info("e1", name="mill", host="elsewhere"), [], 60 * SECOND)
    with pytest.raises(ConfigError, match="mill"):
        copy(source, target, lambda so_far: None)
    assert records(target) == []


def test_a_target_that_keeps_something_else_is_noticed(stores):
    source, target = stores
    bring_to(source, "b", "failed")
    source.post([job("a", args='{"n":1}')])

    class Forgetful:
        def __getattr__(self, name):
            return getattr(target, name)

        def load(self, given):
            return target.load([Record(one.row) for one in given])

    with pytest.raises(StoreCorrupt, match="Job b"):
        copy(source, Forgetful(), lambda so_far: None)


def test_jobs_go_on_in_the_new_store(make_executor, tmp_path, fifo):
    """Half a backlog is worked off in one store, a worker is killed, the rest is done in another."""
    old, new = (f"sqlite:///{tmp_path}/{name}.db" for name in ("old", "new"))
    executor = make_executor(old)
    handles = executor.post([chores.add.job(n) for n in range(20)])
    held = fifo()
    stuck = executor.post(chores.hang.job(str(held)))
    child = os.fork()
    if not child:
        executor.start()
        os.pause() if hasattr(os, "pause") else signal.pause()
    held.line()
    for handle in handles:
        handle.wait(WAIT)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    executor.post([chores.add.job(n) for n in range(20, 30)])
    source, target = executor._store, make_executor(new)
    target._open()
    assert copy(source, target._store, lambda so_far: None).jobs == 31
    target.job(stuck.id).cancel()
    with target:
        assert target.wait(WAIT)
        assert sorted(one.result(0) for one in target.jobs(task="chores.add")) == list(range(30))
    assert look(target._store, stuck.id).state == "cancelled"
