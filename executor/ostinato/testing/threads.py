"""Calls at the same time: threads that start together at a barrier."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

T = TypeVar("T")
A = TypeVar("A")


def together(call: Callable[[T], A], items: Sequence[T]) -> list[A]:
    """Call with every item at once, each in a thread of its own; the answers in order."""
    barrier = Barrier(len(items))

    def start(item: T) -> A:
        barrier.wait(timeout=10)
        return call(item)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # else each call would be over before the next thread gets a turn
    try:
        with ThreadPoolExecutor(len(items)) as pool:
            return list(pool.map(start, items))
    finally:
        sys.setswitchinterval(interval)
