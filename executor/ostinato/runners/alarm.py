"""Calls that are due later, for whoever has a thread to make them."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from ostinato.runners.protocol import Run

SWEEP = 1024
"""The heap is not swept before it has so many alarms."""


class Alarms:
    """A heap of (time, call). Not a thread of its own: the owner asks how long to sleep.

    Most alarms are time limits of attempts that end long before them. Those of ended runs are
    swept out when the heap has doubled, so that it does not grow with every attempt of an hour.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None], Run | None]] = []
        self._order = itertools.count()
        self._lock = threading.Lock()
        self._sweep_at = SWEEP

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, seconds: float, call: Callable[[], None], run: Run | None = None) -> bool:
        """Call in so many seconds from now, unless the run has ended; True if nothing is due before."""
        item = (time.monotonic() + seconds, next(self._order), call, run)
        with self._lock:
            if len(self._heap) >= self._sweep_at:
                self._sweep()
            heapq.heappush(self._heap, item)
            return self._heap[0] is item

    def _sweep(self) -> None:
        self._heap = [item for item in self._heap if item[3] is None or not item[3].ended]
        heapq.heapify(self._heap)
        self._sweep_at = max(SWEEP, 2 * len(self._heap))

    def patience(self) -> float | None:
        """Seconds until the next call is due; None if there is none."""
        with self._lock:
            return max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None

    def ring(self) -> None:
        """Make the calls that are due."""
        while True:
            with self._lock:
                if not self._heap or self._heap[0][0] > time.monotonic():
                    return
                call = heapq.heappop(self._heap)[2]
            call()


class AlarmThread:
    """Alarms with a thread of their own, started when the first one is set."""

    def __init__(self, name: str) -> None:
        self._alarms = Alarms()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)

    def at(self, seconds: float, call: Callable[[], None], run: Run | None = None) -> None:
        with self._changed:
            if self._closed:
                return
            if self._alarms.at(seconds, call, run):
                self._changed.notify()
            if not self._thread.is_alive():
                self._thread.start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(self._alarms.patience())
                if self._closed:
                    return
            self._alarms.ring()
