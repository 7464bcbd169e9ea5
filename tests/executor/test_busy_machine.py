"""A machine that really is over a mark: nothing more is started until it has fallen, and then within two seconds.

The processor is shared with whatever else runs here, so what is compared with its mark is the share that one real
process has of it, measured as that of the machine is. Memory is that of the whole machine.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import chores
import psutil
import pytest
from harness import WAIT

from ostinato import load
from ostinato.load import RESUME, Sample, take_sample

PROMISED = 2.0
"""Seconds from the fall to the next start."""
MARGIN = 0.03
"""The share of memory that other programs may take or give back meanwhile."""
HOG = {
    "memory": "held = b'x' * int(sys.argv[1]); print('busy', flush=True); sys.stdin.read()",
    "cpu": "print('busy', flush=True)\nwhile time.monotonic() < ends: pass",
}


class Hog:
    """A process that holds so many bytes, or keeps a core busy, until it is killed."""

    def __init__(self, what: str, size: int = 0) -> None:
        code = f"import sys, time; ends = time.monotonic() + {WAIT}; {HOG[what]}"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, "-c", code, str(size)], **pipes)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"busy\n"
        self._used, self._at = 0.0, time.monotonic()

    def share(self) -> float:
        """What it used of all cores since this was asked before."""
        times, now = psutil.Process(self.process.pid).cpu_times(), time.monotonic()
        used, passed = times.user + times.system - self._used, now - self._at
        self._used, self._at = times.user + times.system, now
        return used / passed / (os.cpu_count() or 1)

    def kill(self) -> None:
        """What it has used can still be asked for."""
        self.process.kill()
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)


@contextmanager
def hog(what: str, size: int = 0) -> Iterator[Hog]:
    made = Hog(what, size)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


@pytest.fixture
def looks(monkeypatch) -> Callable[[Callable[[], Sample]], queue.Queue[Sample]]:
    """All that is seen of the machine from now on by such a look."""

    def watch(sample: Callable[[], Sample]) -> queue.Queue[Sample]:
        seen: queue.Queue[Sample] = queue.Queue()

        def look() -> Sample:
            taken = sample()
            seen.put(taken)
            return taken

        monkeypatch.setattr(load, "take_sample", look)
        return seen

    return watch


def nothing_starts_until_it_falls(make_executor, seen: queue.Queue[Sample], busy: Hog, **marks: float) -> float:
    """How long after the fall the first of what waited was started (seconds)."""
    started: queue.Queue[float] = queue.Queue()
    executor = make_executor(**marks)
    executor.on("start", lambda event: started.put(time.monotonic()))
    handles = executor.post([chores.add.job(number) for number in range(3)], runner="thread")
    executor.start()
    for _ in range(4):
        seen.get(timeout=WAIT)
    assert started.empty()
    assert [one.status().state for one in handles] == ["ready"] * 3
    busy.kill()
    fell = time.monotonic()
    took = started.get(timeout=WAIT) - fell
    assert [one.result(WAIT) for one in handles] == [0, 1, 2]
    return took


def test_memory_that_is_given_back_lets_work_begin_again(make_executor, looks):
    before = psutil.virtual_memory()
    mark = (before.percent / 100 + MARGIN) / RESUME
    size = round((mark + MARGIN - before.percent / 100) * before.total)
    if mark > 1 - 2 * MARGIN or size > before.available:
        pytest.skip(f"this machine has not {size >> 20} MiB of memory to spare for the test")
    with hog("memory", size) as busy:
        took = nothing_starts_until_it_falls(make_executor, looks(take_sample), busy, max_memory=mark)
    print(f"memory: {took:.2f} s")
    assert took <= PROMISED


def test_a_processor_that_is_given_back_lets_work_begin_again(make_executor, looks):
    with hog("cpu") as busy:
        seen = looks(lambda: Sample(busy.share(), 0.0, 0.0))
        took = nothing_starts_until_it_falls(make_executor, seen, busy, max_cpu=0.02)
    print(f"cpu: {took:.2f} s")
    assert took <= PROMISED
