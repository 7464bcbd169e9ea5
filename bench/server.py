"""How fast a store on a server posts, claims and finishes, and what a claim costs with a backlog.

Run: python bench/server.py URL [jobs in the backlog, default 200000]

The tables are those of ``?prefix=bench_``, made for it and emptied before and after.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from bench_tasks import noop_thread
from store import WANT, best, claims, cycle, end, jobs, timed

from ostinato import TaskExecutor
from ostinato.model import HIGH
from ostinato.plugins import open_store
from ostinato.storage import Want
from ostinato_sql.store import SqlStore


def one_at_a_time(store: SqlStore) -> None:
    one, unknown = Want(tasks={"work": 1}, slots=1, capacity=64), Want(tasks={"unknown": 1})
    acts: dict[str, Callable[[], object]] = {
        "claim of one": partial(store.claim, "e", one),
        "claim that finds nothing it knows": partial(store.claim, "e", unknown),
    }
    for name, act in acts.items():
        times = sorted(timed(act) for _ in range(200))
        print(f"{name:<46}{1000 * statistics.median(times):>10.3f} ms")


def fill(store: SqlStore, count: int, prefix: str, task: str = "work", priority: int = 0) -> None:
    for part in range(0, count, 10_000):
        store.post(jobs(min(10_000, count - part), f"{prefix}{part}", task, priority))


def together(store: SqlStore, url: str, threads: int) -> None:
    """Several executors at once, each with connections of its own."""
    fill(store, threads * 3200, f"t{threads}-")
    stores = [opened(url) for _ in range(threads)]

    def drain(one: SqlStore) -> None:
        while rows := one.claim("e", WANT).rows:
            one.finish([end(row) for row in rows])

    running = [threading.Thread(target=drain, args=(one,)) for one in stores]
    begun = time.perf_counter()
    for each in running:
        each.start()
    for each in running:
        each.join()
    rate = threads * 3200 / (time.perf_counter() - begun)
    print(f"{f'claim + finish of 64, {threads} at once':<46}{rate:>10,.0f} jobs/s")
    for one in stores:
        one.close()


def by_threads(url: str, count: int = 4000) -> None:
    """Whole jobs, run in threads."""
    executor = TaskExecutor(url, slots=64)
    executor.post([noop_thread.job() for _ in range(count)])
    begun = time.perf_counter()
    with executor:
        executor.wait(120)
        rate = count / (time.perf_counter() - begun)
    executor.close()
    print(f"{'whole jobs by the thread runner':<46}{rate:>10,.0f} jobs/s")


def opened(url: str) -> SqlStore:
    store = open_store(url)
    assert isinstance(store, SqlStore)
    store.open()
    return store


def empty(store: SqlStore) -> None:
    for table in ("jobs", "attempts", "notes", "tags", "holders", "executors"):
        text = store._dialect.naming.apply(f"DELETE FROM ostinato_{table}")
        store._database.write(lambda link, text=text: link.cursor.execute(text))


def main() -> None:
    url = sys.argv[1] + ("&" if "?" in sys.argv[1] else "?") + "prefix=bench_"
    backlog = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    store = opened(url)
    empty(store)
    try:
        best("post, 1,000 at once", [timed(partial(store.post, jobs(1000, f"p{n}", "other"))) for n in range(10)], 1000)
        best(
            "post + claim + finish, 64 at once",
            [timed(partial(cycle, store, jobs(64, f"c{n}"))) for n in range(50)],
            64,
        )
        together(store, url, 1)
        together(store, url, 4)
        by_threads(url)
        store.post(jobs(1000 + 15 * 64 + 200, "small"))
        small = claims(store)
        one_at_a_time(store)
        print(f"{'claim of 64, 1,000 jobs waiting':<46}{small:>10.2f} ms")
        fill(store, backlog, "big")
        large = claims(store)
        print(f"{f'claim of 64, {backlog:,} jobs waiting':<46}{large:>10.2f} ms  ({large / small:.2f} x)")
        fill(store, 100_000, "unknown", "unknown", HIGH)
        behind = claims(store)
        print(f"{'... behind 100,000 of an unknown task':<46}{behind:>10.2f} ms  ({behind / small:.2f} x)")
    finally:
        empty(store)
        store.close()


if __name__ == "__main__":
    main()
