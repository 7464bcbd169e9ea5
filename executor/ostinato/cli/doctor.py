"""``ostinato doctor``: whether everything that jobs need is in order here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
from msgspec import Struct

from ostinato.cli.checks import CHECKS, Check, Patient
from ostinato.cli.exits import FAILED, OK, UNREACHABLE
from ostinato.cli.opening import store_options
from ostinato.cli.terminal import console, plain, print_json

MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "failed": "[red]✗[/]"}


class Report(Struct, frozen=True):
    checks: list[Check]


@click.command()
@click.option("--log-store", metavar="FOLDER|URL", help="As for `ostinato work`.")
@click.option("--spool", metavar="FOLDER", help="As for `ostinato work`.")
@store_options
def command(log_store: str | None, spool: str | None, url: str | None, as_json: bool) -> int:
    """Check that all is in order here.

    Store, log store, spool, processes, disk and clocks. Exit code 0 if nothing failed."""
    checks: list[Check] = []
    with Patient({"url": url, "log_store": log_store, "spool": spool}) as patient:
        for check in CHECKS:
            for result in _run(check, patient):
                checks.append(result)
                if not as_json:
                    console().print(f"{MARKS[result.outcome]} {result.name:<12} {plain(result.said)}", soft_wrap=True)
                    if result.fix:
                        click.echo(f"               {result.fix}")
    if as_json:
        print_json(Report(checks))
    failed = {check.name for check in checks if check.outcome == "failed"}
    return UNREACHABLE if "store" in failed else FAILED if failed else OK


def _run(check: Callable[[Patient], Iterator[Check]], patient: Patient) -> Iterator[Check]:
    """A check that fails in a way it did not foresee is a failed check, not the end of the others."""
    try:
        yield from check(patient)
    except Exception as error:
        yield Check(check.__name__.replace("_", " "), "failed", f"{type(error).__name__}: {error}")
