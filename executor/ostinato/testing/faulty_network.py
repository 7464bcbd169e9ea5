"""A network with faults: a proxy on a port of the loopback that delays, cuts, and swallows answers.

with Proxy("127.0.0.1", 5432) as proxy:     # connect to 127.0.0.1:proxy.port instead
    proxy.delay = 0.2                       # every request takes longer
    proxy.swallow = True                    # requests arrive, their answers do not: the line is cut instead
    proxy.cut_after = 100                   # the line is cut in the middle of a request, again and again
    proxy.away = True                       # nobody answers there
    proxy.cut()                             # all lines are cut, now
"""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

CHUNK = 65536


class Proxy:
    """One server, seen through a bad network. The faults may be changed at any time, and are all
    gone after `calm`."""

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._door = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._lines: set[socket.socket] = set()
        self._closed = threading.Event()
        self.port: int = self._door.getsockname()[1]
        self.faults = 0
        """How many lines were cut so far."""
        self.calm()

    def calm(self) -> None:
        """All is well from now on."""
        self.delay = 0.0
        self.swallow = False
        self.cut_after: int | None = None
        self.away = False

    def cut(self) -> None:
        """Cut all lines that there are."""
        with self._lock:
            lines, self._lines = self._lines, set()
        for line in lines:
            _shut(line)

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        _shut(self._door)
        self._door.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), name="proxy-line", daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with client:
            try:
                if self.away:
                    raise ConnectionRefusedError
                server = socket.create_connection(self._server)
            except OSError:
                self.faults += 1
                return
            with server:
                for line in (client, server):
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._lines |= {client, server}
                answers = threading.Thread(target=self._answers, args=(server, client), name="proxy-answers")
                answers.start()
                self._requests(client, server)
                _shut(server)
                answers.join()
                with self._lock:
                    self._lines -= {client, server}

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                self._closed.wait(self.delay)
                limit = self.cut_after
                if self.away or (limit is not None and passed + len(data) > limit):
                    server.sendall(data[: max(0, (limit or 0) - passed)])
                    break
                passed += len(data)
                server.sendall(data)
            else:
                return
        self.faults += 1
        _shut(client)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK):
                if self.swallow:
                    self.faults += 1
                    break
                client.sendall(data)
        _shut(client)


def _shut(line: socket.socket) -> None:
    """Both sides see the end; the socket itself is closed by whoever reads from it."""
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
