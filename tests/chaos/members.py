"""Executors in processes of their own, and what is left of them when they are gone."""

import os
import pathlib
import select
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent


class Worker:
    """A process with a started executor."""

    def __init__(self, url, *args, program="worker.py"):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / program), url, *args],
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
