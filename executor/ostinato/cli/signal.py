"""``ostinato signal``."""

from __future__ import annotations

import click

from ostinato.cli.opening import opened, store_options
from ostinato.cli.post import value_of
from ostinato.cli.terminal import print_json


@click.command()
@click.argument("name")
@click.argument("key", default="")
@click.option("--payload", metavar="JSON", default="null", help="Comes with it; text if it is not JSON.")
@store_options
def command(name: str, key: str, payload: str, url: str | None, as_json: bool) -> None:
    """Tell the flows that wait for an event that it has come.

    Also those that will wait for it. An event that was told before stays as it was."""
    with opened(url) as executor:
        given = executor.signal(name, key, value_of(payload))
    if as_json:
        print_json({"name": name, "key": key, "given": given})
    else:
        click.echo(f"{f'{name} {key}'.strip()} {'given' if given else 'was given before'}")
