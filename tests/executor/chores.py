"""Tasks for the tests of the executor; the fork servers import this module."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

from ostinato import Cancel, Job, Retry, Snooze, current_job, task
from ostinato.errors import Interrupted


def block() -> None:
    """Until `Interrupted` is raised. Not one long wait: an exception set from another thread is
    raised between two byte codes, and a signal just before a wait would not end it."""
    forever = threading.Event()
    while True:
        forever.wait(0.01)


def tell(path: str, text: str = "") -> None:
    """Write to a FIFO or file in one go; whoever reads it waits for that."""
    with open(path, "a") as file:
        file.write(text + "\n")


def note(path: str, text: object) -> None:
    """Append a line to a file, atomically."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(fd, f"{text}\n".encode())
    os.close(fd)


@task
def add(a: int, b: int = 0) -> int:
    """The sum."""
    return a + b


@task
async def add_later(a: int, b: int = 0) -> int:
    await asyncio.sleep(0)
    return a + b


@task
def fail(message: str = "boom") -> None:
    raise ValueError(message)


@task
async def fail_later(message: str = "boom") -> None:
    await asyncio.sleep(0)
    raise ValueError(message)


@task(retry_on=OSError)
def fail_as(kind: str, ledger: str) -> None:
    note(ledger, current_job().attempt)
    raise {"OSError": OSError, "KeyError": KeyError}[kind]("x")


@task
def verdict(which: str, ledger: str, after: float = 0.0) -> str:
    """Gives a verdict at the first attempt, and says "done" at the next."""
    job = current_job()
    note(ledger, job.attempt)
    if job.attempt == 1:
        if which == "retry":
            raise Retry("not yet", after=after)
        if which == "snooze":
            raise Snooze(after, "too early")
        if which == "cancel":
            raise Cancel("moot")
    return "done"


@task
async def verdict_later(which: str, ledger: str, after: float = 0.0) -> str:
    await asyncio.sleep(0)
    return verdict.function(which, ledger, after)


@task
def leave(code: Any) -> None:
    sys.exit(code)


@task
async def leave_later(code: Any) -> None:
    await asyncio.sleep(0)
    sys.exit(code)


@task
def hang(fifo: str, ledger: str = "") -> None:
    """Says its pid, then blocks until it is told to stop; its clean-up is noted."""
    try:
        tell(fifo, str(os.getpid()))
        block()
    except Interrupted:
        if ledger:
            note(ledger, "interrupted" if current_job().cancelled else "not told")
        raise
    finally:
        if ledger:
            note(ledger, "cleaned up")


@task
async def hang_later(fifo: str, ledger: str = "") -> None:
    try:
        tell(fifo, str(os.getpid()))
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if ledger:
            note(ledger, "interrupted" if current_job().cancelled else "not told")
        raise
    finally:
        if ledger:
            note(ledger, "cleaned up")


@task
def stubborn(fifo: str) -> None:
    """Ignores every polite request."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell(fifo, str(os.getpid()))
    while True:
        signal.pause()


@task
def resume(fifo: str, ledger: str) -> list[Any]:
    """Saves its state and hangs at the first attempt; returns it at the second."""
    job = current_job()
    note(ledger, job.attempt)
    if job.state is None:
        job.checkpoint({"page": 7})
        tell(fifo, str(os.getpid()))
        block()
    return [job.attempt, job.state]


@task
def steps(total: int) -> None:
    for done in range(1, total + 1):
        current_job().progress(done, total, f"step {done}")


@task
def whoami() -> dict[str, Any]:
    job = current_job()
    return {
        "id": job.id,
        "attempt": job.attempt,
        "task": job.task,
        "queue": job.queue,
        "tags": list(job.tags),
        "schedule": job.schedule,
        "tick": job.tick,
        "cancelled": job.cancelled,
        "state": job.state,
    }


@task
def post_then(fate: str, ledger: str) -> list[str]:
    job = current_job()
    made = [job.post(write.job(ledger, "one")), *job.post([write.job(ledger, "two"), write.job(ledger, "three")])]
    if fate == "fail":
        raise ValueError("after posting")
    if fate == "exit":
        os._exit(3)
    return [one.id for one in made]


@task
def write(ledger: str, text: str) -> None:
    note(ledger, text)


@task
async def write_later(ledger: str, text: str) -> None:
    note(ledger, text)


@task
def occupy(ledger: str, slots: int) -> None:
    """Note the slots taken, and given back; in between let others have the processor."""
    note(ledger, slots)
    for _ in range(20):
        os.sched_yield()
    note(ledger, -slots)


@task
def gate(started: str, go: str) -> None:
    """Tells that it has started and waits until somebody writes to the other FIFO."""
    tell(started, current_job().id)
    with open(go) as file:
        file.readline()


@task
def crash(how: str) -> None:
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    elif how == "vanish":
        os._exit(0)
    elif how == "vanish 9":
        os._exit(9)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "terminate":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    elif how == "kill server":
        os.kill(os.getppid(), signal.SIGKILL)
        block()


@task
def eat(size: int) -> int:
    return len(bytearray(size))


@task
def spin() -> None:
    while True:
        pass


@task
def burn(seconds: float, megabytes: int) -> int:
    """Use that much CPU time and memory."""
    ballast = b"x" * (megabytes * 2**20)
    while resource.getrusage(resource.RUSAGE_SELF).ru_utime < seconds:
        pass
    return len(ballast)


@task
def limits() -> dict[str, Any]:
    return {
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
    }


@task
def open_many() -> int:
    return len([socket.socket() for _ in range(100)])


@task
def surroundings() -> dict[str, Any]:
    fds = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            fds[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # the one that listed the folder
    return {
        "fds": fds,
        "environ": dict(os.environ),
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "pgid": os.getpgid(0),
        "sid": os.getsid(0),
        "threads": len(os.listdir("/proc/self/task")),
        "argv0": sys.argv[0],
    }


@task
def say(text: str) -> None:
    print(text)
    print(text, file=sys.stderr)
    os.write(1, f"{text}\n".encode())
    subprocess.run(["echo", text], check=True)


FAMILY = """
import os, signal, sys
os.setsid()
if os.fork():
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
while True:
    signal.pause()
"""


@task
def have_children(fifo: str, then: str) -> None:
    """A child of the same group, one of a session of its own, and one that forked twice."""
    sleeper = [sys.executable, "-c", "import signal; signal.pause()"]
    near = subprocess.Popen(sleeper)
    far = subprocess.Popen(sleeper, start_new_session=True)
    told, telling = os.pipe()
    orphan = subprocess.Popen([sys.executable, "-c", FAMILY, f"/dev/fd/{telling}"], pass_fds=[telling])
    orphan.wait()
    pid = os.read(told, 100).decode().strip()
    tell(fifo, f"{os.getpid()} {near.pid} {far.pid} {pid}")
    if then == "fail":
        raise ValueError("with children")
    if then == "hang":
        block()
    if then == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


@task
def odd_result() -> Any:
    return {"n": 1, "thing": object(), "bad": "\ud800"}


@task
def large_result(size: int) -> str:
    return "x" * size


class EvilError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")

    __repr__ = __str__


@task
def evil_error() -> None:
    raise EvilError


@task
def use_executor() -> None:
    from ostinato import TaskExecutor

    TaskExecutor("memory://").start()


@task(name="renamed.chore", version=3, queue="images", priority="high", slots=2, timeout="1m", max_attempts=4, grace=1)
def policied() -> None: ...


@task(per_key=1)
def alone(ledger: str, number: int) -> None:
    note(ledger, f"begin {number}")
    note(ledger, f"end {number}")


@task
def follow_keyed(at_once: bool) -> None:
    current_job().post(add.job(1), key="c7", per_key=2, at_once=at_once)


@task(deadline_lead=20)
def hurried() -> None: ...


@task
def gate_and_fail(started: str, go: str) -> None:
    gate.function(started, go)
    raise ValueError("after the gate")


@task
def post_reminder() -> None:
    current_job().post(Job.event("from a job"))
