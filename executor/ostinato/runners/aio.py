"""The asyncio runner: coroutine tasks side by side on one event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from msgspec.structs import replace

from ostinato import attempt, clock, current, router
from ostinato.model import SECOND, Outcome
from ostinato.runners.protocol import Run, Why, stopped
from ostinato.runners.thread import finished
from ostinato.sink import Sink


class AsyncioRunner:
    """All attempts share one loop: a task that blocks it holds up the others."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ostinato-asyncio", daemon=True)
        self._tasks: dict[Run, tuple[asyncio.Task[None], current.CurrentJob]] = {}

    def open(self) -> None:
        router.install()
        self._thread.start()

    def run(self, run: Run) -> None:
        self._loop.call_soon_threadsafe(self._begin, run)

    def stop(self, run: Run, why: Why, grace: int) -> None:
        self._loop.call_soon_threadsafe(self._stop, run, why, grace)

    def beat(self, lease_ends: int) -> None:
        """Coroutines live and die with this process."""

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self._loop.close()
        router.uninstall()

    # on the loop

    def _begin(self, run: Run) -> None:
        if run.why is not None:
            run.end(stopped(run, Outcome(kind="interrupted", logged=False, ended_at=clock.now())))
            return
        order = run.order
        job = current.CurrentJob(order, run)
        task = self._loop.create_task(self._execute(run, job))
        self._tasks[run] = (task, job)
        task.add_done_callback(lambda task: self._done(run, task))
        timeout = run.row.job.policy.timeout
        if timeout is not None:
            self._loop.call_later(timeout / SECOND, self._stop, run, "timeout", run.row.job.policy.grace)

    def _stop(self, run: Run, why: Why, grace: int) -> None:
        if run.ended or run.why is not None:
            return
        run.why = why
        found = self._tasks.get(run)
        if found is not None:
            task, job = found
            job.cancelled = True
            task.cancel()
            self._loop.call_later(grace / SECOND, self._abandon, run)

    def _done(self, run: Run, task: asyncio.Task[None]) -> None:
        """A coroutine that is cancelled before its first step is never entered."""
        self._tasks.pop(run, None)
        error = None if task.cancelled() else task.exception()
        kept = Outcome(kind="interrupted") if error is None else attempt.ended_by(error)
        run.end(stopped(run, replace(kept, logged=False, ended_at=clock.now())))

    def _abandon(self, run: Run) -> None:
        reason = "did not stop when told to; its coroutine was abandoned"
        run.end(stopped(run, Outcome(kind="interrupted", reason=reason, ended_at=clock.now())))

    async def _execute(self, run: Run, job: current.CurrentJob) -> None:
        order = run.order
        sink = Sink(order.log or "", {"job": order.job_id, "attempt": order.attempt, "task": order.task})
        token = router.enter(sink)
        current.enter(job)
        try:
            outcome = await self._perform(run, job)
            if outcome.error is not None:
                attempt.log_outcome(sink, outcome)
        finally:
            logged = router.leave(token)
        run.end(stopped(run, finished(outcome, run, logged)))

    async def _perform(self, run: Run, job: current.CurrentJob) -> Outcome:
        task: Any = run.task
        try:
            args, kwargs = task.arguments(run.order.args, run.order.version)
        except Exception as error:
            return attempt.unreadable(error)
        try:
            return attempt.succeeded(await task.function(*args, **kwargs), run.order, job)
        except asyncio.CancelledError as error:
            return Outcome(kind="interrupted", reason=attempt.summary(error))
        except BaseException as error:
            return attempt.ended_by(error, task)
