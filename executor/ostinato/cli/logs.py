"""``ostinato logs``: the log of an attempt, as it is or as it grows."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from ostinato.cli.opening import find_job, opened, store_options
from ostinato.handle import JobHandle


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the attempt has ended.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Default: the newest.")
@click.option("--log-store", metavar="FOLDER|URL", help="Where logs are kept, if it is not the default of the store.")
@store_options
def command(
    job_id: str, follow: bool, attempt: int | None, log_store: str | None, url: str | None, as_json: bool
) -> None:
    """Print the log of a job.

    Readable on a terminal; when piped, the JSON lines as they are."""
    with opened(url, log_store=log_store) as executor:
        lines = _lines(find_job(executor, job_id), attempt, follow)
        if sys.stdout.isatty() and not as_json:
            from ostinato.cli.pretty import pretty

            lines = map(pretty, lines)
        for line in lines:
            click.echo(line)
            if follow:
                sys.stdout.flush()


def _lines(job: JobHandle, attempt: int | None, follow: bool) -> Iterable[str]:
    if not follow:
        return job.logs(attempt).splitlines()
    if attempt is not None and attempt > job.status().attempt:
        return job.logs(attempt)  # raises, and says how many there are
    return job.tail(attempt)
