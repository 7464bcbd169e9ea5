"""Clocks: wall time in microseconds, and a clock that counts while the machine sleeps."""

from __future__ import annotations

import time


def now() -> int:
    """Microseconds since 1970 UTC by this machine's wall clock."""
    return time.time_ns() // 1000


def steady() -> int:
    """Microseconds since some point, never set back, counting suspended time where the system
    has such a clock (Linux), so that a lease runs out also while a laptop sleeps."""
    return time.clock_gettime_ns(_STEADY) // 1000


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
