"""``ostinato reject``."""

from __future__ import annotations

import click

from ostinato.cli.asking import ask_each
from ostinato.cli.opening import store_options


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--reason", default="", help="Is kept with the job.")
@click.option("--by", metavar="NAME", help="Who says no. Default: the user of this process.")
@store_options
def command(job_id: str, reason: str, by: str | None, url: str | None, as_json: bool) -> int:
    """Say no to an approval.

    It fails, and a flow that waits for it gets `Rejected`."""
    return ask_each(url, [job_id], lambda job: job.reject(reason, by=by), "", as_json)
