"""``ostinato queues``: what bounds queues, tasks and keys."""

from __future__ import annotations

from typing import Any

import click

from ostinato.capacities import Limit
from ostinato.cli.opening import opened, store_options
from ostinato.cli.terminal import local, plain, print_json, print_table, seconds
from ostinato.executor import TaskExecutor
from ostinato.model import SECOND
from ostinato.units import moment

COUNTED = ("ready", "running", "scheduled", "blocked")


@click.command()
@click.argument("action", required=False, type=click.Choice(["pause", "resume", "limit"]))
@click.argument("queue", required=False)
@click.option("--task", metavar="NAME", help="A task instead of a queue.")
@click.option("--key", metavar="NAME", help="A key instead of a queue (limit only).")
@click.option("--concurrency", metavar="N", help="At most so many run at a time; none removes the bound.")
@click.option(
    "--rate",
    metavar="N/TIME",
    help="At most so many start within this time, e.g. 100/1m; none removes the bound.",
)
@store_options
def command(
    action: str | None,
    queue: str | None,
    task: str | None,
    key: str | None,
    concurrency: str | None,
    rate: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Show or change what bounds queues, tasks and keys.

    Without an action: all queues, and the tasks and keys that have a limit. pause starts no more jobs of
    it, resume puts the limit of before in force again, limit sets bounds for the whole cluster."""
    bounds = {name: text for name, text in (("concurrency", concurrency), ("rate", rate)) if text is not None}
    if bounds and action != "limit":
        raise click.UsageError(f"--{next(iter(bounds))} belongs to: ostinato queues limit NAME.")
    if key is not None and action != "limit":
        raise click.UsageError("A key cannot be paused: ostinato queues limit --key NAME --concurrency 0.")
    with opened(url, create=action is not None) as executor:
        if action is None:
            found = _look(executor)
        elif action == "limit":
            executor.limit(queue=queue, task=task, key=key, **{name: _bound(name, bounds[name]) for name in bounds})
            word = "limited"
        else:
            done = (executor.pause if action == "pause" else executor.resume)(queue=queue, task=task)
            word = f"{action}d" if done else f"was {'paused already' if action == 'pause' else 'not paused'}"
    if action is None:
        _show(found, as_json)
    elif as_json:
        print_json({"queue": queue, "task": task, "key": key, "done": word})
    else:
        click.echo(f"{queue or task or key} {word}")


def _bound(name: str, text: str) -> Any:
    if text == "none":
        return None
    if name == "concurrency":
        if not text.isdecimal():
            raise click.UsageError(f"--concurrency {text}: give a whole number, or none.")
        return int(text)
    return text


def _look(executor: TaskExecutor) -> list[dict[str, Any]]:
    """Queues and what else is bounded, each with its jobs by state and its bounds."""
    jobs: dict[tuple[str, str], dict[str, int]] = {}
    for one in executor.count():
        for name in (("queue", one.queue), ("task", one.task)):
            states = jobs.setdefault(name, {})
            states[one.state] = states.get(one.state, 0) + one.jobs
    limits = {(limit.of, limit.name): limit for limit in executor.limits()}
    names = {*limits, *(name for name in jobs if name[0] == "queue")}
    order = {"queue": 0, "task": 1, "key": 2}
    return [
        _entry(*name, jobs.get(name, {}), limits.get(name))
        for name in sorted(names, key=lambda name: (order[name[0]], name))
    ]


def _entry(of: str, name: str, jobs: dict[str, int], limit: Limit | None) -> dict[str, Any]:
    rate = limit.rate if limit else None
    stop = limit.paused if limit else None
    return {
        "of": of,
        "name": name,
        "jobs": jobs,
        "concurrency": limit.concurrency if limit else None,
        "rate": None if rate is None else {"count": rate.count, "seconds": rate.per / SECOND},
        "paused": None if stop is None else {"since": moment(stop.at), "by": stop.by},
    }


def _show(found: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No queues yet.", err=True)
    else:
        counted = [state.upper() for state in COUNTED]
        print_table(
            ("NAME", *counted, "AT A TIME", "RATE", ""), map(_row, found), right=(*counted, "AT A TIME", "RATE")
        )


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    rate, stop = one["rate"], one["paused"]
    by_key = one["of"] == "key"  # who has which key, only the jobs know
    return (
        plain(one["name"] if one["of"] == "queue" else f"{one['of']} {one['name']}"),
        *("" if by_key else f"{one['jobs'].get(state, 0):,}" for state in COUNTED),
        "" if one["concurrency"] is None else f"{one['concurrency']:,}",
        "" if rate is None else f"{rate['count']:,} in {seconds(rate['seconds'])}",
        "" if stop is None else f"[yellow]paused[/] since {local(stop['since'])} by {plain(stop['by'])}",
    )
