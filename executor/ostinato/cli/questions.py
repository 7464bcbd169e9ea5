"""What is asked of people, in a line."""

from __future__ import annotations

from ostinato.cli.terminal import ago, local
from ostinato.status import JobStatus


def asked(job: JobStatus) -> str:
    """``"Publish?" for kim, until 2026-03-01 08:00:00 (in 2h00m)``; "" if it asks nothing."""
    question = job.question
    if question is None:
        return ""
    whom = f" for {question.assignee}" if question.assignee else ""
    until = f", until {local(job.expires_at)} ({ago(job.expires_at)})" if job.expires_at else ""
    return f'"{" ".join(question.title.split())}"{whom}{until}'
