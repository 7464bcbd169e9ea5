"""`JobStatus` and `AttemptStatus`: what a person or program is shown of a job."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from ostinato.codec import decode
from ostinato.deadlines import missed
from ostinato.errors import JobCancelled, JobEnded, JobExpired, JobFailed
from ostinato.model import FINAL, Attempt, Error, Job, OutcomeKind, Row, State
from ostinato.payload import Question
from ostinato.units import moment


class Progress(Struct, frozen=True):
    """How far a job says it is. ``total`` is None if it does not know."""

    done: float
    total: float | None = None
    message: str = ""


class AttemptStatus(Struct, frozen=True, kw_only=True):
    """One ended attempt. Seconds for ``cpu``, bytes for ``peak_memory``; ``log`` is where its
    log was uploaded (None: still on the executor's disk, "": it wrote nothing)."""

    number: int
    outcome: OutcomeKind
    reason: str
    started_at: datetime
    ended_at: datetime
    executor_id: str
    error: str | None
    exit_code: int | None
    signal: int | None
    cpu: float | None
    peak_memory: int | None
    log: str | None


class JobStatus(Struct, frozen=True, kw_only=True):
    """A job at one moment. ``attempt`` is the number of the newest attempt (0: none yet),
    ``attempts`` the ended ones, ``error`` the last traceback or message, ``missed`` that its deadline
    passed before it had ended. ``parent`` is the job that posted it, ``flow`` the one whose ``step`` it is,
    ``after`` are the jobs that it still waits for, ``question`` is what an approval asks."""

    id: str
    state: State
    task: str
    queue: str
    priority: int
    attempt: int
    attempts: tuple[AttemptStatus, ...]
    progress: Progress | None
    error: str | None
    reason: str
    tags: tuple[str, ...]
    schedule: str | None
    tick: datetime | None
    parent: str | None
    flow: str | None
    step: str
    after: tuple[str, ...]
    question: Question | None
    posted_at: datetime
    run_at: datetime | None
    deadline: datetime | None
    expires_at: datetime | None
    missed: bool
    started_at: datetime | None
    ended_at: datetime | None
    executor_id: str | None
    cancelling: bool
    args: Any

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the job by itself."""
        return self.state in FINAL


def job_status(row: Row, attempts: list[Attempt], now: int) -> JobStatus:
    job = row.job
    return JobStatus(
        id=job.id,
        state=row.state,
        task=job.task,
        queue=job.queue,
        priority=row.priority,
        attempt=row.attempt,
        attempts=tuple(attempt_status(one) for one in attempts),
        progress=None if row.progress is None else decode(row.progress, Progress),
        error=None if row.error is None else row.error.traceback or f"{row.error.type}: {row.error.message}",
        reason=row.reason,
        tags=job.tags,
        schedule=job.schedule,
        tick=_moment(job.tick),
        parent=job.parent,
        flow=job.flow,
        step=job.step,
        after=() if row.after is None else row.after.jobs,
        question=question(job),
        posted_at=moment(row.posted_at),
        run_at=_moment(row.run_at or None),
        deadline=_moment(job.deadline),
        expires_at=_moment(row.expires_at),
        missed=missed(row, now),
        started_at=_moment(row.started_at),
        ended_at=_moment(row.ended_at),
        executor_id=row.executor_id,
        cancelling=row.cancelling,
        args=decode(job.args),
    )


def question(job: Job) -> Question | None:
    """What an approval asks; None for other jobs."""
    return decode(job.args, Question) if job.kind == "approval" else None


def attempt_status(one: Attempt) -> AttemptStatus:
    error = one.error
    return AttemptStatus(
        number=one.number,
        outcome=one.outcome,
        reason=one.reason,
        started_at=moment(one.started_at),
        ended_at=moment(one.ended_at),
        executor_id=one.executor_id,
        error=None if error is None else error.traceback or f"{error.type}: {error.message}",
        exit_code=one.exit_code,
        signal=one.signal,
        cpu=None if one.cpu is None else one.cpu / 1e6,
        peak_memory=one.peak_memory,
        log=one.log,
    )


def _moment(at: int | None) -> datetime | None:
    return None if at is None else moment(at)


def ended_error(job_id: str, task: str, state: State, attempt: int, reason: str, error: Error | None) -> JobEnded:
    """What is raised where the result is wanted of a job that ended without one."""
    trace = error.traceback if error is not None else ""
    head = f"Job {job_id} ({task})"
    attempts = f"{attempt} attempt{'' if attempt == 1 else 's'}"
    kind: type[JobEnded]
    if state == "cancelled":
        kind, text = JobCancelled, f"{head} was cancelled: {reason or 'no reason given'}."
    elif state == "expired":
        kind, text = JobExpired, f"{head} expired: nobody started it in time."
    else:
        kind, text = JobFailed, f"{head} failed after {attempts}: {reason}"
    if trace:
        text = f"{text}\n\n{trace.rstrip()}"
    return kind(text, job_id=job_id, attempts=attempt, reason=reason, traceback=trace)
