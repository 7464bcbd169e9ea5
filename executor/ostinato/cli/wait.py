"""``ostinato wait``: block until jobs have ended."""

from __future__ import annotations

import time

import click

from ostinato.cli.exits import FAILED, OK, TIMEOUT
from ostinato.cli.opening import find_job, opened, store_options
from ostinato.cli.terminal import print_json, say
from ostinato.cli.times import duration
from ostinato.status import JobStatus


@click.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--timeout", metavar="DURATION", help='Give up after this long, e.g. 30 or "5m"; the jobs go on.')
@store_options
def command(job_ids: tuple[str, ...], timeout: str | None, url: str | None, as_json: bool) -> int:
    """Wait until all of these jobs have ended. Exit code 1 if one did not succeed, 5 on timeout."""
    patience = None if timeout is None else duration(timeout, "timeout")
    until = None if patience is None else time.monotonic() + patience
    ended: list[JobStatus] = []
    with opened(url) as executor:
        for job in [find_job(executor, text) for text in job_ids]:
            job.wait(None if until is None else max(0.0, until - time.monotonic()))
            ended.append(job.status())
            if not as_json:
                click.echo(f"{job.id} {ended[-1].state}")
    late = [one for one in ended if not one.is_final]
    if as_json:
        print_json(ended)
    if late:
        say(
            f"Not ended after {timeout}: {', '.join(f'{one.id} ({one.state})' for one in late)}. They go on regardless."
        )
        return TIMEOUT
    return OK if all(one.state == "succeeded" for one in ended) else FAILED
