"""``ostinato resources``: named resources and who holds them."""

from __future__ import annotations

from typing import Any

import click

from ostinato.capacities import Resource
from ostinato.cli.opening import opened, store_options
from ostinato.cli.terminal import local, plain, print_json, print_table
from ostinato.units import moment

SHOWN = 3


@click.command()
@click.argument("action", required=False, type=click.Choice(["set", "out", "back"]))
@click.argument("name", required=False)
@click.argument("units", required=False)
@store_options
def command(action: str | None, name: str | None, units: str | None, url: str | None, as_json: bool) -> None:
    """Show or change named resources.

    Without an action: all of them, and who holds them. set NAME UNITS declares one or changes its units
    (none removes it), out takes it out of service, back puts it back."""
    if action is not None and name is None:
        raise click.UsageError(f"Name the resource: ostinato resources {action} NAME.")
    if (action == "set") != (units is not None):
        raise click.UsageError("Units belong to set, which needs them: ostinato resources set NAME UNITS.")
    with opened(url, create=action == "set") as executor:
        if action is None:
            _show(executor.resources(), as_json)
            return
        if action == "set":
            executor.resource(str(name), _units(str(units)))
            word = "removed" if units == "none" else f"has {units}"
        elif action == "out":
            word = "out of service" if executor.pause(resource=name) else "was out of service already"
        else:
            word = "back in service" if executor.resume(resource=name) else "was in service already"
    if as_json:
        print_json({"resource": name, "done": word})
    else:
        click.echo(f"{name} {word}")


def _units(text: str) -> int | None:
    if text != "none" and not text.isdecimal():
        raise click.UsageError(f"{text!r} are no units: give a whole number, or none to remove the resource.")
    return None if text == "none" else int(text)


def _show(found: list[Resource], as_json: bool) -> None:
    if as_json:
        print_json([_entry(one) for one in found])
    elif not found:
        click.echo("No resources. Declare one: ostinato resources set NAME UNITS", err=True)
    else:
        print_table(("NAME", "UNITS", "FREE", "HELD BY", ""), map(_row, found), right=("UNITS", "FREE"))


def _entry(one: Resource) -> dict[str, Any]:
    stop = one.paused
    return {
        "name": one.name,
        "units": one.units,
        "free": one.free,
        "held": one.held,
        "in_service": one.in_service,
        "out": None if stop is None else {"since": moment(stop.at), "by": stop.by},
    }


def _row(one: Resource) -> tuple[str, ...]:
    holders = [f"{job_id} ({units})" for job_id, units in list(one.held.items())[:SHOWN]]
    more = f" and {len(one.held) - SHOWN} more" if len(one.held) > SHOWN else ""
    stop = one.paused
    out = "" if stop is None else f"[yellow]out of service[/] since {local(moment(stop.at))} by {plain(stop.by)}"
    return plain(one.name), f"{one.units:,}", f"{one.free:,}", f"{', '.join(holders)}{more}", out
