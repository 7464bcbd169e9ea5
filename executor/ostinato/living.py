"""The executors that live in this process, and what becomes of them when it is forked or ends."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class Living(Protocol):
    """An executor, as far as the process is concerned."""

    def _furnish(self) -> None: ...

    def stop(self, grace: float) -> None: ...


_living: weakref.WeakSet[Living] = weakref.WeakSet()
watch = _living.add


def _after_fork() -> None:
    """The host application was forked (a pre-forking web server): threads and connections stayed
    behind. The child's executor is stopped, and opens the store itself when it is used."""
    for executor in list(_living):
        executor._furnish()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _stop_all() -> None:
    """The interpreter ends without stop(): end the children and release the leases, quickly."""
    for executor in list(_living):
        executor.stop(0)
