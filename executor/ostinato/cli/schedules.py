"""``ostinato schedules``: look at schedules, and change when they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ostinato.cli.exits import OK
from ostinato.cli.opening import opened, store_options
from ostinato.cli.post import job_of_words
from ostinato.cli.terminal import ago, counted, local, plain, print_json, print_table
from ostinato.cli.times import time_of
from ostinato.errors import ConfigError
from ostinato.executor import TaskExecutor
from ostinato.rounds import Round
from ostinato.timetable import ScheduleHandle


@click.group(invoke_without_command=True)
@store_options
@click.pass_context
def command(context: click.Context, url: str | None, as_json: bool) -> int:
    """List schedules, or change them: see `ostinato schedules VERB --help`."""
    if context.invoked_subcommand is not None:
        return OK
    with opened(url) as executor:
        found = [one.status() for one in executor.schedules()]
    if as_json:
        print_json(found)
        return OK
    rows = [
        (
            plain(one.name),
            plain(one.trigger) + ("" if one.timezone == "UTC" else f" {one.timezone}"),
            plain(one.task),
            "[yellow]paused[/]" if one.paused else ago(one.next) if one.next else "",
            ago(one.last),
            ago(one.last_completed_at),
            _round(one.round),
        )
        for one in found
    ]
    print_table(("SCHEDULE", "RUNS", "TASK", "NEXT", "LAST TICK", "LAST SUCCESS", "LAST ROUND"), rows)
    return OK


def _round(one: Round | None) -> str:
    """What became of it; why, if no job of its own tells."""
    if one is None:
        return ""
    return f"{one.state} {ago(one.at)}" + (f": {plain(one.reason)}" if one.job_id is None else "")


def _verb(name: str, act: Callable[[ScheduleHandle], Any], said: str, text: str) -> None:
    """A verb that does one thing to one schedule."""

    @command.command(name, help=text)
    @click.argument("schedule")
    @store_options
    def verb(schedule: str, url: str | None, as_json: bool) -> int:
        with opened(url) as executor:
            handle = _find(executor, schedule)
            done = act(handle)
        job_id = getattr(done, "id", None)
        if as_json:
            print_json({"schedule": schedule, "done": said, **({} if job_id is None else {"id": job_id})})
        else:
            click.echo(job_id or f"{schedule} {said}")
        return OK


_verb("pause", ScheduleHandle.pause, "paused", "No more ticks until it is resumed; none of meanwhile are made up.")
_verb("resume", ScheduleHandle.resume, "resumed", "Go on from now.")
_verb("run", ScheduleHandle.run, "posted", "Post its job now, and print the job's id.")
_verb("remove", ScheduleHandle.remove, "removed", "Forget the schedule; its jobs stay.")


@command.command("next")
@click.argument("schedule")
@click.option("--count", type=click.IntRange(1, 10_000), default=5, show_default=True, help="How many.")
@store_options
def show_next(schedule: str, count: int, url: str | None, as_json: bool) -> int:
    """Show the coming ticks."""
    with opened(url) as executor:
        found = _find(executor, schedule).next(count)
    if as_json:
        print_json(found)
    else:
        for at in found:
            click.echo(f"{local(at)}  {ago(at)}")
    return OK


@command.command("backfill")
@click.argument("schedule")
@click.option("--from", "begin", required=True, metavar="TIME", help='The first tick, e.g. "2026-03-01T00:00+01:00".')
@click.option("--until", "end", required=True, metavar="TIME", help="The last tick.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@store_options
def backfill(schedule: str, begin: str, end: str, dry_run: bool, url: str | None, as_json: bool) -> int:
    """Post the jobs of all ticks of a time, oldest first; a tick that was made up is not made up again."""
    with opened(url) as executor:
        handle = _find(executor, schedule)
        first, last = time_of(begin), time_of(end)
        number = len(handle.ticks(first, last) if dry_run else handle.backfill(first, last))
    if as_json:
        print_json({"schedule": schedule, "ticks": number, "posted": not dry_run})
    else:
        click.echo(f"{counted(number, 'tick')} {'to post' if dry_run else 'posted'}")
    return OK


@command.command("add")
@click.argument("schedule")
@click.argument("words", metavar="TASK [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--app", metavar="APP", help="Module or file with the task, to check the arguments and use its policy.")
@click.option("--cron", help='Five or six fields, e.g. "0 3 * * *".')
@click.option("--every", metavar="DURATION", help="An interval.")
@click.option("--after", metavar="SCHEDULE", help="Run after each success of another schedule.")
@click.option("--timezone", metavar="ZONE", help="Of --cron, e.g. Europe/Paris. Default: UTC.")
@click.option(
    "--catch-up",
    type=click.Choice(["all", "latest", "none"]),
    default="latest",
    show_default=True,
    help="What of missed ticks is made up.",
)
@click.option(
    "--overlap",
    type=click.Choice(["skip", "queue", "allow", "cancel_previous"]),
    default="skip",
    show_default=True,
    help="What if the run before has not ended.",
)
@click.option("--queue", help="Default: the task's, else default.")
@click.option("--replace", is_flag=True, help="Take the place of the schedule of this name.")
@store_options
def add(schedule: str, words: tuple[str, ...], app: str | None, url: str | None, as_json: bool, **rules: Any) -> int:
    """Make a schedule for a task."""
    job = job_of_words(words, app)
    given = {name: value for name, value in rules.items() if value is not None}
    with opened(url, create=True) as executor:
        made = executor.schedule(schedule, job, **given).status()
    if as_json:
        print_json(made)
    else:
        click.echo(f"{schedule} {made.trigger}" + (f", next {local(made.next)}" if made.next else ""))
    return OK


def _find(executor: TaskExecutor, name: str) -> ScheduleHandle:
    for one in executor.schedules():
        if one.name == name:
            return one
    known = ", ".join(one.name for one in executor.schedules()) or "none"
    raise ConfigError(f"There is no schedule {name!r}. There are: {known}.")
