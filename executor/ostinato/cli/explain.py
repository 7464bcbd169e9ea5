"""``ostinato explain``: why a job is where it is."""

from __future__ import annotations

import click

from ostinato.cli.opening import find_job, opened, store_options
from ostinato.cli.terminal import print_json


@click.command()
@click.argument("job_id", metavar="ID")
@store_options
def command(job_id: str, url: str | None, as_json: bool) -> None:
    """Tell why a job is where it is.

    Every reason why it does not start or go on, with the names of what it waits for, and what would help."""
    with opened(url) as executor:
        explanation = find_job(executor, job_id).explain()
    if as_json:
        print_json(explanation)
    else:
        click.echo(str(explanation))
