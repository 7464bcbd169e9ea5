"""The clock of a database server, as well as it can be known without asking it each time."""

from __future__ import annotations

import time
from collections.abc import Callable

_KEPT = 10.0  # seconds until the clocks are compared again
_LOOKS = 3  # at the first comparison; the one with the quickest answer counts


class ServerClock:
    """Microseconds by the server's clock: this machine's steady clock, and how far they differ."""

    def __init__(self) -> None:
        self._difference = 0
        self._compared: tuple[float, float] | None = None

    def __call__(self) -> int:
        return _steady() + self._difference

    def is_old(self) -> bool:
        """Whether it is time to compare. The second clock is for machines that slept: their steady
        clock may have stood still meanwhile."""
        if self._compared is None:
            return True
        steady, wall = self._compared
        return time.monotonic() - steady > _KEPT or not 0 <= time.time() - wall <= _KEPT

    def compare(self, ask: Callable[[], int]) -> None:
        """``ask`` the server for its time in microseconds. What it says is true for some moment
        between question and answer: the middle is nearest."""
        looks = _LOOKS if self._compared is None else 1
        answers = []
        for _ in range(looks):
            asked = _steady()
            there = ask()
            answered = _steady()
            answers.append((answered - asked, there - (asked + answered) // 2))
        self._difference = min(answers)[1]
        self._compared = time.monotonic(), time.time()


def _steady() -> int:
    return time.monotonic_ns() // 1000
