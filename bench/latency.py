"""From post to the first line of the task's function, executor idle.

python bench/latency.py [POSTS]

"here" posts in the executor's process, "other process" from another one on the same file. One
job at a time: each is posted when the one before has ended and its executor has become idle.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

import bench_tasks
from table import show

from ostinato import TaskExecutor

RUNNERS = {"thread": bench_tasks.stamp_thread, "subprocess": bench_tasks.stamp}


def post(executor: TaskExecutor, runner: str, count: int) -> list[float]:
    """Milliseconds from just before post to the function, ascending."""
    task = RUNNERS[runner]
    took = []
    for number in range(count + 10):
        job = task.job()
        before = time.time_ns()
        at = executor.post(job).result(30)
        if number >= 10:  # the first ones warm up
            took.append((at - before) / 1e6)
        time.sleep(0.005)
    return sorted(took)


def elsewhere(url: str, runner: str, count: int) -> list[float]:
    """The same, with the poster in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--post", url, runner, str(count)], check=True, capture_output=True, text=True
    )
    return [float(value) for value in done.stdout.split()]


def main() -> None:
    if sys.argv[1:2] == ["--post"]:
        _, _, url, runner, count = sys.argv
        print(*post(TaskExecutor(url), runner, int(count)))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, url in (("memory", "memory://latency"), ("sqlite FULL", f"sqlite:///{folder}/jobs.db")):
            for runner in RUNNERS:
                with TaskExecutor(url, slots=4) as executor:
                    rows.append((f"{name}, {runner}, here", *_percentiles(post(executor, runner, count))))
                    if "sqlite" in url:
                        rows.append((f"{name}, {runner}, other process", *_percentiles(elsewhere(url, runner, count))))
    show(f"post to start of the function, ms, {count} posts", ("", "p50", "p95", "p99"), rows)


def _percentiles(values: list[float]) -> tuple[float, ...]:
    return tuple(values[min(len(values) - 1, int(len(values) * share))] for share in (0.5, 0.95, 0.99))


if __name__ == "__main__":
    main()
