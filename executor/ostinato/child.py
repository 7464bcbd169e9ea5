"""The main of an attempt's process: an order comes in, the task runs, its outcome goes out.

It holds no store connection and imports no backend. What it says travels on one socket to its
executor, which judges it by the fence. When that socket ends, so does the process.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Literal, NoReturn

import msgspec

from ostinato import attempt, capture, clock, current, limits, loading, wire
from ostinato.errors import AlreadyPosted, Interrupted, StoreUnavailable
from ostinato.model import Job, Outcome, Step
from ostinato.payload import Program
from ostinato.sink import PROCESS
from ostinato.wire import Asking, Done, Order, Posting, Recording, Said


def serve(sock: socket.socket, reuse: bool) -> NoReturn:
    """Run the attempt that the executor sends; with ``reuse`` one after the other."""
    while True:
        data = wire.receive(sock)
        if data is None:
            os._exit(0)
        code = _run(wire.decode_order(data), sock, reuse)
        if not reuse:
            os._exit(code)


_told_early = False
"""Told to stop before there was a job to interrupt."""


def on_term(number: int, frame: FrameType | None) -> None:
    global _told_early
    job = current._current.get()
    if job is None:
        _told_early = True
    elif not job.cancelled:
        job.cancelled = True
        raise Interrupted("told to stop")


def _run(order: Order, sock: socket.socket, reuse: bool) -> int:
    started = clock.now()
    before = resource.getrusage(resource.RUSAGE_SELF)
    bindings = {"job": order.job_id, "attempt": order.attempt, "task": order.task}
    saved: limits.Saved = []
    try:
        if order.log is not None:
            capture.attach(order.log, bindings)
        saved = limits.apply(order)
        outcome = _execute(order, sock)
    except BaseException as error:
        outcome = attempt.ended_by(error)
    finally:
        limits.restore(saved) if reuse else None
    attempt.log_outcome(PROCESS, outcome)
    capture.flush()
    after = resource.getrusage(resource.RUSAGE_SELF)
    outcome = msgspec.structs.replace(
        outcome,
        started_at=started,
        ended_at=clock.now(),
        cpu=round((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e6),
        peak_memory=after.ru_maxrss * 1024,
    )
    sock.sendall(wire.frame(Done(outcome)))
    return _exit_code(outcome)


def _exit_code(outcome: Outcome) -> int:
    if outcome.exit_code is not None:
        return outcome.exit_code & 0xFF or (1 if outcome.exit_code else 0)
    return {"success": 0, "cancelled": attempt.CANCELLED_CODE}.get(outcome.kind, 1)


def _execute(order: Order, sock: socket.socket) -> Outcome:
    if order.kind != "function":
        if _told_early:
            return _not_begun()
        _become(order)
    try:
        task = loading.find(order.task, order.ref)
    except Exception as error:
        return attempt.unreadable(error)
    job = current.CurrentJob(order, Line(sock))
    current.enter(job)
    try:
        if _told_early:
            return _not_begun()
        return attempt.run(task, order, job)
    finally:
        current.enter(None)


class Line:
    """`ostinato.current.Line` over the socket to the executor."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def say(self, key: Literal["progress", "checkpoint"], value: str) -> None:
        self._sock.sendall(wire.frame(Said(key, value)))

    def post(self, jobs: Sequence[Job]) -> list[str]:
        answer = wire.decode_answer(self._ask(Posting(list(jobs)), "nothing was posted"))
        if answer.taken is not None:
            raise AlreadyPosted(*answer.taken)
        if answer.refused:
            raise StoreUnavailable(answer.refused)
        return answer.ids

    def record(self, name: str, value: str) -> None:
        answer = wire.decode_answer(self._ask(Recording(name, value), f"step {name!r} is not recorded"))
        if answer.refused:
            raise StoreUnavailable(answer.refused)

    def ask(self, ids: Sequence[str] | None, cursor: str | None) -> tuple[list[Step], str | None]:
        asked = Asking(None if ids is None else list(ids), cursor)
        answer = wire.decode_steps(self._ask(asked, "the steps are not known"))
        if answer.refused:
            raise StoreUnavailable(answer.refused)
        return answer.steps, answer.next

    def _ask(self, question: Posting | Recording | Asking, else_so: str) -> bytes:
        self._sock.sendall(wire.frame(question))
        data = wire.receive(self._sock)
        if data is None:
            raise StoreUnavailable(f"The executor is gone, so {else_so}.")
        return data


def _not_begun() -> Outcome:
    """Told to stop before the task was entered. In a reused process that may have been meant for
    the attempt before; then this one is made again at once, at no cost."""
    global _told_early
    _told_early = False
    return Outcome(kind="snooze", delay=0, reason="told to stop before it began")


def _become(order: Order) -> NoReturn:
    """Turn this process into the script or command. Its exit code is the outcome."""
    program = msgspec.json.decode(order.args, type=Program)
    argv = [sys.executable, *program.argv] if order.kind == "script" else program.argv
    env = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "OSTINATO_JOB_ID": order.job_id,
        "OSTINATO_ATTEMPT": str(order.attempt),
        **(program.env or {}),
    }
    if program.cwd is not None:
        os.chdir(program.cwd)
    for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # an ignored signal would stay ignored after exec
    try:
        os.execvpe(argv[0], argv, env)  # noqa: S606 - it is what a command job is for
    except FileNotFoundError:
        where = "" if "/" in argv[0] else " on the PATH of the executor"
        raise CannotRun(f"there is no program {argv[0]!r}{where}") from None
    except OSError as error:
        raise CannotRun(f"the program {argv[0]!r} cannot be run: {error.strerror}") from None


class CannotRun(Exception):
    """A program that cannot be run."""
