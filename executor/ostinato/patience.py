"""How long to wait before trying a store again that did not answer."""

from __future__ import annotations

import logging
import random

log = logging.getLogger("ostinato.store")


class Patience:
    """Growing, jittered pauses (0.1 to 10 seconds), and one log line when an outage begins and
    one when it ends."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._failures = 0

    def failed(self, error: Exception) -> float:
        """Seconds to wait now."""
        if self._failures == 0:
            log.warning("%s: the store does not answer, trying again until it does: %s", self._what, error)
        self._failures += 1
        return min(10.0, 0.1 * 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

    def worked(self) -> None:
        if self._failures:
            log.warning("%s: the store answers again, after %d failures", self._what, self._failures)
        self._failures = 0
