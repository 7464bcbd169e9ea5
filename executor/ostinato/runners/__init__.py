"""The ways to run an attempt: the Runner protocol and its makers."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ostinato.runners.protocol import Run, Runner, Why

__all__ = ["Run", "Runner", "Runners", "Why", "make_runner"]


def make_runner(name: str, *, slots: int, start_method: str, check_log: Callable[[str], object]) -> Runner:
    """A runner by its name, not opened yet. Only the one that is used is imported."""
    if name == "thread":
        from ostinato.runners.thread import ThreadRunner

        return ThreadRunner()
    if name == "asyncio":
        from ostinato.runners.aio import AsyncioRunner

        return AsyncioRunner()
    from ostinato.runners.subprocess import SubprocessRunner

    return SubprocessRunner(slots, reuse=name == "pool", start_method=start_method, check_log=check_log)


class Runners:
    """The runners of one executor, each opened when the first job needs it."""

    def __init__(self, make: Callable[[str], Runner]) -> None:
        self._make = make
        self._open: dict[str, Runner] = {}
        self._lock = threading.Lock()
        self._lease_ends: int | None = None

    def get(self, name: str) -> Runner:
        runner = self._open.get(name)
        if runner is not None:
            return runner
        with self._lock:
            if name not in self._open:
                runner = self._make(name)
                if self._lease_ends is not None:
                    runner.beat(self._lease_ends)
                runner.open()
                self._open[name] = runner
            return self._open[name]

    def beat(self, lease_ends: int) -> None:
        """Pass on that the leases were renewed until then (`ostinato.clock.steady`)."""
        self._lease_ends = lease_ends
        for runner in list(self._open.values()):
            runner.beat(lease_ends)

    def close(self) -> None:
        with self._lock:
            for runner in self._open.values():
                runner.close()
            self._open.clear()
