"""The executor's end of a fork server: start it, command it, hear of its children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ostinato import wire
from ostinato.errors import RunnerError
from ostinato.wire import Setup

HIDDEN = "OSTINATO_"
"""Environment variables that begin so hold our settings, store credentials among them, and are
not given to attempts."""


class ServerProcess:
    """A fork server process and the socket to it. One reader, any number of writers."""

    def __init__(self, setup: Setup) -> None:
        self.control, theirs = socket.socketpair()
        environ = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ostinato.forkserver", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**environ, "PYTHONPATH": os.pathsep.join(path for path in setup.sys_path if path)},
            )
        except OSError as error:
            self.control.close()
            raise RunnerError(f"The fork server cannot be started: {error}. Check {sys.executable}.") from error
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._lock = threading.Lock()
        self._lines = b""
        self._fds: deque[int] = deque()
        with self._lock:
            self.control.sendall(wire.encode(setup) + b"\n")

    def tell(self, *words: Any) -> None:
        """Send a command; in vain if the server is gone, which the reader will hear."""
        with self._lock:
            with suppress(OSError):
                self.control.sendall(wire.encode(words) + b"\n")

    def hear(self) -> Iterator[tuple[list[Any], socket.socket | None]] | None:
        """What the server said (with the socket of a spare); None when it is gone. Blocks."""
        try:
            data, fds, _, _ = socket.recv_fds(self.control, 65536, 64)
        except OSError:
            return None
        self._fds.extend(fds)
        self._lines += data
        return self._said() if data else None

    def _said(self) -> Iterator[tuple[list[Any], socket.socket | None]]:
        *lines, self._lines = self._lines.split(b"\n")
        for line in lines:
            words = wire.decode_line(line)
            yield words, _socket(self._fds.popleft()) if words[0] == "spare" else None

    def close(self) -> None:
        """Let the server and all its children go: it sees its socket end and takes them down."""
        self.control.close()
        for fd in self._fds:
            os.close(fd)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


def _socket(fd: int) -> socket.socket:
    """Told what it is, Python need not ask the kernel three times."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)
