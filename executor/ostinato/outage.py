"""When to try again: jittered, doubling pauses while something is out of order."""

from __future__ import annotations

import random
from collections.abc import Callable


class Outage:
    """Something works, or does not since `since` for `reason` and is tried again at `resume`."""

    def __init__(self, first: float, limit: float, clock: Callable[[], float]) -> None:
        self._first, self._limit, self._clock = first, limit, clock
        self.tries = 0
        self.resume = 0.0
        self.since = 0.0
        self.reason = ""

    def pause(self, tries: int) -> float:
        """Seconds to wait after so many failures."""
        full = min(self._limit, self._first * 2.0 ** min(tries, 30))
        return full * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret

    def failed(self, reason: str) -> bool:
        """Wait longer; True if this is the beginning."""
        begins = not self.reason
        self.since = self._clock() if begins else self.since
        self.resume = self._clock() + self.pause(self.tries)
        self.tries += 1
        self.reason = reason
        return begins

    def worked(self) -> bool:
        """All is well; True if it was not before."""
        ends, self.reason, self.tries, self.resume = bool(self.reason), "", 0, 0.0
        return ends


def reason_of(error: BaseException) -> str:
    """One short line for people."""
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
