"""Where the lines of one attempt go: its file, and the writers that feed it.

A `Sink` is the log of one attempt while it is written. A child process has one for all it
does (`PROCESS`); in the host process each attempt of the thread and asyncio runners has its
own, found by context variable.
"""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from contextvars import ContextVar

from ostinato import pino

FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
LONGEST = 64 * 1024  # characters of a printed line; a longer one is cut into several

_NOT_YET, _BROKEN = -1, -2
_opening = threading.Lock()


class Sink:
    """The log of one attempt. The file is made at the first line, unless `point` gave one.

    Writing never raises: with a full disk the lines are lost, and the job goes on.
    """

    __slots__ = ("__weakref__", "_head", "_writers", "bindings", "fd", "path")

    def __init__(self, path: str = "", bindings: Mapping[str, object] | None = None) -> None:
        self.path = path
        self.bindings = bindings
        self.fd = _NOT_YET
        self._head: pino.Head | None = None
        self._writers: dict[str, LineWriter] | None = None

    @property
    def attached(self) -> bool:
        """Whether it belongs to an attempt now."""
        return self.bindings is not None

    def point(self, fd: int, bindings: Mapping[str, object] | None) -> None:
        """From now on write to this open file for this attempt (None: for no attempt)."""
        self.fd, self.bindings, self._head = fd, bindings, None

    def emit(
        self, level: int, msg: object, fields: Mapping[str, object] | None = None, name: str | None = None
    ) -> None:
        """Write one line."""
        if self.bindings is None:  # the fork server, between attempts: plain text for its owner
            stack = (fields or {}).get("err")
            more = "\n" + stack["stack"] if isinstance(stack, dict) else ""
            put(2, f"{name or 'ostinato'}: {pino.text_of(msg, str)}{more}\n".encode("utf-8", "backslashreplace"))
            return
        if self._head is None:
            self._head = pino.head(self.bindings)
        self.raw(pino.line(self._head, level, msg, fields, name))

    def raw(self, data: bytes) -> None:
        """Write bytes as they are."""
        if self.fd == _NOT_YET:
            self._open()
        if self.fd >= 0:
            put(self.fd, data)

    def writer(self, stream: str, level: int) -> LineWriter:
        """The writer of printed text of this attempt, made when first needed."""
        if self._writers is None:
            self._writers = {}
        if stream not in self._writers:
            self._writers[stream] = LineWriter(self, stream, level)
        return self._writers[stream]

    def close(self) -> bool:
        """Write half lines, close the file. Tells whether there is one. For the host process."""
        if self._writers is not None:
            for writer in self._writers.values():
                writer.flush()
        with _opening:
            fd, self.fd = self.fd, _BROKEN  # what a thread left behind writes later has no file any more
        if fd >= 0:
            os.close(fd)
        return fd >= 0

    def _open(self) -> None:
        with _opening:
            if self.fd == _NOT_YET:
                try:
                    self.fd = os.open(self.path, FLAGS, 0o600)
                except OSError:
                    self.fd = _BROKEN


PROCESS = Sink()
"""The log of the attempt that this whole process works for."""

current: ContextVar[Sink | None] = ContextVar("ostinato_log", default=None)
"""The log of the attempt that this thread or asyncio task of the host process works for."""


def put(fd: int, data: bytes) -> None:
    """Write all of it, or lose it if the disk is full or the descriptor gone."""
    try:
        written = os.write(fd, data)
        while written < len(data):
            data = data[written:]
            written = os.write(fd, data)
    except OSError:
        pass


class RawWriter(io.BufferedIOBase):
    """``sys.stdout.buffer``: bytes go to the file unchanged and at once, so that none is
    lost when the process dies."""

    def __init__(self, sink: Sink, fd: int | None) -> None:
        self._sink = sink
        self._fd = fd

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._fd is None:
            raise io.UnsupportedOperation("fileno")
        return self._fd

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        if self._fd is None:
            self._sink.raw(view.tobytes())
        else:
            put(self._fd, view.tobytes())
        return len(view)


class LineWriter(io.TextIOBase):
    """Stands in for ``sys.stdout`` or ``sys.stderr``: each printed line becomes a record.

    ``fd`` is the descriptor it stands for (1 or 2 in a child process, None in the host).
    """

    errors = "backslashreplace"
    line_buffering = True

    def __init__(self, sink: Sink, stream: str, level: int, fd: int | None = None) -> None:
        self._sink = sink
        self._fields = {"stream": stream}
        self._level = level
        self._fd = fd
        self._parts: list[str] = []
        self._size = 0
        self._lock = threading.RLock()  # reentrant: a signal handler may print too
        self.buffer = RawWriter(sink, fd)
        self.mode = "w"
        self.name = f"<{stream}>"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.buffer.fileno()

    def reconfigure(self, **_options: object) -> None:
        """Accepted, as of any standard stream, and without effect."""

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._fd is not None and not self._sink.attached:
            put(self._fd, text.encode("utf-8", "backslashreplace"))
            return len(text)
        with self._lock:
            self._parts.append(text)
            self._size += len(text)
            if "\n" in text:
                *lines, rest = self._take().split("\n")
                self._emit(lines)
                self._parts, self._size = [rest] if rest else [], len(rest)
            if self._size > LONGEST:
                self._emit([self._take()])
        return len(text)

    def flush(self) -> None:
        if not self._parts:
            return
        with self._lock:
            if self._parts and (text := self._take()).strip("\r"):
                self._emit([text])

    def close(self) -> None:
        """Only flushes: whoever closes the standard streams of a job must not make it fail."""
        self.flush()

    def renew_lock(self) -> None:
        """For a child forked while another thread was printing."""
        self._lock = threading.RLock()

    def _take(self) -> str:
        text = "".join(self._parts)
        self._parts, self._size = [], 0
        return text

    def _emit(self, lines: Iterable[str]) -> None:
        for text in lines:
            shown = text.strip("\r")
            for start in range(0, len(shown) or 1, LONGEST):
                self._sink.emit(self._level, shown[start : start + LONGEST], self._fields)


_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


def record(sink: Sink, entry: logging.LogRecord) -> None:
    """Write a record of the standard library's logging."""
    fields = {key: value for key, value in entry.__dict__.items() if key not in _STANDARD}
    try:
        msg = entry.getMessage()
    except Exception:
        msg = pino.text_of(entry.msg, str)
        fields["args"] = pino.text_of(entry.args)
    if entry.exc_info and isinstance(entry.exc_info[1], BaseException):
        fields = {"err": pino.error_of(entry.exc_info[1]), **{_free(key): value for key, value in fields.items()}}
    if entry.stack_info:
        fields["stack"] = entry.stack_info
    sink.emit(pino.level_of(entry.levelno), msg, fields, None if entry.name == "root" else entry.name)


def _free(key: str) -> str:
    return "err_" if key == "err" else key
