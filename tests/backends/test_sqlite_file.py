"""The file of a SQLite store: what its faults are answered, what is synced, how it is searched."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from ostinato.errors import StoreCorrupt, StoreUnavailable
from ostinato.model import SECOND, Job
from ostinato.storage import Ask, JobQuery, Rescue
from ostinato.testing.samples import claim, claim_one, end, finish, info, job, jobs, look, want
from ostinato_sql import sqlite
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "jobs.db")


@pytest.fixture
def store(path: str) -> Iterator[SqlStore]:
    store = opened(path)
    yield store
    store.close()


def opened(path: str, **options: Any) -> SqlStore:
    store = SqlStore(SqliteDialect(path, **options))
    store.open()
    return store


# opening


def test_jobs_are_there_when_opened_again(path: str) -> None:
    first = opened(path)
    first.post([job("a")])
    first.close()
    second = opened(path)
    assert look(second, "a").state == "ready"
    second.close()


def test_verb_before_open_and_after_close(path: str) -> None:
    store = SqlStore(SqliteDialect(path))
    for act in (lambda: store.post([job("a")]), lambda: store.listen(frozenset(["ready"]))):
        with pytest.raises(StoreUnavailable, match=r"Call open\(\)"):
            act()
        store.open()
        store.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs a list of open files")
def test_close_leaves_no_file_open(path: str) -> None:
    store = opened(path)
    listener = store.listen(frozenset(["ready"]))
    store.post([job("a")])
    assert claim(store)
    assert listener.wait(0) == {"ready"}
    store.close()
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    assert [link for link in links if os.path.lexists(link) and path in os.readlink(link)] == []


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="mkdir -p"):
        opened(str(tmp_path / "none" / "jobs.db"))


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="is a folder"):
        opened(str(tmp_path))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that not even root can write")
def test_folder_without_the_right_to_write() -> None:
    with pytest.raises(StoreUnavailable, match="right to write"):
        opened("/proc/self/jobs.db")


def test_file_that_is_no_database(path: str) -> None:
    Path(path).write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(StoreCorrupt, match=r"jobs.db is not a SQLite database.*backup"):
        opened(path)
    assert Path(path).read_bytes().startswith(b"Dear diary")


def test_damaged_file(path: str) -> None:
    store = opened(path)
    store.post(jobs(500))
    store.close()
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (os.path.getsize(path) - 4096))
    with pytest.raises(StoreCorrupt, match="damaged"):
        opened(path)


def test_newer_schema(path: str) -> None:
    opened(path).close()
    with sqlite3.connect(path) as foreign:
        foreign.execute("UPDATE ostinato_meta SET value = '999' WHERE name = 'schema'")
    foreign.close()
    with pytest.raises(StoreCorrupt, match="Upgrade with"):
        opened(path)


def test_file_shared_with_the_tables_of_an_application(path: str) -> None:
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE jobs (name TEXT)")
    foreign.close()
    store = opened(path)
    store.post([job("a")])
    assert look(store, "a").state == "ready"
    store.close()


@pytest.mark.parametrize(("options", "level"), [({}, 2), ({"synchronous": "NORMAL"}, 1)])
def test_what_is_synced(path: str, options: dict[str, str], level: int) -> None:
    engine = SqliteDialect(path, **options).connect()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == level
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    engine.dispose()


def test_says_what_normal_does_not_survive(path: str) -> None:
    assert "power" in SqliteDialect(path).durable
    assert "may lose" in SqliteDialect(path, "NORMAL").durable


# contents


def test_nul_is_neither_lost_nor_the_end(store: SqlStore) -> None:
    odd = Job(id="a\0b", task="t\0u", queue="q\0r", args='"x\0y"', tags=("s\0t",), holds=(("h\0i", 1),))
    store.post([odd, Job(id="a", task="t", queue="q", tags=("s",))])
    assert look(store, "a\0b").job == odd
    assert [row.job.id for row in store.find(JobQuery(tag="s\0t")).rows] == ["a\0b"]
    store.limit({"h\0i": 1})
    assert claim_one(store, tasks={"t\0u": 1}, queues=("q\0r",)).job == odd


@pytest.mark.parametrize("count", [1, 2, 8, 9, 64, 65, 511, 512, 513, 1100])
def test_any_number_of_keys(store: SqlStore, count: int) -> None:
    """Lists of keys are filled up to a few lengths, and cut where they are too long."""
    known = job("j00000", tags=("old",))
    store.post([known])
    batch = [*jobs(count, tags=("new",)), job("last", tags=("new",)), job("last", tags=("again",))]
    batch[0] = job(known.id, tags=("again",))
    assert [posted.created for posted in store.post(batch)] == [False, *[True] * count, False]
    ids = tuple(made.id for made in batch)
    assert [row.job.id for row in store.find(JobQuery(ids=ids, limit=5000, oldest_first=True)).rows] == [*ids[:-1]]
    found = {tag: store.find(JobQuery(tag=tag, limit=5000)).rows for tag in ("old", "new", "again")}
    assert [row.job.id for row in found["new"]] == [*ids[1:-1]][::-1]
    assert [row.job.id for row in found["old"]] == [known.id]
    assert found["again"] == []
    claimed = claim(store, count=5000, slots=5000, capacity=5000)
    for _ in range(2):
        assert all(store.finish([end(row) for row in claimed]))
    assert len(store.attempts(ids)) == count + 1
    assert [changed.after for changed in store.change(ids, Ask(kind="forget"))] == [None] * (count + 2)
    assert store.count() == []


# the write lock


@pytest.fixture
def occupied(store: SqlStore, path: str) -> Iterator[sqlite3.Connection]:
    """Another program that holds the write lock."""
    foreign = sqlite3.connect(path, isolation_level=None)
    yield foreign
    foreign.close()


def test_claim_and_rescue_that_find_nothing_do_not_write(store: SqlStore, occupied: sqlite3.Connection) -> None:
    store.post([job("a", task="unknown"), job("b", run_at=store.now() + 3600 * SECOND), job("c", slots=2000)])
    occupied.execute("BEGIN IMMEDIATE")
    assert store.claim("e1", want()).rows == []
    assert store.rescue("e1", Rescue(dead=("e2",))) == []


def test_claim_held_back_by_a_capacity_writes_nothing(store: SqlStore, occupied: sqlite3.Connection) -> None:
    store.post([job("a")])
    store.limit({"queue:default": 0})
    version = occupied.execute("PRAGMA data_version").fetchone()
    assert claim(store) == []
    assert occupied.execute("PRAGMA data_version").fetchone() == version


def test_lock_held_for_too_long(store: SqlStore, occupied: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_PATIENCE", 0.01)
    occupied.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="Another process has been writing"):
        store.post([job("a")])
    occupied.execute("ROLLBACK")
    assert store.post([job("a")])[0].created


# what is searched


def test_no_verb_of_the_loop_walks_along_all_jobs(store: SqlStore, path: str) -> None:
    """Every statement on the jobs finds its rows by their key or by an index made for it."""
    said: set[str] = set()

    def note(statement: str) -> None:
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            said.add(statement)

    def trace(connection: sqlite3.Connection, _record: Any) -> None:
        connection.set_trace_callback(note)

    event.listen(Engine, "connect", trace)
    try:
        store.close()
        store.open()
        now = store.now()
        store.limit({"queue:default": 50, "gpu": 1})
        store.post([*jobs(5), job("g", holds=(("gpu", 1),)), job("d", run_at=now + 1), job("x", expires_at=now)])
        store.post([job("p", promote_at=now), job("later", run_at=now + 3600 * SECOND)])
        row, *others = claim(store)
        store.renew(info("e1"), [row.fence], SECOND)
        finish(store, row)
        assert finish(store, row)
        assert store.rescue("e2", Rescue(dead=("e1",)))
        store.change([others[0].job.id, row.job.id], Ask(kind="cancel"))
        store.find(JobQuery(states=("failed", "running"), limit=2))
        store.find(JobQuery(states=("succeeded",), ended_before=1))
    finally:
        event.remove(Engine, "connect", trace)
    used = set()
    with sqlite3.connect(path) as reader:
        for statement in said:
            values = [None] * statement.count("?")  # the older of Python's drivers tell no values
            for *_, step in reader.execute(f"EXPLAIN QUERY PLAN {statement}", values):
                if "ostinato_jobs" in step or step.startswith(("SEARCH j", "SCAN j")):
                    assert step.startswith("SEARCH") or "USING" in step, (step, statement)
                    used.add(step.split("INDEX ")[-1].split(" ")[0])
    reader.close()
    wanted = {"ready", "scheduled", "running", "rising", "expiring", "id", "final", "ended"}
    assert {f"ostinato_{name}" for name in wanted} <= used


# a full disk

FILL = """
import resource, sqlite3, sys
from ostinato.errors import StoreUnavailable
from ostinato.testing.samples import claim, finish, job, jobs
from ostinato.storage import JobQuery
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore

path, how = sys.argv[1:]
store = SqlStore(SqliteDialect(path))
store.open()
store.post([job("held")])
(row,) = claim(store)
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
else:
    ballast = open(path + ".ballast", "wb")
    try:
        while True:
            ballast.write(bytes(65536))
            ballast.flush()
    except OSError:
        pass
try:
    store.post(jobs(300, args='"' + "x" * 4000 + '"'))
except StoreUnavailable as error:
    print(error)
else:
    sys.exit("the disk was not full")
try:
    finish(store, row, result='"' + "x" * 2_000_000 + '"')
except StoreUnavailable:
    pass
else:
    sys.exit("the disk was not full for the finish")
if how == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
else:
    ballast.truncate(0)
assert [found.job.id for found in store.find(JobQuery()).rows] == ["held"]
assert finish(store, row, result='"done"')
assert all(posted.created for posted in store.post(jobs(300)))
store.close()
with sqlite3.connect(path) as check:
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
check.close()
"""


def filled(path: str, how: str) -> str:
    ran = subprocess.run([sys.executable, "-c", FILL, path, how], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_file_that_may_not_grow(path: str) -> None:
    assert "nothing was stored" in filled(path, "limit")


def test_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("cannot mount a small file system here (needs root)")
    try:
        assert "no space left" in filled(str(disk / "jobs.db"), "disk")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
