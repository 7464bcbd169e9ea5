"""In the host process: what an attempt says goes to its log, all else where it always went.

For the thread and asyncio runners. Which attempt a thread or asyncio task works for is a
context variable. Threads that a job starts by itself do not inherit it (before Python 3.14),
so their output is the host's. Levels are the host's too: with Python's default the
root logger lets pass warnings and worse; ``current_job().log`` writes every level.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from contextvars import Token
from typing import IO, Any, TextIO, cast

from ostinato import pino
from ostinato.sink import Sink, current, record

_lock = threading.Lock()
_users = 0
_undo: list[Callable[[], None]] = []


def enter(sink: Sink) -> Token[Sink | None]:
    """From now on this thread or asyncio task works for the attempt of this log."""
    return current.set(sink)


def leave(token: Token[Sink | None]) -> bool:
    """The attempt has ended: write the rest, close the file. Tells whether there is one."""
    sink = current.get()
    current.reset(token)
    return sink is not None and sink.close()


def install() -> None:
    """Start routing; to be undone as often by `uninstall`."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _undo.extend((_route_stream("stdout", pino.INFO), _route_stream("stderr", pino.WARN), _route_logging()))


def uninstall() -> None:
    """Undo one `install`; the last one puts everything back."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            while _undo:
                _undo.pop()()


class RoutedStream:
    """Stands before a standard stream of the host: text of an attempt goes to its log."""

    def __init__(self, original: TextIO, stream: str, level: int) -> None:
        self._original = original
        self._stream = stream
        self._level = level

    def _target(self) -> IO[str]:
        sink = current.get()
        return self._original if sink is None else cast(TextIO, sink.writer(self._stream, self._level))

    def write(self, text: str) -> int:
        return self._target().write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self._target().writelines(lines)

    def flush(self) -> None:
        self._target().flush()

    def isatty(self) -> bool:
        return self._target().isatty()

    @property
    def buffer(self) -> Any:
        return cast(TextIO, self._target()).buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _route_stream(stream: str, level: int) -> Callable[[], None]:
    original = getattr(sys, stream)
    if original is None:  # a program without a console
        return lambda: None
    routed = RoutedStream(original, stream, level)
    setattr(sys, stream, routed)

    def undo() -> None:
        if getattr(sys, stream) is routed:  # else somebody put theirs over ours; it stays, and only passes on
            setattr(sys, stream, original)

    return undo


def _route_logging() -> Callable[[], None]:
    """One gate before all handlers. A handler on the root logger would not do: it cannot keep
    a record from the host's other handlers, which would show it on the host's console."""
    original = logging.Logger.callHandlers

    def routed(self: logging.Logger, entry: logging.LogRecord) -> None:
        sink = current.get()
        if sink is None:
            original(self, entry)
        else:
            record(sink, entry)

    setattr(logging.Logger, "callHandlers", routed)  # noqa: B010 - mypy refuses a plain assignment

    def undo() -> None:
        if logging.Logger.callHandlers is routed:
            setattr(logging.Logger, "callHandlers", original)  # noqa: B010

    return undo
