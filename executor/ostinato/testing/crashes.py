"""The crash sweep: a scenario is killed before and after each call of its store, then gone on with.

    nursery (clean, one thread) ── fork ──► the scenario, which kills itself at call n
                │
                └──────────────── fork ──► the same scenario again: it finds what the first one left,
                                           ends it, and writes down what the store keeps

    python -m ostinato.testing.crashes 'sqlite:////tmp/{name}.db' /tmp/histories

Each point leaves a history in a folder of its own; `sweep` gives them to the checker. Attempts run in
threads, so that all that happens is in the one process that dies.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from ostinato import TaskExecutor
from ostinato.errors import OstinatoError
from ostinato.plugins import open_store
from ostinato.testing.checker import check
from ostinato.testing.faulty_store import faulty
from ostinato.testing.history import Facts, Log, read
from ostinato.testing.invariants import Violation
from ostinato.testing.scenarios import PATIENCE, SCENARIOS
from ostinato.testing.witnesses import Client, keep, listen, still_registered

Side = Literal["before", "after"]
SIDES: tuple[Side, ...] = ("before", "after")


class Point(Struct, frozen=True):
    """Where a scenario was killed (``verb`` as it turned out), and what the checker says of the rest."""

    number: int
    side: Side
    verb: str
    violations: list[Violation]


class SweepFailed(OstinatoError, RuntimeError):
    """A scenario did not come to its end after a crash."""


def sweep(
    url: str, folder: Path | str, sides: Sequence[Side] = SIDES, step: int = 1, scenario: str = "jobs"
) -> list[Point]:
    """Kill the `SCENARIOS` of this name at every ``step``-th call on these sides, and judge what came of it.

    ``{name}`` in ``url`` is replaced by a word of its own for each point, so that each begins with an
    empty store. Raises SweepFailed if a scenario does not come to its end.
    """
    argv = [sys.executable, "-m", "ostinato.testing.crashes", url, str(folder), ",".join(sides), str(step), scenario]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SweepFailed(f"The crash sweep stopped:\n{done.stdout}\n{done.stderr}")
    points = []
    for line in done.stdout.splitlines():
        number, side, verb, where = line.split(" ", 3)
        points.append(Point(int(number), side, verb, check(read(where))))  # type: ignore[arg-type]
    return points


# the scenario


def play(name: str, url: str, folder: Path, first: bool) -> None:
    log = Log(folder / f"{'first' if first else 'second'}.jsonl")
    executor = TaskExecutor(url, slots=2, log_store=str(folder / "logs"), spool=str(folder / "spool"), poll=0.5)
    listen(executor, log)
    with executor:
        SCENARIOS[name](executor, Client(executor, log), url, str(folder / "effects.jsonl"))
        if not first:
            until_logged(executor)
    executor.close()
    log.close()


def until_logged(executor: TaskExecutor) -> None:
    """Until the logs of all attempts are uploaded, those of the dead too; if they never are, the checker
    says which."""
    never, until = threading.Event(), time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if all(one.log is not None for job in executor.jobs() for one in job.status().attempts):
            return
        never.wait(0.02)


def finale(url: str, folder: Path) -> None:
    """What the store keeps, once all is over."""
    log = Log(folder / "store.jsonl")
    store = open_store(url)
    store.open()
    keep(store, log)
    log.write(Facts(slots=2, left=tuple(still_registered(store))))
    store.close()
    log.close()


# the nursery


class Bomb:
    """Counts the calls of the store, and kills this process at one of them."""

    def __init__(self, number: int, side: Side, counted: Path) -> None:
        self._number, self._side, self._counted = number, side, counted
        self._numbers = itertools.count(1)  # from several threads

    def __call__(self, verb: str, call: Callable[[], Any]) -> Any:
        if verb == "now":  # changes nothing, and is asked again and again
            return call()
        hit = next(self._numbers) == self._number
        if hit:
            self._counted.write_text(verb)
        if hit and self._side == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = call()
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


def forked(work: Callable[[], None]) -> int:
    """Do the work in a child; its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def explode(scenario: str, url: str, folder: Path, number: int, side: Side) -> str | None:
    """One point of the sweep: the verb at which it was killed, or None if there is no such call."""
    folder.mkdir(parents=True)
    counted = folder / "verb"

    def dying() -> None:
        with faulty(Bomb(number, side, counted)):
            play(scenario, url, folder, first=True)

    status = forked(dying)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status != 0:
        raise SweepFailed(f"the scenario failed by itself before call {number}")

    def going_on() -> None:
        play(scenario, url, folder, first=False)
        finale(url, folder)

    if forked(going_on):
        raise SweepFailed(f"after a crash {side} call {number} the scenario does not come to its end")
    return counted.read_text() if killed else None


def main(url: str, folder: str, sides: str = ",".join(SIDES), step: str = "1", scenario: str = "jobs") -> None:
    open_store(url.replace("{name}", "unused"))  # so that the backend is imported once, and not in every child
    for at, side in enumerate(sides.split(",")):
        for number in itertools.count(1 + at * (int(step) // 2), int(step)):  # so that they take turns
            name = f"{side}{number}"
            where = Path(folder) / name
            verb = explode(scenario, url.replace("{name}", name), where, number, side)  # type: ignore[arg-type]
            if verb is None:
                break
            sys.stdout.write(f"{number} {side} {verb} {where}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
