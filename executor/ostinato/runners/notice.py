"""The runner of jobs that only notify: the listeners of this process are called, nothing is run.

They are called on their own threads, in turn, as for any other event. The job ends when all have
returned; a listener cannot be stopped, only given up.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from ostinato import attempt, clock
from ostinato.events import Events
from ostinato.model import SECOND, Event, Outcome
from ostinato.payload import Notice
from ostinato.runners.alarm import AlarmThread
from ostinato.runners.protocol import Run, Why, stopped

UNHEARD = "nobody listens for it here any more"
ABANDONED = "a listener did not return when the job was to stop"


class NoticeRunner:
    """Asks the listeners, and waits for none of them."""

    def __init__(self, events: Events, executor_id: str) -> None:
        self._events = events
        self._executor_id = executor_id
        self._alarms = AlarmThread("ostinato-notice-alarms")

    def open(self) -> None:
        """There is nothing to get ready."""

    def run(self, run: Run) -> None:
        job = run.row.job
        if job.policy.timeout is not None:
            self._alarms.at(job.policy.timeout / SECOND, lambda: self.stop(run, "timeout", 0), run)
        try:
            notice = msgspec.json.decode(job.args, type=Notice)
        except msgspec.MsgspecError as error:
            _end(run, attempt.unreadable(error))
            return
        event = Event(
            kind="due",
            executor_id=self._executor_id,
            at=clock.now(),
            job_id=job.id,
            task=job.task,
            attempt=run.row.attempt,
            reason=notice.name,
            data=notice.data,
        )
        self._events.ask(event, lambda heard, error: _heard(run, heard, error))

    def stop(self, run: Run, why: Why, grace: int) -> None:
        if run.ended or run.why is not None:
            return
        run.why = why
        self._alarms.at(grace / SECOND, lambda: _end(run, Outcome(kind="interrupted", reason=ABANDONED)), run)

    def beat(self, lease_ends: int) -> None:
        """Listeners live and die with this process."""

    def close(self) -> None:
        self._alarms.close()


def _heard(run: Run, heard: bool, error: BaseException | None) -> None:
    if error is not None:
        _end(run, attempt.ended_by(error))
    elif heard:
        _end(run, Outcome(kind="success", result="null"))
    else:  # it listened when it claimed; now it takes no more of them
        run.end(_timed(run, Outcome(kind="interrupted", reason=UNHEARD)))


def _end(run: Run, outcome: Outcome) -> None:
    run.end(stopped(run, _timed(run, outcome)))


def _timed(run: Run, outcome: Outcome) -> Outcome:
    return replace(outcome, started_at=run.started_at, ended_at=clock.now(), logged=False)
