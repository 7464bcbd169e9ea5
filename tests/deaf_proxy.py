"""A pooler's worst habit: a connection to PostgreSQL on which LISTEN succeeds and nothing is heard."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any


class DeafProxy:
    """Passes everything on but notifications. ``cut`` is a word of the client's after which, once it
    has reached the server, the connection breaks."""

    cut = b""

    def __init__(self, where: dict[str, Any]) -> None:
        self._where = where["host"], int(where["port"])
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = (
            f"postgresql://{where['user']}@127.0.0.1:{self._door.getsockname()[1]}/{where['dbname']}?sslmode=disable"
        )
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                server = socket.create_connection(self._where)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with client:
            with contextlib.suppress(OSError):
                while said := client.recv(65536):
                    cut = self.cut and self.cut in said
                    if cut:  # first of all, or the answer may be quicker
                        client.shutdown(socket.SHUT_RDWR)
                    server.sendall(said)
                    if cut:
                        break
            _end(client, server)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        """Messages have a letter and a length; ``A`` is a notification."""
        with server, server.makefile("rb") as answers:
            with contextlib.suppress(OSError):
                while head := answers.read(5):
                    body = answers.read(int.from_bytes(head[1:], "big") - 4)
                    if head[:1] != b"A":
                        client.sendall(head + body)
            _end(client, server)

    def close(self) -> None:
        self._door.close()


def _end(*sockets: socket.socket) -> None:
    """For both threads at once, which are left to close them."""
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
