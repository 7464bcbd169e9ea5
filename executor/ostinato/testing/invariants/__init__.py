"""The invariants of the checker: what must be true of every history, a small function each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from ostinato.model import Attempt
from ostinato.testing.history import Facts, History, Seen
from ostinato.testing.story import Story


class Violation(Struct, frozen=True):
    """What is broken: the invariant's name, the job (empty: none in particular), what is wrong with
    it, and the lines that show it."""

    invariant: str
    job: str
    said: str
    seen: tuple[Seen | Attempt, ...] = ()


OfOne = Callable[[Story, Facts], Iterator[Violation]]
OfAll = Callable[[History, dict[str, Story]], Iterator[Violation]]
