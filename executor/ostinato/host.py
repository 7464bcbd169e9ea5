"""Which machine this is, and which processes of it are alive."""

from __future__ import annotations

import os
import platform
import sys

from ostinato.model import ExecutorInfo


def _host() -> str:
    """Tells machines, boots of a machine and process-id spaces (containers) from one another:
    a process id means something only within one of them."""
    parts = [platform.node()]
    for path, read in (("/proc/sys/kernel/random/boot_id", _text), ("/proc/self/ns/pid", os.readlink)):
        try:
            parts.append(read(path))
        except OSError:
            continue
    return "/".join(parts)


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def started(pid: int) -> int:
    """When a process was started, in ticks since boot; 0 where that cannot be known, -1 if it
    has ended and only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return -1 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0


def is_dead(executor: ExecutorInfo) -> bool:
    """Whether the process of this executor is surely gone: it ran on this host, and there is no
    such process now, or one that was started at another time."""
    if executor.host != HOST:
        return False
    try:
        os.kill(executor.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    if sys.platform != "linux":
        return False
    now = started(executor.pid)
    return now != 0 and now != executor.process


HOST = _host()
NAME = platform.node()
