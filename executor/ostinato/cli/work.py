"""``ostinato work``: run an executor until it is told to stop.

    SIGTERM, SIGINT ──► inbox ──► 1st: drain   2nd: stop now   3rd: exit hard
    nothing is left ──►   └─────► drain (with --until-idle)

The handlers only note that a signal came; what is to be done is done by the main thread and the
thread that stops the executor, since a handler may interrupt any code that holds a lock.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

import click

from ostinato.cli.app import load_app
from ostinato.cli.exits import INTERRUPTED, OK
from ostinato.cli.narrator import Narrator
from ostinato.cli.opening import store_options
from ostinato.errors import ConfigError
from ostinato.executor import TaskExecutor

HEED = 0.5
"""Seconds until a signal is heeded, at the latest."""
MOMENT = 0.05
News = Literal["signal", "idle", "stopped"]


@click.command()
@click.argument("app")
@click.option("--slots", type=int, help="How much runs at a time. Default: the number of cores.")
@click.option("--queues", metavar="NAME,...", help="Names or globs of queues to take jobs from.")
@click.option("--log-store", metavar="FOLDER|URL", help="Where logs of ended attempts are kept.")
@click.option("--spool", metavar="FOLDER", help="Where logs are while attempts run.")
@click.option("--lease", metavar="DURATION", help="After so long a silence others take its jobs over.")
@click.option("--grace", metavar="DURATION", help="How long running jobs may go on when it is stopped.")
@click.option(
    "--max-cpu", metavar="SHARE", type=float, help="Take no jobs while more of the processors is in use, e.g. 0.8."
)
@click.option(
    "--max-memory", metavar="SHARE", type=float, help="Take no jobs while more of the memory is in use, e.g. 0.9."
)
@click.option(
    "--max-load", metavar="LOAD", type=float, help="Take no jobs while the load average per core is higher, e.g. 1.5."
)
@click.option("--name", help="How it is called in lists. Default: the host's name.")
@click.option("--until-idle", is_flag=True, help="Stop when there is nothing left to run.")
@store_options
def command(
    app: str,
    queues: str | None,
    grace: str | None,
    until_idle: bool,
    url: str | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """Run an executor for the tasks of APP.

    APP is a module, pkg.module, a file.py, or any of them with :name of a TaskExecutor in it.

    The first SIGTERM or Ctrl-C lets running jobs end (for --grace), the second stops them now and
    hands them back, the third exits at once.
    """
    executor = load_app(app)
    given = {"url": url, "queues": queues.split(",") if queues else None, "grace": grace, **settings}
    if executor is None:
        executor = TaskExecutor(**given)
    elif any(value is not None for value in given.values()):
        odd = ", ".join(f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None)
        raise ConfigError(f"{app} has settings of its own: leave out {odd}, or :{app.partition(':')[2]}.")
    with Narrator(executor, as_json) as narrator:
        return _work(executor, narrator, until_idle)


def _work(executor: TaskExecutor, narrator: Narrator, until_idle: bool) -> int:
    inbox: queue.SimpleQueue[News] = queue.SimpleQueue()
    bell = _Bell(inbox)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, bell)
    executor.start()
    narrator.started()
    if until_idle:
        _in_thread(_then_tell, inbox, "idle", executor.wait)
    signals = 0
    while (news := _next(inbox)) != "stopped":
        signals += news == "signal"
        if signals == 3:
            os._exit(INTERRUPTED)  # the attempts end with us, and their leases run out
        if signals == 2:
            narrator.say("stopping now; what runs is handed back")
            _in_thread(executor.stop, 0)
        elif not narrator.draining:
            narrator.drain("nothing is left" if news == "idle" else "draining; a second signal stops at once")
            _in_thread(_then_tell, inbox, "stopped", executor.stop)
    executor.close()
    narrator.say("stopped")
    return OK


def _next(inbox: queue.SimpleQueue[News]) -> News:
    """The next news. Awake now and then: the kernel may give a signal to another thread, and then
    Python calls the handler only when this one does something."""
    while True:
        try:
            return inbox.get(timeout=HEED)
        except queue.Empty:
            continue


class _Bell:
    """Notes signals. The same one again within a moment is no second one: `timeout` and some shells
    signal the process and then its group."""

    def __init__(self, inbox: queue.SimpleQueue[News]) -> None:
        self._inbox = inbox
        self._heard: dict[int, float] = {}

    def __call__(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if now - self._heard.get(number, -MOMENT) >= MOMENT:
            self._heard[number] = now
            self._inbox.put("signal")


def _in_thread(call: Callable[..., object], *args: object) -> None:
    threading.Thread(target=call, args=args, daemon=True).start()


def _then_tell(inbox: queue.SimpleQueue[News], news: News, call: Callable[[], object]) -> None:
    call()
    inbox.put(news)
