"""``ostinato rerun``."""

from __future__ import annotations

import click

from ostinato.cli.asking import ask_each
from ostinato.cli.opening import store_options


@click.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@store_options
def command(job_ids: tuple[str, ...], url: str | None, as_json: bool) -> int:
    """Run ended jobs again, and parked flows.

    With a fresh budget of attempts; their history is kept. Of a flow that did not succeed, its steps that did
    not are run again too, but not those whose failure it caught and went on."""
    refusal = "cannot be run again now: it has not ended, or another job holds its unique key"
    return ask_each(url, job_ids, lambda job: job.rerun(), refusal, as_json)
