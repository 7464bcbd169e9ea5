"""A fork for a process that has one thread and never had another.

`os.fork` mends in the child what other threads may have left half done: locks, the table of
threads, the import system, the interpreter's own state. Without other threads nothing is half done,
and the mending touches pages that the kernel must then copy for each child: a fifth of what an
attempt costs. So `Fork` calls the C library's fork, and of the hooks of ``os.register_at_fork`` it
runs those of the tasks' modules and leaves out those of the standard library, which are about locks
and threads; only random numbers are seeded anew, as always. Forks that a task makes itself are
Python's own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

OURS = frozenset({"ostinato", "msgspec", "typing_extensions", "tomli", "_distutils_hack"})
"""Modules that are loaded before the tasks' and have no hooks."""
LINUX = sys.platform == "linux"

Hook = Callable[[], object]


class Fork:
    """Made before the tasks' modules are loaded, so that it learns of their hooks. Where somebody else
    came first, as a ``sitecustomize`` with hooks of its own does, it is `os.fork`."""

    def __init__(self) -> None:
        self._before: list[Hook] = []
        self._in_parent: list[Hook] = []
        self._in_child: list[Hook] = []
        self._bare: Callable[[], int] | None = None
        if LINUX and not _strangers():
            if "random" in sys.modules:
                self._in_child.append(sys.modules["random"].seed)
            self._bare = ctypes.PyDLL(None).fork
            self._listen()

    def _listen(self) -> None:
        register: Any = os.register_at_fork

        def listening(
            *, before: Hook | None = None, after_in_parent: Hook | None = None, after_in_child: Hook | None = None
        ) -> None:
            hooks = {"before": before, "after_in_parent": after_in_parent, "after_in_child": after_in_child}
            register(**{name: hook for name, hook in hooks.items() if hook is not None})
            self._before[:0] = [before] if before else []
            self._in_parent += [after_in_parent] if after_in_parent else []
            self._in_child += [after_in_child] if after_in_child else []

        os.register_at_fork = listening

    def __call__(self) -> int:
        """As `os.fork`: 0 in the child, its process id in the parent. Raises OSError."""
        if self._bare is None:
            return os.fork()
        _run(self._before)
        pid = self._bare()
        if pid < 0:  # no more processes or memory: Python's own says it properly
            return os.fork()
        _run(self._in_parent if pid else self._in_child)
        return pid


def _strangers() -> bool:
    """Whether modules are loaded whose hooks nobody told us of."""
    tops = {name.partition(".")[0] for name in sys.modules}
    unknown = tops - sys.stdlib_module_names - OURS
    return any(not name.startswith(("__main", "__mp_main", "__editable__")) and not _plain(name) for name in unknown)


def _plain(name: str) -> bool:
    """Whether it is a ``sitecustomize`` without hooks, as Debian and Ubuntu give to every Python."""
    if name != "sitecustomize":
        return False
    try:
        with open(sys.modules[name].__file__ or "", encoding="utf-8") as source:
            return "register_at_fork" not in source.read()
    except (AttributeError, OSError, ValueError):
        return False


def _run(hooks: Iterable[Hook]) -> None:
    for hook in hooks:
        with suppress(Exception):  # a hook that fails does not undo a fork
            hook()
