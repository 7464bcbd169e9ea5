"""``ostinato migrate``."""

from __future__ import annotations

import click

from ostinato import config
from ostinato.cli.opening import check_place, store_options
from ostinato.cli.terminal import counted, print_json
from ostinato.errors import ConfigError
from ostinato.plugins import masked, open_store
from ostinato.storage import Migrates


@click.command()
@click.argument("place", metavar="[URL]", required=False)
@click.option("--sql", is_flag=True, help="Print the statements instead, for a database administrator.")
@store_options
def command(place: str | None, sql: bool, url: str | None, as_json: bool) -> int:
    """Bring the tables of a store to this release.

    Stores do so by themselves when they are opened, unless their URL says migrate=off."""
    where = config.load({"url": place or url}).url
    check_place(where, create=False)
    store = open_store(where)
    if not isinstance(store, Migrates):
        raise ConfigError(f"The schema of {masked(where)} has no versions: there is nothing to migrate.")
    done = store.migrate(run=not sql)
    if as_json:
        print_json(done)
    elif sql:
        click.echo("\n".join(f"{text};" for text in ("BEGIN", *done.statements, "COMMIT")) if done.statements else "")
    elif not done.statements:
        click.echo(f"Nothing to do: {masked(where)} has version {done.after}.")
    else:
        before = "Made" if done.before is None else f"From version {done.before}"
        click.echo(f"{before} to version {done.after}, by {counted(len(done.statements), 'statement')}.")
    return 0
