"""Executors for tests: real stores, real processes; files, FIFOs and events to wait on."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chores
import pytest

from ostinato import TaskExecutor
from ostinato.handle import JobHandle
from ostinato.plugins import open_test_store
from ostinato.storage import Store
from ostinato.testing.clock import FakeClock

WAIT = 20.0
"""The longest that a test waits for anything."""


class Fifo:
    """A named pipe that the test reads from: what others write is waited for, not polled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR)  # also for writing, so that it never is at its end
        self._lines = b""

    def __str__(self) -> str:
        return self.path

    def line(self, timeout: float = WAIT) -> str:
        """The next line that somebody writes."""
        ends = time.monotonic() + timeout
        while b"\n" not in self._lines:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, ends - time.monotonic()))
            assert ready, f"nobody wrote to {self.path} within {timeout} s"
            self._lines += os.read(self._fd, 65536)
        line, _, self._lines = self._lines.partition(b"\n")
        return line.decode()

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Callable[[], Fifo]]:
    made: list[Fifo] = []

    def make() -> Fifo:
        made.append(Fifo(tmp_path / f"fifo{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A file to which jobs append a line for what they did."""
    return tmp_path / "ledger"


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def open_gate(path: str) -> None:
    """Let a job that waits to read this FIFO go on."""
    with open(path, "w") as file:
        file.write("\n")


def held(executor: TaskExecutor, fifo: Callable[[], Fifo], **options: Any) -> tuple[JobHandle, str]:
    """A job that runs until the gate is opened, and the gate."""
    started, gate = fifo(), fifo()
    handle = executor.post(chores.gate.job(str(started), str(gate)), **options)
    started.line()
    return handle, str(gate)


def wait_gone(*pids: int, timeout: float = WAIT) -> None:
    """Until these processes, which may be anybody's, are gone (or wait to be reaped)."""
    ends = time.monotonic() + timeout
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ready, _, _ = select.select([fd], [], [], max(0.0, ends - time.monotonic()))
        finally:
            os.close(fd)
        assert ready, f"process {pid} still lives after {timeout} s"


def children() -> set[int]:
    """The processes of ours that are children of this one and alive."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
            except OSError:
                continue
            if fields[1] == str(os.getpid()) and b"\0-m\0ostinato" in command:
                found.add(int(entry))
    return found


Make = Callable[..., TaskExecutor]


@pytest.fixture
def make_executor(tmp_path: Path) -> Iterator[Make]:
    """Executors that are closed at the end, with what is left in them killed."""
    made: list[TaskExecutor] = []
    before = children()

    def make(url: str = "memory://", **options: Any) -> TaskExecutor:
        options = {"log_store": str(tmp_path / "logs"), "spool": str(tmp_path / "spool"), "slots": 4, **options}
        made.append(TaskExecutor(url, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop(0)
        one.close()
    assert children() <= before, "an executor left processes behind"


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind that needs no server."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(url: str, clock: FakeClock, tmp_path: Path) -> Iterator[Store]:
    """A store at that place on which time passes only when the test says so."""
    one = open_test_store(f"{url}{tmp_path.name}" if url == "memory://" else url, clock)
    one.open()
    yield one
    one.close()


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskExecutor]:
    """One started executor for all tests of a module that do not need one to themselves."""
    folder = tmp_path_factory.mktemp("executor")
    one = TaskExecutor("memory://", slots=4, log_store=f"{folder}/logs", spool=f"{folder}/spool")
    with one:
        yield one
    one.close()


class Host:
    """A Python program in a process of its own, as an application would be."""

    def __init__(self, folder: Path, code: str, *args: str) -> None:
        script = folder / f"host{len(list(folder.glob('host*.py')))}.py"
        script.write_text(code)
        here = os.path.dirname(__file__)
        self.process = subprocess.Popen(
            [sys.executable, str(script), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": here, "PYTHONUNBUFFERED": "1"},
        )
        self.pid = self.process.pid

    def done(self, timeout: float = WAIT) -> tuple[int, str, str]:
        """Its exit code and output, once it has ended."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    made: list[Host] = []

    def start(code: str, *args: object) -> Host:
        made.append(Host(tmp_path, code, *map(str, args)))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()
