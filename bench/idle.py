"""What an idle executor costs: CPU and store calls in ten seconds, and memory.

python bench/idle.py [SECONDS]

Memory is the proportional set size (PSS): pages shared with other processes are divided by their
number. The fork server's parked processes are listed apart.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import bench_tasks
from table import show

from ostinato import TaskExecutor
from ostinato_memory.store import MemoryStore
from ostinato_sql.store import SqlStore

VERBS = [
    "post",
    "tick",
    "limit",
    "claim",
    "renew",
    "note",
    "finish",
    "rescue",
    "change",
    "find",
    "attempts",
    "executors",
    "count",
]


def count_calls(kind: type) -> Counter[str]:
    """Count the calls of the store's verbs from now on."""
    calls: Counter[str] = Counter()

    def counted(name: str, verb: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return verb(*args, **kwargs)

        return call

    for name in VERBS:
        setattr(kind, name, counted(name, getattr(kind, name)))
    return calls


def measure(url: str, calls: Counter[str], seconds: float) -> tuple[object, ...]:
    with TaskExecutor(url, slots=4) as executor:
        executor.post(bench_tasks.noop.job()).result(30)
        executor.wait()
        time.sleep(1)
        calls.clear()
        servers = children(os.getpid())
        family = [os.getpid(), *servers]
        before = sum(map(cpu, family))
        time.sleep(seconds)
        used = sum(map(cpu, family)) - before
        parked = [child for server in servers for child in children(server)]
        memory = sum(map(pss, family)), sum(map(pss, parked))
    each = 10 / seconds
    return used * each, sum(calls.values()) / seconds, *memory, len(parked)


def children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def cpu(pid: int) -> float:
    """Seconds of CPU that the process has used: the scheduler's own count, in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, url, kind in (
            ("sqlite", f"sqlite:///{folder}/jobs.db", SqlStore),
            ("memory", "memory://idle", MemoryStore),
        ):
            rows.append((name, *measure(url, count_calls(kind), seconds)))
    show(
        f"An idle executor with its fork server, {seconds:g} s",
        ("", "CPU s in 10 s", "store calls/s", "PSS MB", "parked MB", "parked"),
        rows,
    )


if __name__ == "__main__":
    main()
