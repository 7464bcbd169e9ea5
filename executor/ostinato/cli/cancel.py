"""``ostinato cancel``."""

from __future__ import annotations

import click

from ostinato.cli.asking import ask_each
from ostinato.cli.opening import store_options


@click.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--reason", default="cancelled", help="Is kept with the job.")
@store_options
def command(job_ids: tuple[str, ...], reason: str, url: str | None, as_json: bool) -> int:
    """Cancel jobs.

    Those that wait at once, those that run by telling them to stop, then by force."""
    refusal = "has ended already, so there is nothing to cancel"
    return ask_each(url, job_ids, lambda job: job.cancel(reason), refusal, as_json)
