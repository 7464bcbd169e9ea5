"""A flow that fans out to many no-op jobs and folds what they return, beside the same jobs posted as a list.

python bench/flow.py [JOBS] [ROUNDS] [URL]       by default 10,000 jobs, 3 rounds, on SQLite

All run in threads, 64 slots. Each run is a process of its own, flow and list in turns. A round's time is from just
before the post until all has ended; its memory the most that the process ever took, less what it took before.
With a URL, ``{name}`` in it stands for a word that keeps the runs apart.
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


def run(kind: str, url: str, folder: str, jobs: int) -> tuple[float, float]:
    """Seconds, and MiB."""
    executor = TaskExecutor(url, slots=SLOTS, log_store=f"{folder}/logs", spool=f"{folder}/spool")
    with executor:
        executor.post(bench_tasks.fan_out.job(2)).result(60)  # so that all is loaded
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.perf_counter()
        if kind == "flow":
            assert executor.post(bench_tasks.fan_out.job(jobs)).result(600) == jobs
        else:
            executor.post([bench_tasks.noop_thread.job() for _ in range(jobs)])
            executor.wait()
        took = time.perf_counter() - begin
    executor.close()
    return took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def measured(kind: str, url: str, jobs: int, number: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        where = url.replace("{folder}", folder).replace("{name}", f"{kind}{number}")
        argv = [sys.executable, __file__, "--run", kind, where, folder, str(jobs)]
        seconds, memory = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(memory)


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        print(*run(*sys.argv[2:5], int(sys.argv[5])))
        return
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    url = sys.argv[3] if len(sys.argv) > 3 else "sqlite:///{folder}/jobs.db"
    of: dict[str, list[tuple[float, float]]] = {"list": [], "flow": []}
    for number in range(rounds):
        for kind in sorted(of, reverse=bool(number % 2)):
            of[kind].append(measured(kind, url, jobs, number))
    rows = [
        (kind, *spread([seconds for seconds, _ in values]), *spread([memory for _, memory in values]))
        for kind, values in of.items()
    ]
    show(
        f"{jobs} no-op jobs in threads, {rounds} rounds: seconds and MiB, each lowest, median, highest",
        ("", "s", "s", "s", "MiB", "MiB", "MiB"),
        rows,
    )
    ratios = [flow[0] / plain[0] for flow, plain in zip(of["flow"], of["list"], strict=True)]
    print("flow / list: " + ", ".join(f"{ratio:.2f}" for ratio in spread(ratios)))


if __name__ == "__main__":
    main()
