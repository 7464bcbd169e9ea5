"""``ostinato check-history``: whether a recorded history keeps the promises."""

from __future__ import annotations

import click

from ostinato.cli.exits import FAILED, OK
from ostinato.cli.terminal import print_json


@click.command("check-history")
@click.argument("folder", metavar="DIR")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def command(folder: str, as_json: bool) -> int:
    """Check a recorded history for broken promises.

    DIR holds what clients, tasks and executors saw, and what the store kept, in files *.jsonl as
    ostinato.testing writes them. Exit code 1 if any promise was broken."""
    from ostinato.testing.checker import check, report, summary
    from ostinato.testing.history import read

    history = read(folder)
    violations = check(history)
    if as_json:
        print_json({"calls": len(history.calls), "jobs": len(history.kept), "violations": violations})
    elif violations:
        click.echo(report(violations))
    else:
        click.echo(f"no violation in {summary(history)}")
    return FAILED if violations else OK
