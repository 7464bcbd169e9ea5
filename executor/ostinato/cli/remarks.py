"""What is worth saying of a job, in a line."""

from __future__ import annotations

from ostinato.cli.terminal import ago, local, shortened
from ostinato.status import JobStatus


def asked(job: JobStatus) -> str:
    """``"Publish?" for kim, until 2026-03-01 08:00:00 (in 2h00m)``; "" if it asks nothing."""
    question = job.question
    if question is None:
        return ""
    whom = f" for {question.assignee}" if question.assignee else ""
    until = f", until {local(job.expires_at)} ({ago(job.expires_at)})" if job.expires_at else ""
    return f'"{" ".join(question.title.split())}"{whom}{until}'


def remark(job: JobStatus) -> str:
    """The one thing worth saying about it."""
    if job.state == "running" and job.progress is not None:
        total = "" if job.progress.total is None else f"/{job.progress.total:g}"
        return f"{job.progress.done:g}{total} {job.progress.message}".strip()
    if job.state == "scheduled":
        return f"due {ago(job.run_at)}"
    if job.state == "waiting" and job.question is not None:
        return asked(job)
    if job.state == "waiting" and job.expires_at is not None:
        return f"until {local(job.expires_at)} ({ago(job.expires_at)})"
    if job.state == "blocked" and not job.reason:
        return f"waits for {shortened(job.after)}"
    return job.reason.partition("\n")[0]
