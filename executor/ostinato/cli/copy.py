"""``ostinato copy``."""

from __future__ import annotations

import click

from ostinato.cli.exits import OK
from ostinato.cli.opening import check_place
from ostinato.cli.terminal import counted, print_json, say
from ostinato.copying import Copied, copy
from ostinato.plugins import masked, open_store


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def command(source: str, target: str, as_json: bool) -> int:
    """Copy all jobs of the store SRC, with their attempts and limits, into the store DST.

    No executor may work on SRC meanwhile. SRC keeps its jobs; to copy again copies what is missing.
    Afterwards start the executors on DST.
    """
    for url in (source, target):
        check_place(url, create=url == target)
    stores = [open_store(source), open_store(target)]
    try:
        for store in stores:
            store.open()
        copied = copy(stores[0], stores[1], lambda so_far: _tell(so_far, as_json))
    finally:
        for store in stores:
            store.close()
    if as_json:
        print_json(copied)
    else:
        known = f", {counted(copied.known, 'job')} there already" if copied.known else ""
        click.echo(
            f"copied {counted(copied.jobs, 'job')} with {counted(copied.attempts, 'attempt')}{known}: "
            f"{masked(source)} → {masked(target)}"
        )
    return OK


def _tell(copied: Copied, as_json: bool) -> None:
    done = copied.jobs + copied.known
    if not as_json and done and done % 10_000 < 500:
        say(f"{done:,} jobs …")
