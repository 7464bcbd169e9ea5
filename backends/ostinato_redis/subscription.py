"""Which queues an executor takes jobs from: globs are matched here, for Lua has no such patterns.

A claim sends what is known of the queues along. If there are ready jobs in a queue of which nothing is
known yet, its script answers with the name only, and is asked again.
"""

from __future__ import annotations

from collections.abc import Sequence

from ostinato.rules import matches

_GLOB = "*?["
_REMEMBERED = 10_000

Patterns = tuple[str, ...]


class Subscriptions:
    """Remembers which queues match which names and globs."""

    def __init__(self) -> None:
        self._known: dict[Patterns, dict[str, bool]] = {}

    def known(self, patterns: Patterns) -> dict[str, bool]:
        return self._known.get(patterns) or self.learn(patterns, ())

    def learn(self, patterns: Patterns, queues: Sequence[str]) -> dict[str, bool]:
        known = self._known.get(patterns, {})
        if len(known) > _REMEMBERED:
            known = {}
        # made anew, not changed: another thread may be sending the old one
        known = {**known, **{queue: matches(patterns, queue) for queue in (*patterns, *queues)}}
        self._known[patterns] = known
        return known

    @staticmethod
    def open_ended(patterns: Patterns) -> bool:
        """Whether queues that are not named may match."""
        return any(letter in pattern for pattern in patterns for letter in _GLOB)
