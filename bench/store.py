"""How fast a SQLite store posts, claims and finishes, and what a claim costs with a backlog.

Run: python bench/store.py [jobs in the backlog, default 1000000] [pause in ms before each single call, default 0]

The first part times single calls against the least that SQLite itself takes to commit a row as
safely (synchronous=FULL); with a pause of 20 they find cold caches, as in a process that is
mostly idle.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

from ostinato.model import HIGH, Attempt, End, ExecutorInfo, Fence, Job, Row
from ostinato.storage import JobQuery, Note, Want
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore

WANT = Want(tasks={"work": 1}, slots=64, capacity=64, count=64)


def jobs(count: int, prefix: str, task: str = "work", priority: int = 0) -> list[Job]:
    return [Job(id=f"{prefix}-{n:08}", task=task, args='{"n":1}', priority=priority) for n in range(count)]


def end(row: Row) -> tuple[Fence, End]:
    attempt = Attempt(
        job_id=row.job.id, number=row.attempt, executor_id="e", outcome="success", started_at=1, ended_at=2, cpu=3
    )
    return row.fence, End(state="succeeded", attempt=attempt, charged=1, result="1")


def timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def best(label: str, times: list[float], count: int) -> None:
    rates = sorted((count / seconds for seconds in times), reverse=True)
    print(f"{label:<46}{statistics.median(rates):>10,.0f} jobs/s  (best {rates[0]:,.0f})")


def cycle(store: SqlStore, batch: list[Job]) -> None:
    store.post(batch)
    rows = store.claim("e", WANT).rows
    assert len(rows) == len(batch)
    assert all(store.finish([end(row) for row in rows]))


def claims(store: SqlStore, rounds: int = 15) -> float:
    """Median milliseconds of a claim of 64."""
    return 1000 * statistics.median(timed(lambda: store.claim("e", WANT)) for _ in range(rounds))


INFO = ExecutorInfo(id="e", host="h", name="n", pid=1, process=1, started_at=1, slots=64)


class Calls:
    """The times of single calls by name, taken in turns so that a slow moment hits all alike."""

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._times: dict[str, list[float]] = {}

    def time(self, name: str, act: Callable[[], object]) -> None:
        time.sleep(self._pause)
        self._times.setdefault(name, []).append(timed(act))

    def show(self) -> None:
        raw = statistics.median(self._times["raw"])
        for name, times in self._times.items():
            middle, tenth = statistics.median(times), sorted(times)[len(times) // 10]
            ms = f"{1000 * middle:>10.3f} ms  (best tenth {1000 * tenth:.3f})"
            print(f"{f'one at a time: {name}':<46}{ms}  {1000 * (middle - raw):+.3f} to raw")


def singles(folder: str, pause: float) -> None:
    raw = sqlite3.connect(f"{folder}/raw.db", isolation_level=None)
    for text in (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=OFF",
        "CREATE TABLE t (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, args TEXT)",
    ):
        raw.execute(text)

    def insert(name: str) -> None:
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("INSERT INTO t (id, args) VALUES (?, ?)", (name, '{"n":1}'))
        raw.execute("COMMIT")

    store = SqlStore(SqliteDialect(f"{folder}/singles.db"))
    store.open()
    one = Want(tasks={"work": 1}, slots=1, capacity=64)
    # A log that was written through once is overwritten, which syncs faster than one that grows.
    for job in jobs(2000, "warm"):
        insert(job.id)
    raw.execute("PRAGMA synchronous=FULL")
    for n in range(40):
        cycle(store, jobs(64, f"warm{n}"))
    calls = Calls(pause)
    for job in jobs(60 if pause else 400, "one"):
        calls.time("raw", partial(insert, job.id))
        calls.time("post", partial(store.post, [job]))
        rows: list[Row] = []
        calls.time("claim", lambda rows=rows: rows.extend(store.claim("e", one).rows))
        calls.time("note", partial(store.note, [Note(job.id, rows[0].token, 1, "progress", "1")]))
        calls.time("renew", partial(store.renew, INFO, [rows[0].fence], 30_000_000))
        calls.time("finish", partial(store.finish, [end(rows[0])]))
        calls.time("find", partial(store.find, JobQuery(ids=(job.id,))))
        calls.time("claim that finds nothing", partial(store.claim, "e", one))
    calls.show()
    store.close()
    raw.close()


def main() -> None:
    backlog = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    pause = float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.0
    with tempfile.TemporaryDirectory() as folder:
        singles(folder, pause)
        store = SqlStore(SqliteDialect(f"{folder}/rates.db"))
        store.open()
        batches = [jobs(1000, f"p{n}", "other") for n in range(20)]
        best("post, 1,000 at once", [timed(partial(store.post, batch)) for batch in batches], 1000)
        batches = [jobs(64, f"c{n}") for n in range(200)]
        best("post + claim + finish, 64 at once", [timed(partial(cycle, store, batch)) for batch in batches], 64)
        store.close()

        store = SqlStore(SqliteDialect(f"{folder}/backlog.db"))
        store.open()
        store.post(jobs(1000 + 15 * 64, "small"))
        small = claims(store)
        print(f"{'claim of 64, 1,000 jobs waiting':<46}{small:>10.2f} ms")
        for part in range(0, backlog, 10_000):
            store.post(jobs(10_000, f"big{part}"))
        large = claims(store)
        print(f"{f'claim of 64, {backlog:,} jobs waiting':<46}{large:>10.2f} ms  ({large / small:.2f} x)")
        for part in range(0, backlog // 10, 10_000):
            store.post(jobs(10_000, f"unknown{part}", "unknown", HIGH))
        behind = claims(store)
        print(f"{f'... behind {backlog // 10:,} of an unknown task':<46}{behind:>10.2f} ms  ({behind / small:.2f} x)")
        store.close()


if __name__ == "__main__":
    main()
