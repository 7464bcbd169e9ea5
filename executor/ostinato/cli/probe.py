"""The job that ``ostinato doctor`` runs to see how attempts start and end on this machine."""

from __future__ import annotations

import ctypes
import sys

from ostinato import task

PR_GET_PDEATHSIG = 2


@task(name="ostinato.cli.probe")
def probe() -> int:
    """The signal that this attempt's process gets when its parent dies; 0: none, -1: not on Linux."""
    if sys.platform != "linux":
        return -1
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_PDEATHSIG, ctypes.byref(number))
    return number.value
