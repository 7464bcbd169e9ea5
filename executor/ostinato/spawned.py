"""``python -m ostinato.spawned FD PARENT``: an attempt's process that was spawned instead of forked.

It does for itself what the fork server does once for all that it forks.
"""

from __future__ import annotations

import signal
import socket
import sys

from ostinato import child, forkserver, wire


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[1]))
    data = wire.receive(sock)
    if data is None:
        return
    setup = wire.decode_setup(data)
    forkserver.settle_in(int(sys.argv[2]))
    forkserver.prepare(setup)
    signal.signal(signal.SIGTERM, child.on_term)
    child.serve(sock, setup.reuse)


if __name__ == "__main__":
    main()
