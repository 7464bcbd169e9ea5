"""Flood control: of a log that grows without end, its head and its tail are kept.

The executor does it from outside while the attempt runs. The writers append (O_APPEND), so
that the file can be cut short under them on any file system: they are neither slowed down
nor killed, and the disk does not fill. What was newest at a cut is remembered in memory; if the
executor dies, that is lost, and the one that adopts the log seals it with what is there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from msgspec import Struct

from ostinato import pino
from ostinato.sink import put

HEAD = TAIL = 8 * 1024 * 1024
WINDOW = 64 * 1024  # how far to look for the start of a line before cutting one in two
MARK = b'"dropped":'


class _Cut(Struct):
    """What is known of a log that was cut: bytes that stayed, newest bytes then, bytes seen
    after the head, and the line that was put at the gap."""

    kept: int
    newest: bytes = b""
    seen: int = 0
    mark: bytes = b""


class Bounds:
    """Keeps each log within ``head + 2 * tail`` bytes while it grows, ``head + tail`` at the end
    (and some lines more)."""

    def __init__(self, head: int = HEAD, tail: int = TAIL) -> None:
        self.head = head
        self.tail = tail
        self._cuts: dict[str, _Cut] = {}

    def check(self, path: str) -> bool:
        """Cut the log if it is too long; to be called now and then. True if it was cut."""
        try:
            if os.stat(path).st_size <= self.head + 2 * self.tail:
                return False
            fd = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            return False
        try:
            self._cut(path, fd)
        finally:
            os.close(fd)
        return True

    def seal(self, path: str, bindings: Mapping[str, object] | None = None) -> int:
        """Bring the log of an ended attempt into its last form; tells how many bytes were dropped."""
        cut = self._cuts.pop(path, None)
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            return 0
        try:
            size = os.fstat(fd).st_size
            if cut is None and size <= self.head + self.tail + WINDOW:  # also one that is sealed already
                return 0
            return self._compose(fd, size, cut or _Cut(self._line_end(fd), b"", 0), bindings)
        finally:
            os.close(fd)

    def _cut(self, path: str, fd: int) -> None:
        old = self._cuts.get(path) or _Cut(self._line_end(fd))
        size = os.fstat(fd).st_size
        newest = _read(fd, max(old.kept, size - self.tail), size)
        seen = old.seen + os.fstat(fd).st_size - old.kept - len(old.mark)
        text = "… the log is too long: its end will follow when the attempt has ended …"
        mark = _new_line(fd, old.kept) + _mark({}, seen, text)
        os.ftruncate(fd, old.kept)
        put(fd, mark)
        self._cuts[path] = _Cut(old.kept, newest, seen, mark)

    def _compose(self, fd: int, size: int, cut: _Cut, bindings: Mapping[str, object] | None) -> int:
        newest = _read(fd, max(cut.kept, size - self.tail), size)
        seen = cut.seen + size - cut.kept - len(cut.mark)
        if cut.mark:
            newest = newest.replace(cut.mark, b"", 1)
        if len(newest) < self.tail:
            newest = (cut.newest + newest)[-self.tail :]
        start = newest.find(b"\n", 0, WINDOW) + 1 if seen > len(newest) else 0
        dropped = seen - len(newest) + start
        text = f"… {dropped} bytes dropped: the log was too long, only its head and tail are kept …"
        mark = _new_line(fd, cut.kept) + _mark(bindings or {}, dropped, text)
        os.ftruncate(fd, cut.kept)
        put(fd, mark + newest[start:])
        return dropped

    def _line_end(self, fd: int) -> int:
        """Where the head ends: after its last whole line, if lines are not endless."""
        start = max(0, self.head - WINDOW)
        return start + (_read(fd, start, self.head).rfind(b"\n") + 1 or self.head - start)


def _mark(bindings: Mapping[str, object], dropped: int, text: str) -> bytes:
    """The line at the gap, by which a follower finds where to go on reading."""
    return pino.line(pino.head(bindings), pino.WARN, text, {"dropped": dropped}, name="ostinato")


def _new_line(fd: int, end: int) -> bytes:
    """What must come first so that the mark is a line of its own."""
    return b"" if end == 0 or os.pread(fd, 1, end - 1) == b"\n" else b"\n"


def _read(fd: int, start: int, end: int) -> bytes:
    parts = []
    while start < end and (part := os.pread(fd, end - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)
