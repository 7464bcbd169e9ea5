"""``ostinato post``: one job from the command line."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ostinato import host
from ostinato.cli.app import load_app
from ostinato.cli.exits import FAILED, OK
from ostinato.cli.opening import find_job, opened, store_options
from ostinato.cli.terminal import print_json, say
from ostinato.cli.times import duration, time_of
from ostinato.errors import JobEnded
from ostinato.executor import TaskExecutor
from ostinato.handle import JobHandle
from ostinato.model import Job
from ostinato.stranded import missing


class Post(click.Command):
    """What follows the name of a script or command belongs to it, options too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = not {"--script", "--command"} & set(args)
        return super().parse_args(ctx, args)


@click.command(cls=Post, epilog="Values are read as JSON where they are JSON, else as text: width=64 name=cat")
@click.argument("words", metavar="TASK [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--app", metavar="APP", help="Module or file with the task, to check the arguments and use its policy.")
@click.option("--script", is_flag=True, help="Post a Python file: --script PATH [ARGUMENT]...")
@click.option("--command", "program", is_flag=True, help="Post a command line: --command -- PROGRAM [ARGUMENT]...")
@click.option("--queue", help="Default: the task's, else default.")
@click.option("--priority", help="high, normal, low or a whole number.")
@click.option("--delay", metavar="DURATION", help='Not before so long from now, e.g. "90s".')
@click.option("--run-at", metavar="TIME", help='Not before, e.g. "2026-03-01T08:00+01:00".')
@click.option("--deadline", metavar="DURATION", help="Raise its priority as this comes near.")
@click.option("--deadline-lead", metavar="DURATION", help="So long before its deadline it becomes HIGH.")
@click.option("--expires", metavar="DURATION", help="Give it up if nobody has started it by then.")
@click.option("--front", is_flag=True, default=None, help="Before all others of its priority.")
@click.option("--slots", type=int, help="What it costs of an executor.")
@click.option("--resource", "resources", metavar="NAME=UNITS", multiple=True, help="Held while it runs, e.g. gpu=1.")
@click.option("--key", help="Jobs of one key can be limited together: --per-key, or ostinato queues limit.")
@click.option("--per-key", type=int, help="At most so many jobs of its key run at a time.")
@click.option("--runner", help="How an attempt is run: subprocess, pool, thread or asyncio.")
@click.option("--timeout", metavar="DURATION", help="Stop an attempt that runs longer.")
@click.option("--grace", metavar="DURATION", help="How long it may go on when it is stopped.")
@click.option("--max-attempts", type=int, help="How often it may fail.")
@click.option("--backoff", metavar="SECONDS", type=float, help="From one attempt to the next.")
@click.option("--sink", type=int, help="How much priority it loses with each failure.")
@click.option("--on-lost", help="What if its executor is lost: retry or fail.")
@click.option("--memory", metavar="SIZE", help="Limit of address space of an attempt, e.g. 512M.")
@click.option("--cpu", metavar="DURATION", help="Limit of processor time of an attempt.")
@click.option("--files", type=int, help="Limit of open files of an attempt.")
@click.option("--nice", type=int, help="0 to 19: how much an attempt leaves to others.")
@click.option("--tag", "tags", multiple=True, help="May be given several times.")
@click.option("--after", metavar="ID", multiple=True, help="Not before this job has ended. May be given several times.")
@click.option("--after-failure", help="What if one of those does not succeed: cancel (default), fail or run.")
@click.option("--unique", metavar="KEY", help="If a live job has this key, print its id and post nothing.")
@click.option("--wait", is_flag=True, help="Wait for it and print its result; exit code 1 if it fails.")
@click.option("--wait-timeout", metavar="DURATION", help="Wait at most so long (exit code 5).")
@store_options
def command(
    words: tuple[str, ...],
    app: str | None,
    script: bool,
    program: bool,
    wait: bool,
    wait_timeout: str | None,
    url: str | None,
    as_json: bool,
    **placement: Any,
) -> int:
    """Post a job and print its id."""
    if app is not None:
        load_app(app)
    job = _job(words, script, program, checked=app is not None)
    with opened(url, create=True) as executor:
        placement["after"] = [find_job(executor, text) for text in placement["after"]]
        handle = executor.post(job, **_options(placement))
        if wait:
            say(handle.id)
            _warn(executor, job, placement["queue"])
            return _result(handle, None if wait_timeout is None else duration(wait_timeout, "wait_timeout"), as_json)
    if as_json:
        print_json({"id": handle.id})
    else:
        click.echo(handle.id)
    return OK


def job_of_words(words: Sequence[str], app: str | None) -> Job:
    """The job that ``TASK KEY=VALUE ...`` stands for; checked, if the app is given."""
    if app is not None:
        load_app(app)
    return _job(words, script=False, program=False, checked=app is not None)


def _result(handle: JobHandle, patience: float | None, as_json: bool) -> int:
    try:
        result = handle.result(patience)
    except JobEnded as error:
        say(str(error))
        if as_json:
            failure = {"error": str(error), "kind": type(error).__name__}
            print_json({"id": handle.id, "state": handle.status().state, **failure})
        return FAILED
    print_json({"id": handle.id, "state": "succeeded", "result": result} if as_json else result)
    return OK


def _job(words: Sequence[str], script: bool, program: bool, checked: bool) -> Job:
    if script and program:
        raise click.UsageError("Give --script or --command, not both.")
    if script:
        return Job.script(*words)
    if program:
        return Job.command(list(words))
    name, *pairs = words
    texts = dict(_pair(word) for word in pairs)
    if not checked:
        from ostinato.codec import encode_args
        from ostinato.names import check_name

        return Job(
            task=check_name("task", name), args=encode_args({key: value_of(text) for key, text in texts.items()}, name)
        )
    from ostinato.task import find_task

    task = find_task(name)
    hints = {key: one.annotation for key, one in inspect.signature(task.function).parameters.items()}
    values = {key: text if hints.get(key) in (str, "str") else value_of(text) for key, text in texts.items()}
    return task.job(**values)


def _pair(word: str) -> tuple[str, str]:
    key, equals, text = word.partition("=")
    if not equals or not key.isidentifier():
        raise click.UsageError(f"{word!r} is no argument of a task: write KEY=VALUE, such as width=64.")
    return key, text


def value_of(text: str) -> Any:
    """What was typed, as JSON where it is JSON, else as text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _options(placement: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as `TaskExecutor.post` takes them."""
    given = {name: value for name, value in placement.items() if value not in (None, (), [])}
    if str(given.get("priority", "")).lstrip("-").isdecimal():
        given["priority"] = int(given["priority"])
    if "run_at" in given:
        given["run_at"] = time_of(given["run_at"])
    if "resources" in given:
        given["resources"] = dict(_units(word) for word in given["resources"])
    return given


def _units(word: str) -> tuple[str, int]:
    name, _, units = word.rpartition("=")
    if not name or not units.isdecimal():
        raise click.UsageError(f"{word!r} is no resource with its units: write NAME=UNITS, such as gpu=1.")
    return name, int(units)


def _warn(executor: TaskExecutor, job: Job, queue: str | None) -> None:
    """Who waits should know if nobody is there to run it."""
    lane = queue or job.queue
    living = [one for one in executor.executors() if not host.is_dead(one)]
    why = missing(job.task, lane, job.version, job.slots, living)
    if why:
        say(f"It will wait: {why}")
