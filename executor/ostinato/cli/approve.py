"""``ostinato approve``."""

from __future__ import annotations

import click

from ostinato.cli.asking import ask_each
from ostinato.cli.opening import store_options
from ostinato.cli.post import value_of


@click.command()
@click.argument("job_id", metavar="ID")
@click.option("--value", metavar="JSON", default="true", show_default=True, help="The answer; text if it is not JSON.")
@click.option("--by", metavar="NAME", help="Who answers. Default: the user of this process.")
@store_options
def command(job_id: str, value: str, by: str | None, url: str | None, as_json: bool) -> int:
    """Answer an approval.

    `ostinato jobs --state waiting` lists those that wait for an answer, `ostinato show ID` tells what is asked."""
    return ask_each(url, [job_id], lambda job: job.approve(value_of(value), by=by), "", as_json)
