"""Posting: lists of 1,000 and one by one, on SQLite (synchronous=FULL) and in memory.

python bench/post.py [LISTS] [ROUNDS]
"""

from __future__ import annotations

import sys
import tempfile
import time

import bench_tasks
from table import show, spread

from ostinato import TaskExecutor


def lists(url: str, count: int) -> float:
    executor = TaskExecutor(url)
    executor.post(bench_tasks.noop.job())
    begin = time.perf_counter()
    for _ in range(count):
        executor.post([bench_tasks.noop.job() for _ in range(1000)])
    took = time.perf_counter() - begin
    executor.close()
    return count * 1000 / took


def singles(url: str, count: int) -> float:
    executor = TaskExecutor(url)
    executor.post(bench_tasks.noop.job())
    begin = time.perf_counter()
    for _ in range(count):
        executor.post(bench_tasks.noop.job())
    took = time.perf_counter() - begin
    executor.close()
    return count / took


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    rows = []
    for name, url in (("sqlite FULL", "sqlite:///{0}/{1}.db"), ("memory", "memory://{1}")):
        with tempfile.TemporaryDirectory() as folder:
            many = [lists(url.format(folder, f"many{number}"), count) for number in range(rounds)]
            ones = [singles(url.format(folder, f"one{number}"), 1000) for number in range(rounds)]
        rows.append((f"{name}, lists of 1,000", *map(float, spread(many))))
        rows.append((f"{name}, one by one", *map(float, spread(ones))))
    show("Posting (making the jobs included), jobs/s", ("", "lowest", "median", "highest"), rows)


if __name__ == "__main__":
    main()
