"""No-op jobs with the thread runner, on SQLite and in memory, beside huey on SQLite.

python bench/threads.py [JOBS] [ROUNDS]      needs: pip install huey
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

import bench_tasks
from table import show, spread

from ostinato import TaskExecutor

SLOTS = 64

HUEY = """
import sys, time
from huey import SqliteHuey
huey = SqliteHuey(filename=sys.argv[1], fsync=True)
left = int(sys.argv[2])
@huey.task()
def noop(): pass
for _ in range(left): noop()
begin = time.perf_counter()
while (job := huey.dequeue()) is not None:
    huey.execute(job)
print(left / (time.perf_counter() - begin))
"""


def drain(url: str, jobs: int) -> float:
    """Jobs per second from start to idle, all posted before."""
    executor = TaskExecutor(url, slots=SLOTS)
    executor.post([bench_tasks.noop_thread.job() for _ in range(jobs)])
    begin = time.perf_counter()
    with executor:
        executor.wait()
        took = time.perf_counter() - begin
    executor.close()
    return jobs / took


def huey(path: str, jobs: int) -> float:
    """Its own loop of dequeue and execute on one thread, without its consumer's overhead."""
    done = subprocess.run([sys.executable, "-c", HUEY, path, str(jobs)], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    sqlite, memory, peer = [], [], []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            sqlite.append(drain(f"sqlite:///{folder}/jobs.db", jobs))
            memory.append(drain(f"memory://round{number}", jobs))
            peer.append(huey(f"{folder}/huey.db", jobs // 5))
    rows = []
    for name, values in (("ostinato, sqlite FULL", sqlite), ("ostinato, memory", memory), ("huey, sqlite fsync", peer)):
        ratio = spread([value / base for value, base in zip(values, peer, strict=True)])[1]
        rows.append((name, *map(float, spread(values)), f"{ratio:.1f}"))
    show(
        f"No-op jobs in threads, drained, jobs/s, {rounds} rounds of {jobs}, {SLOTS} slots",
        ("", "lowest", "median", "highest", "x huey"),
        rows,
    )


if __name__ == "__main__":
    main()
