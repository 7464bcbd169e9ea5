"""A clock that stands still until it is told to move."""

from __future__ import annotations

from ostinato.model import SECOND


class FakeClock:
    """Called, it tells the time in microseconds, as the stores want it."""

    def __init__(self, now: int = 1_700_000_000 * SECOND) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> int:
        self.now += round(seconds * SECOND)
        return self.now
