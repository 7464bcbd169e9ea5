"""Executors are killed with SIGKILL again and again, and nothing is lost."""

import collections
import os
import pathlib
import select
import signal
import subprocess
import sys
import time

import chaos_tasks
import pytest

from ostinato import TaskExecutor

JOBS = 1000
EXECUTORS = 3
KILL_EVERY = 1.0
LIMIT = 100.0
HERE = pathlib.Path(__file__).parent


class Worker:
    """A process with a started executor."""

    def __init__(self, url):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), url],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(HERE)},
        )
        assert select.select([self.process.stdout], [], [], 20)[0], "the executor did not start"
        self.executor_id = self.process.stdout.readline().decode().strip()
        self.children = set()

    def look(self):
        """Remember its descendants, so that we know after its death who they were."""
        self.children |= descendants(self.process.pid)

    def kill(self):
        self.look()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        return self.children

    def end(self):
        self.process.terminate()
        assert self.process.wait(20) == 0
        self.process.stdout.close()


def descendants(pid):
    """(pid, start time) of all processes below, as far as they live."""
    found = set()
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            found |= {(child, started(child))} | descendants(child)
    return found


def started(pid):
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        return None


def survivors(processes):
    return {pid for pid, start in processes if start is not None and started(pid) == start and not is_zombie(pid)}


def is_zombie(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def gone_within(processes, seconds):
    """Wait until none of them lives; what is left after that long."""
    fds = []
    for pid in survivors(processes):
        try:
            fds.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    until = time.monotonic() + seconds
    for fd in fds:
        select.select([fd], [], [], max(0.0, until - time.monotonic()))
        os.close(fd)
    return survivors(processes)


@pytest.mark.timeout(180)
def test_a_thousand_jobs_survive_executors_that_are_killed_every_second(tmp_path):
    url = f"sqlite:///{tmp_path}/jobs.db"
    ledger = tmp_path / "ledger"
    poster = TaskExecutor(url)
    handles = poster.post([chaos_tasks.digest.job(str(ledger), number) for number in range(JOBS)])
    workers = [Worker(url) for _ in range(EXECUTORS)]
    kills = 0
    until = time.monotonic() + LIMIT
    while not handles[-1].wait(KILL_EVERY) or any(not handle.status().is_final for handle in handles):
        assert time.monotonic() < until, "the jobs did not end in time"
        victim = workers.pop(0)
        children = victim.kill()
        kills += 1
        assert not gone_within(children, 1.0), "a child outlived its executor by more than a second"
        workers.append(Worker(url))
    for worker in workers:
        worker.end()

    assert kills >= 3
    runs = collections.Counter(line.split()[0] for line in ledger.read_text().splitlines())
    for handle in handles:
        status = handle.status()
        assert status.state == "succeeded"
        assert [one.number for one in status.attempts] == list(range(1, status.attempt + 1))
        assert [one.outcome for one in status.attempts].count("success") == 1
        assert status.attempts[-1].outcome == "success"
        assert 1 <= runs[handle.id] <= status.attempt
        for one in status.attempts:
            assert one.outcome in ("success", "lost", "interrupted")
            assert isinstance(handle.logs(one.number), str)
        assert "digested" in handle.logs()
    poster.close()
    print(f"{kills} kills, {sum(runs.values()) - JOBS} jobs made twice or more")


def test_a_stopped_executor_leaves_no_child(tmp_path):
    worker = Worker(f"sqlite:///{tmp_path}/jobs.db")
    worker.look()
    children = worker.children
    assert children
    worker.process.send_signal(signal.SIGTERM)
    worker.process.wait(20)
    worker.process.stdout.close()
    assert not gone_within(children, 1.0)
