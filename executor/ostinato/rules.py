"""The rules of the seam that every store keeps alike: pure, so that a store may apply them or say the
same in a language of its own."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ostinato.model import FINAL, SECOND, State, Unique


def holds_key(unique: Unique, state: State, token: int, posted_at: int, now: int) -> bool:
    """Whether the job that was created with this key still holds it."""
    if unique.period is not None:
        return now < posted_at + int(unique.period * SECOND)
    return state not in FINAL and (unique.until == "finished" or token == 0)


def unbounded(name: str) -> bool:
    """Whether there is any number of this until a capacity is set."""
    return name.startswith(("queue:", "task:", "key:"))


def matches(patterns: Sequence[str], queue: str) -> bool:
    """Whether a queue is among names or globs (``*``, ``?``, ``[...]`` as in `fnmatch`)."""
    return any(queue == pattern or fnmatchcase(queue, pattern) for pattern in patterns)
