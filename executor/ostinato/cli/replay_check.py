"""``ostinato replay-check``: whether flows that are under way fit the code of a new release."""

from __future__ import annotations

import click

from ostinato.cli.app import load_app
from ostinato.cli.exits import FAILED, OK
from ostinato.cli.opening import find_job, opened, store_options
from ostinato.cli.terminal import counted, print_json, say
from ostinato.replaycheck import Fit


@click.command()
@click.argument("app")
@click.argument("job_ids", metavar="[ID]...", nargs=-1)
@store_options
def command(app: str, job_ids: tuple[str, ...], url: str | None, as_json: bool) -> int:
    """Check that flows under way fit the code of APP.

    Runs the code of those that wait, or of those named, against their record. Nothing is posted, recorded or
    called; what the code does besides waiting is done, as it is each time that a flow goes on. Exit code 1 if
    one no longer fits: it would be parked."""
    load_app(app)
    with opened(url) as executor:
        found = executor.replay_check(*(find_job(executor, text).id for text in job_ids))
    if as_json:
        print_json(found)
    else:
        _tell(found)
    return OK if all(one.fits for one in found) else FAILED


def _tell(found: list[Fit]) -> None:
    for one in found:
        if not one.fits:
            click.echo(f"{one.id} {one.task} {one.verdict}: {one.text}")
    unknown = sorted({one.task for one in found if one.verdict == "unknown"})
    if unknown:
        say(f"Not checked, since APP has no such task: {', '.join(unknown)}")
    odd = sum(not one.fits for one in found)
    click.echo(f"{counted(len(found), 'flow')}, {odd} no longer fit{'s' * (odd == 1)}")
