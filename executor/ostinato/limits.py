"""Limits that the operating system enforces on one attempt's process."""

from __future__ import annotations

import math
import os
import resource

from ostinato.model import SECOND
from ostinato.wire import Order

Saved = list[tuple[int, tuple[int, int]]]


def apply(order: Order) -> Saved:
    """Set the order's limits on this process; returns what they were (soft limits only are
    lowered, so that a reused process can take them back)."""
    saved: Saved = []
    if order.memory is not None:
        saved.append(_lower(resource.RLIMIT_AS, order.memory))
    if order.cpu is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        saved.append(_lower(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime + order.cpu / SECOND)))
    if order.files is not None:
        saved.append(_lower(resource.RLIMIT_NOFILE, order.files))
    if order.nice is not None:
        os.setpriority(os.PRIO_PROCESS, 0, order.nice)
    return saved


def restore(saved: Saved) -> None:
    for kind, limits in saved:
        resource.setrlimit(kind, limits)


def _lower(kind: int, soft: int) -> tuple[int, tuple[int, int]]:
    before = resource.getrlimit(kind)
    hard = before[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    return kind, before
