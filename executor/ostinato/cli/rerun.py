"""``ostinato rerun``."""

from __future__ import annotations

import click

from ostinato.cli.asking import ask_each
from ostinato.cli.opening import store_options


@click.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@store_options
def command(job_ids: tuple[str, ...], url: str | None, as_json: bool) -> int:
    """Run ended jobs again.

    With a fresh budget of attempts; their history is kept."""
    refusal = "has not ended, so it cannot be run again yet. Cancel it first, or wait for it"
    return ask_each(url, job_ids, lambda job: job.rerun(), refusal, as_json)
