"""`JobHandle`: one posted job, seen from the application."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from msgspec import Struct

from ostinato import answers, host, reader, reruns, story
from ostinato.endings import Endings
from ostinato.errors import JobNotFound, LogUnavailable, NotRunning, StoreUnavailable
from ostinato.explain import Explanation, explain
from ostinato.logs import log_name
from ostinato.model import FINAL, WAITING, Attempt, Event, Row
from ostinato.reader import Place
from ostinato.situation import look
from ostinato.status import JobStatus, ended_error, job_status
from ostinato.storage import Ask, JobQuery, LogStore, Store
from ostinato.task import registry

PAUSE = 0.25
"""Seconds between two looks at a job whose events are followed."""


class Access(Struct, frozen=True):
    """What a handle needs of its executor."""

    store: Store
    endings: Endings
    log_store: LogStore
    max_log: int
    cancel_here: Callable[[str], None]
    cancelled: Callable[[str], None]
    changed: Callable[[], None]


class JobHandle:
    """Knows a job's id and asks the store for the rest. May be awaited: ``await handle`` is
    ``handle.result()`` without blocking the event loop."""

    __slots__ = ("_access", "id")

    def __init__(self, access: Access, job_id: str) -> None:
        self._access = access
        self.id = job_id

    def __repr__(self) -> str:
        return f"<JobHandle {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def status(self) -> JobStatus:
        """All that is known of the job now. Raises JobNotFound."""
        row = self._row()
        store = self._access.store
        now = 0 if row.job.deadline is None or row.state in FINAL else store.now()
        return job_status(row, store.attempts([self.id]), now)

    def explain(self) -> Explanation:
        """Why the job is where it is: every reason, with the names of what it waits for, and what would
        help. ``str()`` of it is for people. Raises JobNotFound."""
        return explain(look(self._access.store, self._row()))

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the job has ended; False if it has not within ``timeout`` seconds."""
        return self._end(timeout) is not None

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the job and return what its task returned.

        Raises JobFailed, JobCancelled or JobExpired if it ended otherwise, TimeoutError if it has
        not ended within ``timeout`` seconds, JobNotFound if there is no such job (any more).
        """
        end = self._end(timeout)
        if end is None:
            raise TimeoutError(
                f"Job {self.id} has not ended within {timeout:g} s; it is {self._row().state}. It goes on regardless."
            )
        return self._outcome(end)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def call() -> None:
            loop.call_soon_threadsafe(ended.set)

        self._access.endings.watch(self.id, call)
        try:
            while (end := await asyncio.to_thread(self._over)) is None:
                await ended.wait()
                ended.clear()
                self._access.endings.watch(self.id, call)
            return self._outcome(end)
        finally:
            self._access.endings.forget(self.id, call)

    def approve(self, value: Any = True, *, by: str | None = None) -> None:
        """Answer an approval: ``value`` must be of the type that it asks for. ``by`` is recorded with it (the
        user of this process, if left out). Raises AnswerError if this is no answer to it, or if it is answered."""
        answers.approve(self._access.store, self.id, value, by)
        self._access.changed()

    def reject(self, reason: str = "", *, by: str | None = None) -> None:
        """Say no: the approval fails, and `Rejected` is raised in a flow that waits for it. Raises AnswerError if
        there is nothing to answer."""
        answers.reject(self._access.store, self.id, reason, by)
        self._access.changed()

    def cancel(self, reason: str = "cancelled") -> bool:
        """Cancel it: at once if it does not run yet, else by telling it to stop (`Interrupted` is
        raised in it), and by force after the task's grace. True if it was still to be cancelled."""
        (changed,) = self._access.store.change([self.id], Ask(kind="cancel", reason=reason))
        if changed.before is None:
            raise self._unknown()
        if changed.before == "running":
            self._access.cancel_here(self.id)
        elif changed.after == "cancelled" and changed.before not in FINAL:
            self._access.cancelled(self.id)
        return changed.before not in FINAL

    def rerun(self) -> bool:
        """Run an ended job again, or a parked flow, with a fresh budget of attempts; its history is kept. Of a
        flow that did not succeed its steps that did not are run again too; not those that did, nor those whose
        failure it caught and went on. False if it has not ended, or another job holds its unique key now."""
        row = self._row()
        parked = row.state == "waiting" and row.job.kind not in WAITING
        changed = reruns.rerun(self._access.store, row)
        self._access.changed()
        return (changed.before in FINAL or parked) and changed.after not in FINAL

    def events(self) -> Iterator[Event]:
        """What has happened to the job and happens, from its first attempt until it has ended, in
        whatever process it runs: ``start``, ``progress``, ``retry``, and how it ended. Of progress
        the newest is seen, at most four times a second."""
        return story.tell(self._look, lambda: self._pause(PAUSE), self._value)

    def _look(self) -> tuple[list[Attempt], Row]:
        return self._access.store.attempts([self.id]), self._row()

    def logs(self, attempt: int | None = None) -> str:
        """The log of an attempt (default: the newest) as it is now. Raises LogUnavailable."""
        return reader.read(self._place(attempt))

    def tail(self, attempt: int | None = None) -> Iterator[str]:
        """The lines of an attempt's log (default: the newest) as they come, until it has ended.
        A job that has not started yet is waited for."""
        while attempt is None and self._row().attempt == 0 and not self.wait(0.1):
            continue
        number = attempt or self._row().attempt
        if number == 0:
            return iter(())
        return reader.tail(
            lambda: self._place(number),
            lambda: self._has_ended(number),
            lambda seconds: self._pause(seconds),
            head=self._access.max_log // 2,
        )

    def _pause(self, seconds: float) -> None:
        """Between two looks at a log: shorter once the job has ended."""
        if self.wait(seconds):
            time.sleep(min(seconds, 0.05))

    def _row(self) -> Row:
        rows = self._access.store.find(JobQuery(ids=(self.id,))).rows
        if not rows:
            raise self._unknown()
        return rows[0]

    def _end(self, timeout: float | None) -> Sequence[Row] | None:
        """What `_over` says once it has ended, which is waited for. An end that is told may be that of
        before it was run again, so that each is looked up."""
        latch = threading.Lock()  # not an Event: a Ctrl-C in the middle of one can block who sets it
        latch.acquire()
        until = math.inf if timeout is None else time.monotonic() + timeout
        self._access.endings.watch(self.id, latch.release)
        try:
            while (end := self._over()) is None:
                left = min(max(until - time.monotonic(), 0), threading.TIMEOUT_MAX)
                if not latch.acquire(timeout=left):
                    return None
                if self._access.endings.closed:
                    raise NotRunning(f"The executor was closed while job {self.id} was waited for. The job goes on.")
                self._access.endings.watch(self.id, latch.release)
            return end
        finally:
            self._access.endings.forget(self.id, latch.release)

    def _over(self) -> Sequence[Row] | None:
        """Its row if it has ended, nothing if it is gone; None if neither is so as far as the store says now."""
        try:
            rows = self._access.store.find(JobQuery(ids=(self.id,), brief=True)).rows
        except StoreUnavailable:
            return None  # those who follow it will hear of its end when the store is back
        return rows if not rows or rows[0].state in FINAL else None

    def _unknown(self) -> JobNotFound:
        return JobNotFound(
            f"There is no job {self.id} in this store. It was never posted here, or its retention time is over."
        )

    def _outcome(self, end: Sequence[Row]) -> Any:
        if not end:
            raise self._unknown()
        row = end[0]
        if row.state == "succeeded":
            return self._value(row)
        raise ended_error(row.job.id, row.job.task, row.state, row.attempt, row.reason, row.error)

    def _value(self, row: Row) -> Any:
        if row.result is None:
            return None
        task = registry.get(row.job.task)
        return task.result(row.result) if task is not None else _plain(row.result)

    def _has_ended(self, attempt: int) -> bool:
        row = self._row()
        return row.attempt > attempt or row.state != "running"

    def _place(self, attempt: int | None) -> Place:
        row = self._row()
        number = attempt if attempt is not None else row.attempt
        if number < 1 or number > row.attempt:
            raise LogUnavailable(
                f"Job {self.id} has no attempt {number}: it is {row.state}, with {row.attempt} attempts so far."
            )
        record = next((one for one in self._access.store.attempts([self.id]) if one.number == number), None)
        executor_id = row.executor_id if record is None else record.executor_id
        executor = next((one for one in self._access.store.executors() if one.id == executor_id), None)
        here = executor is not None and executor.host == host.HOST
        return Place(
            job_id=self.id,
            attempt=number,
            location=None if record is None else record.log,
            path=f"{executor.spool}/{executor.id}/{log_name(self.id, number)}" if executor and here else None,
            host=executor.name if executor is not None else "",
            log_store=self._access.log_store,
        )


def _plain(text: str) -> Any:
    from ostinato.codec import decode

    return decode(text)
