"""What the steps of a flow are known by: the names that one line of its code gives them, numbered."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ostinato.ids import numbered_ids
from ostinato.model import OWN

_PATH = re.compile(r"((?:\d+\.)*\d+/)?")


class StepKeys:
    """Of one line of code. ``path`` tells it from the others; ``unseen`` are the keys on record that it has
    not come to yet, in their order."""

    def __init__(self, flow: str, path: str, unseen: dict[str, None]) -> None:
        self.path = path
        self.unseen = unseen
        self._flow = flow
        self._numbered: dict[str, Iterator[tuple[str, str]]] = {}
        self._called: set[str] = set()
        self._lines = 0

    def next(self, name: str) -> tuple[str, str]:
        """The code has come to a step of this name: its key, and the id of its job."""
        numbered = self._numbered.get(name)
        if numbered is None:
            numbered = self._numbered[name] = numbered_ids(self._flow, f"{self.path}{name}")
        step = next(numbered)
        self.unseen.pop(step[0], None)
        return step

    def own(self, name: str) -> str:
        """The code has come to something of this name that is recorded of it: its key."""
        return self.next(f"{OWN}{name}")[0]

    def once(self, name: str) -> str:
        """The same, of what is there once only."""
        key = f"{self.path}{OWN}{name}"
        self.unseen.pop(key, None)
        return key

    def called(self, name: str) -> str | None:
        """The code has come to a step that it calls: its key. None if there was one of this name, or if it cannot
        be told from what is no such step."""
        if name in self._called or name.startswith(OWN) or path_of(name):
            return None
        self._called.add(name)
        key = f"{self.path}{name}"
        self.unseen.pop(key, None)
        return key

    def line(self) -> str:
        """The path of the next line of code that begins here."""
        self._lines += 1
        return f"{self.path.rstrip('/')}{'.' if self.path else ''}{self._lines}/"


def path_of(key: str) -> str:
    """The path of the line of code that the key belongs to."""
    if "/" not in key:
        return ""
    found = _PATH.match(key)
    return found[0] if found is not None else ""
