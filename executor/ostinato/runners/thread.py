"""The thread runner: attempts in threads of this process. Fast, not isolated: a thread cannot be
killed, only asked to stop; one that does not is abandoned, and its attempt reported all the same.
"""

from __future__ import annotations

import ctypes
import queue
import threading
from typing import Any

from ostinato import attempt, clock, current, router
from ostinato.errors import Interrupted, UnknownTask
from ostinato.model import SECOND, Outcome
from ostinato.runners.alarm import AlarmThread
from ostinato.runners.protocol import Run, Why, stopped
from ostinato.sink import Sink


class ThreadRunner:
    """As many threads as are needed, kept for the next attempts."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0
        self._active: dict[Run, tuple[int, current.CurrentJob]] = {}
        self._alarms = AlarmThread("ostinato-thread-alarms")

    def open(self) -> None:
        router.install()

    def run(self, run: Run) -> None:
        timeout = run.row.job.policy.timeout
        if timeout is not None:
            self._alarms.at(timeout / SECOND, lambda: self.stop(run, "timeout", run.row.job.policy.grace), run)
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            else:
                self._threads += 1
                threading.Thread(target=self._work, name=f"ostinato-job-{self._threads}", daemon=True).start()
        self._queue.put(run)

    def stop(self, run: Run, why: Why, grace: int) -> None:
        with self._lock:
            if run.ended or run.why is not None:
                return
            run.why = why
            found = self._active.get(run)
            if found is not None:
                ident, job = found
                job.cancelled = True
                _raise_in(ident, Interrupted)
        self._alarms.at(grace / SECOND, lambda: run.end(stopped(run, _abandoned(run))), run)

    def beat(self, lease_ends: int) -> None:
        """Threads live and die with this process."""

    def close(self) -> None:
        for _ in range(self._threads):
            self._queue.put(None)
        self._alarms.close()
        router.uninstall()

    def _work(self) -> None:
        while True:
            run = self._queue.get()
            if run is None:
                return
            try:
                outcome = self._execute(run)
            except BaseException as error:  # a thread less would be a run that never ends
                outcome = attempt.ended_by(error)
            with self._lock:
                self._idle += 1
            run.end(stopped(run, outcome))

    def _execute(self, run: Run) -> Outcome:
        order = run.order
        job = current.CurrentJob(order, run)
        sink = Sink(order.log or "", {"job": order.job_id, "attempt": order.attempt, "task": order.task})
        token = router.enter(sink)
        current.enter(job)
        try:
            with self._lock:
                if run.why is not None:
                    return Outcome(kind="interrupted", logged=False, ended_at=clock.now())
                self._active[run] = (threading.get_ident(), job)
            outcome = perform(run, order, job, sink)
        except Interrupted as error:  # raised between the lines of ours
            outcome = attempt.ended_by(error)
        finally:
            self._calm(run)
            current.enter(None)
            logged = router.leave(token)
        return finished(outcome, run, logged)

    def _calm(self, run: Run) -> None:
        """From here on nothing is raised in this thread."""
        while True:
            try:
                with self._lock:
                    self._active.pop(run, None)
                    _raise_in(threading.get_ident(), None)
                return
            except Interrupted:  # set just before; it has been delivered now
                continue


def perform(run: Run, order: Any, job: current.CurrentJob, sink: Sink) -> Outcome:
    """Run the task's function; an error goes to the attempt's log too."""
    if run.task is None:
        return attempt.unreadable(UnknownTask(f"Task {order.task!r} is not known here, or is no function."))
    outcome = attempt.run(run.task, order, job)
    if outcome.error is not None:
        attempt.log_outcome(sink, outcome)
    return outcome


def finished(outcome: Outcome, run: Run, logged: bool) -> Outcome:
    from msgspec.structs import replace

    return replace(outcome, started_at=run.started_at, ended_at=clock.now(), logged=logged)


def _abandoned(run: Run) -> Outcome:
    reason = "did not stop when told to; its thread was abandoned"
    return Outcome(kind="interrupted", reason=reason, started_at=run.started_at, ended_at=clock.now())


def _raise_in(ident: int, kind: type[BaseException] | None) -> None:
    """Raise an exception in another thread, at its next byte code (CPython only); None: not after all."""
    given = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), given)
