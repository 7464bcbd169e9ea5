"""Waking across processes that share a file: one unix datagram socket a listener.

The sockets stand in a folder beside the file; a name says which channels it hears, as in
``ro-5f0c``. After a commit the writer sends one datagram to each that hears of it, and never
waits: a full socket has something to hear already. A socket whose process died is removed.

    writer: commit ─► tell() ─► <file>.wake/ro-5f0c ─► Listener.wait()
                                                        └─ now and then: has the file changed?

That look at the file is for writers that do not use this library, or cannot reach the socket
(another user's). It sees our own writes too: a wait may end for nothing, at most once a look.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import selectors
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol, get_args

from ostinato.errors import StoreError
from ostinato.model import Channel
from ostinato.storage import Listener

_LETTERS: dict[str, Channel] = {channel[0]: channel for channel in get_args(Channel)}
_PATH_LIMIT = 100  # bytes; the kernels' limits are 104 and 108
_LOOK = 1.0  # seconds between looks at the file
_LOOK_ALONE = 0.1  # the same where there are no unix sockets
_UNIX: int | None = getattr(socket, "AF_UNIX", None)


class Version(Protocol):
    """Changes whenever the file does; a call costs a few microseconds."""

    def __call__(self) -> int: ...

    def close(self) -> None: ...


class FileWaker:
    def __init__(self, path: str, version: Version) -> None:
        self._folder = wake_folder(path) if _UNIX is not None else None
        self._version = version
        self._listeners: set[FileListener] = set()
        self._lock = threading.Lock()
        self._sender: socket.socket | None = None
        if self._folder is not None and _UNIX is not None:
            self._sender = socket.socket(_UNIX, socket.SOCK_DGRAM)
            self._sender.setblocking(False)

    def tell(self, channels: frozenset[Channel]) -> None:
        with self._lock:
            own = {listener.name for listener in self._listeners}
            for listener in self._listeners:
                listener.hear(channels)
            if self._sender is not None and self._folder is not None:
                letters = {channel[0] for channel in channels}
                self._send(self._folder, self._sender, letters, own)

    def _send(self, folder: str, sender: socket.socket, letters: set[str], own: set[str]) -> None:
        try:
            names = os.listdir(folder)
        except OSError:
            return  # nobody ever listened
        message = "".join(letters).encode()
        for name in names:
            if name in own or letters.isdisjoint(name.partition("-")[0]):
                continue
            place = os.path.join(folder, name)
            try:
                sender.sendto(message, place)
            except BlockingIOError:
                pass  # it has plenty to hear already
            except ConnectionRefusedError:
                with contextlib.suppress(OSError):
                    os.unlink(place)  # its process died without a word
            except OSError:
                pass  # just gone, or another user's

    def listen(self, channels: frozenset[Channel]) -> Listener:
        listener = FileListener(channels, self._folder, self._version, self._remove)
        with self._lock:
            self._listeners.add(listener)
        return listener

    def _remove(self, listener: FileListener) -> None:
        with self._lock:
            self._listeners.discard(listener)

    def close(self) -> None:
        for listener in tuple(self._listeners):
            listener.close()
        with self._lock:
            sender, self._sender = self._sender, None
            if sender is not None:
                sender.close()
        self._version.close()


class FileListener:
    """``name`` is that of its socket, "" if it has none and must look at the file more often."""

    def __init__(
        self,
        channels: frozenset[Channel],
        folder: str | None,
        version: Callable[[], int],
        closed: Callable[[FileListener], None],
    ) -> None:
        self.name = ""
        self._channels = channels
        self._version = version
        self._closed_call = closed
        self._lock = threading.Lock()
        self._heard: set[Channel] = set()
        self._woken = False
        self._closed = False
        self._waiting = 0
        self._bell, self._rope = socket.socketpair()  # pulled to end a wait of this process
        self._socket, self._place = _bind(folder, channels)
        if self._socket is not None:
            self.name = os.path.basename(self._place)
        self._selector = selectors.DefaultSelector()
        for end in (self._bell, self._rope, self._socket):
            if end is not None:
                end.setblocking(False)
        for end in (self._bell, self._socket):
            if end is not None:
                self._selector.register(end, selectors.EVENT_READ)
        self._seen = version()

    def hear(self, channels: Iterable[Channel]) -> None:
        """Told by a store object of this process."""
        with self._lock:
            self._heard.update(self._channels.intersection(channels))
            if self._heard:
                self._ring()

    def wake(self) -> None:
        with self._lock:
            self._woken = True
            self._ring()

    def _ring(self) -> None:
        if self._waiting and not self._closed:
            with contextlib.suppress(BlockingIOError):
                self._rope.send(b"!")

    def wait(self, timeout: float) -> frozenset[Channel]:
        until = time.monotonic() + timeout
        with self._lock:
            if self._closed:
                return frozenset()
            self._waiting += 1
        try:
            while True:
                heard = self._take()
                left = until - time.monotonic()
                if heard is not None or left <= 0:
                    return heard or frozenset()
                look = _LOOK if self._socket is not None else _LOOK_ALONE
                if not self._selector.select(min(left, look)):
                    self._look()
        finally:
            with self._lock:
                self._waiting -= 1
                self._release()

    def _take(self) -> frozenset[Channel] | None:
        """What was heard since the last call; None if nothing was, and nobody called `wake`."""
        told = _drain(self._socket)
        with self._lock:
            _drain(self._bell)
            self._heard.update(self._channels.intersection(_LETTERS[letter] for letter in told if letter in _LETTERS))
            if not (self._heard or self._woken or self._closed):
                return None
            heard, self._woken = frozenset(self._heard), False
            self._heard.clear()
            return heard

    def _look(self) -> None:
        try:
            version = self._version()
        except StoreError:
            return  # whoever uses the store next will hear of it
        if version != self._seen:
            self._seen = version
            with self._lock:
                self._heard.update(self._channels)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._ring()
            self._closed = True
            self._release()
        self._closed_call(self)

    def _release(self) -> None:
        """Give back the sockets, once nobody waits on them."""
        if not self._closed or self._waiting:
            return
        self._selector.close()
        for end in (self._bell, self._rope, self._socket):
            if end is not None:
                end.close()
        if self._place:
            with contextlib.suppress(OSError):
                os.unlink(self._place)


def _drain(source: socket.socket | None) -> str:
    told = b""
    with contextlib.suppress(OSError):
        while source is not None:
            told += source.recv(64)
    return told.decode("ascii", "ignore")


def _bind(folder: str | None, channels: frozenset[Channel]) -> tuple[socket.socket | None, str]:
    if folder is None or _UNIX is None:
        return None, ""
    letters = "".join(sorted(channel[0] for channel in channels))
    place = os.path.join(folder, f"{letters}-{secrets.token_hex(6)}")
    listener = socket.socket(_UNIX, socket.SOCK_DGRAM)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if not _is_ours(folder):
            raise PermissionError(folder)
        listener.bind(place)
    except OSError:
        listener.close()
        return None, ""  # a folder that cannot be written: looking at the file must do
    return listener, place


def _is_ours(folder: str) -> bool:
    """A folder in the place for temporary files may have been put there by somebody else."""
    found = os.lstat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def wake_folder(path: str) -> str:
    """Beside the file, or, where that path is too long for a socket, in the place for temporary
    files under a name that all processes of this user find."""
    real = os.path.realpath(path)
    beside = f"{real}.wake"
    if len(os.fsencode(beside)) + len("/roe-0123456789ab") <= _PATH_LIMIT:
        return beside
    key = hashlib.blake2b(os.fsencode(real), digest_size=8).hexdigest()
    return os.path.join(tempfile.gettempdir(), f"ostinato-{os.geteuid()}-{key}")
