"""What 100,000 jobs that wait for one resource cost the claims of others.

Run: python bench/blocked.py [blocked jobs, default 100000]

They come before the others by priority, so that each claim meets them first: all on one resource, then
each with a key of its own that is paused by its limit (a lane each, which is the hard case).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterable

from redis_store import server
from table import show

from ostinato.model import HIGH, Attempt, End, Job
from ostinato.storage import Store, Want
from ostinato_memory.store import MemoryStore
from ostinato_redis.address import address
from ostinato_redis.store import RedisStore
from ostinato_sql.sqlite import SqliteDialect
from ostinato_sql.store import SqlStore

WANT = Want(tasks={"work": 1}, slots=16, capacity=64, count=16)
ROUNDS = 60


def jobs(prefix: str, numbers: Iterable[int], **fields: object) -> list[Job]:
    return [Job(id=f"{prefix}{n:07}", task="work", **fields) for n in numbers]  # type: ignore[arg-type]


def cycle(store: Store, number: int) -> float:
    """Milliseconds of a claim of 16 jobs."""
    store.post(jobs(f"free{number}-", range(16)))
    begun = time.perf_counter()
    rows = store.claim("e", WANT).rows
    took = time.perf_counter() - begun
    assert [row.job.id[:4] for row in rows] == ["free"] * 16
    ends = []
    for row in rows:
        attempt = Attempt(job_id=row.job.id, number=1, executor_id="e", outcome="success", started_at=1, ended_at=2)
        ends.append((row.fence, End(state="succeeded", attempt=attempt, charged=1)))
    assert all(store.finish(ends))
    return took * 1000


def measure(store: Store, start: int) -> float:
    return statistics.median(cycle(store, start + n) for n in range(ROUNDS))


def main() -> None:
    blocked = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rows = []
    with tempfile.TemporaryDirectory() as folder, server() as url:
        stores: dict[str, Store] = {
            "memory": MemoryStore(),
            "SQLite": SqlStore(SqliteDialect(f"{folder}/blocked.db")),
            "Valkey": RedisStore(address(url)),
        }
        for name, store in stores.items():
            store.open()
            store.limit({"resource:gpu": 1, "resource:free": 5})
            store.post(jobs("holder", [0], holds=(("resource:gpu", 1),)))
            assert len(store.claim("e", WANT).rows) == 1
            alone = measure(store, 0)
            for part in range(0, blocked, 10_000):
                numbers = range(part, min(part + 10_000, blocked))
                store.post(jobs("gpu", numbers, holds=(("resource:gpu", 1),), priority=HIGH))
            behind = measure(store, ROUNDS)
            keys = blocked // 100
            store.limit({f"key:k{n}": 0 for n in range(keys)})
            store.post([job for n in range(keys) for job in jobs(f"k{n}-", [0], holds=((f"key:k{n}", 1),))])
            keyed = measure(store, 2 * ROUNDS)
            rows.append((name, alone, behind, behind / alone, keyed, keyed / alone))
            store.close()
    head = ("store", "alone, ms", "blocked, ms", "ratio", f"and {blocked // 100:,} keys, ms", "ratio")
    show(f"Claim of 16 jobs behind {blocked:,} that wait for one resource (medians of {ROUNDS})", head, rows)


if __name__ == "__main__":
    main()
