"""One wish for several jobs: each is asked by itself, and the worst answer is the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from ostinato.cli.exits import OK, Refused, code_of
from ostinato.cli.opening import find_job, opened
from ostinato.cli.terminal import print_json, say
from ostinato.errors import AnswerError, ConfigError, JobNotFound
from ostinato.executor import TaskExecutor
from ostinato.handle import JobHandle


def ask_each(
    url: str | None, job_ids: Sequence[str], ask: Callable[[JobHandle], object], refusal: str, as_json: bool
) -> int:
    """Ask and report per job; ``ask`` answers False if it could not be done, or raises AnswerError."""
    with opened(url) as executor:
        answers = [_ask(executor, text, ask, refusal) for text in job_ids]
    if as_json:
        print_json([answer for answer, _ in answers])
    for answer, _ in answers:
        if "error" in answer:
            say(f"{click.style('Error:', fg='red')} {answer['error']}")
        elif not as_json:
            click.echo(f"{answer['id']} {'cancelling' if answer['cancelling'] else answer['state']}")
    return max((code for _, code in answers), default=OK)


def _ask(
    executor: TaskExecutor, text: str, ask: Callable[[JobHandle], object], refusal: str
) -> tuple[dict[str, Any], int]:
    try:
        job = find_job(executor, text)
        done = ask(job)
        status = job.status()
    except (AnswerError, JobNotFound, ConfigError) as error:
        return _complaint(text, error)
    if done is False:
        return _complaint(job.id, Refused(f"Job {job.id} {refusal} (it is {status.state})."))
    return {"id": job.id, "state": status.state, "cancelling": status.cancelling and not status.is_final}, OK


def _complaint(job_id: str, error: Exception) -> tuple[dict[str, Any], int]:
    return {"id": job_id, "error": str(error), "kind": type(error).__name__}, code_of(error)
