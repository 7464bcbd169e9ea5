"""``ostinato ps``: queues and executors."""

from __future__ import annotations

import click

from ostinato import config
from ostinato.cli.opening import opened_store, store_options
from ostinato.cli.overview import ExecutorView, Overview, QueueView, look
from ostinato.cli.terminal import bar, console, plain, print_json, print_table, seconds

COLUMNS = ("ready", "running", "scheduled", "blocked", "waiting", "succeeded", "failed", "cancelled", "expired")


@click.command()
@store_options
def command(url: str | None, as_json: bool) -> None:
    """Show queues, executors and what needs attention."""
    with opened_store(url) as store:
        overview = look(store)
    if as_json:
        print_json(overview)
        return
    _show(overview, config.load({"url": url}).url)


def _show(overview: Overview, url: str) -> None:
    from ostinato.plugins import masked

    click.echo(f"store {masked(url)}\n")
    # always the columns that tell how it goes; the others if there is anything in them
    states = [state for state in COLUMNS if state in COLUMNS[:2] or overview.count(state)]
    head = [state.upper() for state in states]
    print_table(["QUEUE", *head], [_queue(queue, states) for queue in overview.queues], right=head)
    click.echo()
    executors = [_executor(one) for one in overview.executors]
    if executors:
        print_table(("EXECUTOR", "ID", "SLOTS", "LEASE", "UP", "QUEUES", "RUNNING"), executors, right=("LEASE", "UP"))
    for line in overview.attention:
        console().print(f"[yellow]![/] {plain(line)}", soft_wrap=True)


def _queue(queue: QueueView, states: list[str]) -> tuple[str, ...]:
    return (plain(queue.name), *(f"{queue.jobs.get(state, 0):,}" for state in states))


def _executor(one: ExecutorView) -> tuple[str, ...]:
    running = ", ".join(f"{plain(task)} ×{jobs}" for task, jobs in sorted(one.running.items()))
    return (
        plain(one.name),
        one.id,
        f"{bar(one.busy, one.slots)} {one.busy}/{one.slots}",
        seconds(one.lease) if one.alive else "[red]gone[/]",
        seconds(one.age),
        plain(",".join(one.queues)),
        " ".join([*(f"({state})" for state in _states(one)), running]),
    )


def _states(one: ExecutorView) -> list[str]:
    return [name for name, on in (("draining", one.draining), ("overloaded", one.overloaded)) if on]
