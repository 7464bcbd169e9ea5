"""A flow that fans out to no-op jobs in threads and folds their results, beside the same jobs without it.

python bench/flow.py [JOBS] [ROUNDS] [URL]      URL: a store that is empty; "{name}" in it is replaced

Each measurement is a process of its own, so that the peak of its memory is its own too. Both are timed from
before the post to the last end: the flow has to post its jobs as well.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time

import bench_tasks
from table import show, spread

from ostinato import TaskExecutor

SLOTS = 64
WAYS = ("list", "flow")


def once(way: str, url: str, jobs: int) -> None:
    """Print the seconds and the peak of the memory in MB."""
    executor = TaskExecutor(url, slots=SLOTS)
    with executor:
        executor.wait()
        begin = time.perf_counter()
        if way == "flow":
            handle = executor.post(bench_tasks.fan_out.job(jobs))
            executor.wait()
            if handle.result() != jobs:
                raise SystemExit("the flow has lost some of its jobs")
        else:
            executor.post([bench_tasks.noop_thread.job() for _ in range(jobs)])
            executor.wait()
        took = time.perf_counter() - begin
    executor.close()
    sys.stdout.write(f"{took} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}\n")


def measured(way: str, url: str, jobs: int) -> tuple[float, float]:
    done = subprocess.run([sys.executable, __file__, way, url, str(jobs)], check=True, capture_output=True, text=True)
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    url = sys.argv[3] if len(sys.argv) > 3 else "sqlite:///{folder}/jobs.db"
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 else reversed(WAYS):
            with tempfile.TemporaryDirectory() as folder:
                name = f"bench_{way}{number}_{time.time_ns() % 10**9}"
                found[way].append(measured(way, url.format(folder=folder, name=name), jobs))
    rows = []
    for way in WAYS:
        ratios = [one[0] / base[0] for one, base in zip(found[way], found["list"], strict=True)]
        seconds, peaks = spread([one[0] for one in found[way]]), spread([one[1] for one in found[way]])
        rows.append((way, *map(float, seconds), f"{spread(ratios)[1]:.2f}", f"{peaks[1]:.0f}"))
    show(
        f"{jobs} no-op jobs in threads, seconds from post to end, {rounds} rounds, {SLOTS} slots",
        ("", "lowest", "median", "highest", "x list", "peak MB"),
        rows,
    )


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        once(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main()
