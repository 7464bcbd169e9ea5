"""Hearing of what others do: one subscribed connection a store, read by one thread, for all listeners.

    scripts ── PUBLISH {name}:ready, :ended, :orders ──► thread ── hear ──► listeners
                                                           ▲ bell: another channel is wanted, or the end

While that does not work (the connection is down, or the server delivers nothing), the thread tells
every listener every second that something may have happened, which makes them look.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import select
import socket
import time
from collections.abc import Iterable
from threading import Condition, Thread
from typing import Any

from redis.exceptions import RedisError

from ostinato.errors import StoreError
from ostinato.model import Channel
from ostinato_redis.server import Server

log = logging.getLogger("ostinato.redis")

POLL = 1.0
"""Seconds between looks while push does not work."""
PATIENCE = 5.0
"""Seconds within which a subscription is confirmed, and a message of our own comes back."""
DEAF = 60.0
"""Seconds until a server that delivered nothing is tried again."""
QUIET = 30.0
"""Seconds of silence after which we ask whether the connection is still there."""

CHANNELS: tuple[Channel, ...] = ("ready", "ended", "orders")


class _Deaf(Exception):
    """The server takes messages and delivers none."""


class RedisListener:
    """See `ostinato.storage.Listener`."""

    def __init__(self, channels: frozenset[Channel], waker: Waker) -> None:
        self.channels = channels
        self._waker = waker
        self._news: frozenset[Channel] = frozenset()
        self._woken = False
        self._closed = False
        self._changed = Condition()

    def wait(self, timeout: float) -> frozenset[Channel]:
        with self._changed:
            self._changed.wait_for(lambda: self._news or self._woken or self._closed, timeout)
            news, self._news, self._woken = self._news, frozenset(), False
            return news

    def hear(self, channels: Iterable[Channel]) -> None:
        with self._changed:
            self._news |= self.channels.intersection(channels)
            self._changed.notify_all()

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        self._waker.forget(self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Waker:
    """The thread and its connection. They are made with the first listener."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._own = server.address.own
        self._listeners: set[RedisListener] = set()
        self._wanted: set[Channel] = set()
        self._heard: set[Channel] = set()  # subscribed to, and confirmed
        self._broken = False
        self._closed = False
        self._changed = Condition()
        self._bell, self._rope = socket.socketpair()
        for end in (self._bell, self._rope):
            end.setblocking(False)
        self._thread: Thread | None = None

    # from other threads

    def listen(self, channels: frozenset[Channel]) -> RedisListener:
        """Returns once the channels are subscribed to, or push is known not to work."""
        listener = RedisListener(channels, self)
        with self._changed:
            self._listeners.add(listener)
            if not channels <= self._wanted:
                self._wanted |= channels
                self._ring()
            if self._thread is None:
                self._thread = Thread(target=self._work, name="ostinato-redis-wake", daemon=True)
                self._thread.start()
            self._changed.wait_for(lambda: channels <= self._heard or self._broken or self._closed, PATIENCE)
        return listener

    def forget(self, listener: RedisListener) -> None:
        with self._changed:
            self._listeners.discard(listener)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._ring()
            thread, listeners = self._thread, tuple(self._listeners)
        for listener in listeners:
            listener.close()
        if thread is not None:
            thread.join(PATIENCE)
        for end in (self._bell, self._rope):
            end.close()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it rings already
            self._rope.send(b"!")

    # the thread

    def _work(self) -> None:
        while not self._closed:
            try:
                self._serve()
            except (RedisError, OSError, StoreError, _Deaf) as error:
                if not self._closed:
                    self._fall_back(error)

    def _serve(self) -> None:
        """Subscribe and read, until the end or an error."""
        connection = self._server.connection()
        try:
            connection.connect()
            Reading(self, connection, self._own).run()
        finally:
            with self._changed:
                self._heard.clear()
            connection.disconnect()

    def _fall_back(self, error: Exception) -> None:
        """Make the listeners look again and again, until it is time to try once more."""
        if not self._broken:  # said before anybody who waits to be heard goes on
            log.warning("push from %s does not work, looking every second: %s", self._server.address.place, error)
        with self._changed:
            self._broken = True
            self._changed.notify_all()
        until = time.monotonic() + (DEAF if isinstance(error, _Deaf) else POLL)
        while not self._closed and time.monotonic() < until:
            with self._changed:
                self._changed.wait_for(lambda: self._closed, POLL)
            self._tell(CHANNELS)

    def _tell(self, channels: Iterable[Channel]) -> None:
        with self._changed:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener.hear(channels)

    # from the reading

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def bell(self) -> socket.socket:
        return self._bell

    def lacking(self) -> set[Channel]:
        with self._changed:
            return self._wanted - self._heard

    def confirmed(self, channel: Channel) -> None:
        with self._changed:
            self._heard.add(channel)
            self._changed.notify_all()

    def works(self) -> None:
        """A message came back to us. Something may have been missed before."""
        with self._changed:
            was_broken, self._broken = self._broken, False
        if was_broken:
            log.warning("push from %s works again", self._server.address.place)
            self._tell(CHANNELS)

    def heard(self, channels: set[Channel]) -> None:
        self._tell(channels)

    def publish(self, channel: str) -> None:
        self._server.ask("PUBLISH", channel, "")


class Reading:
    """One connection from its first subscription to its end."""

    def __init__(self, waker: Waker, connection: Any, own: str) -> None:
        self._waker = waker
        self._connection = connection
        self._names: dict[str, Channel] = {f"{own}:{channel}": channel for channel in CHANNELS}
        self._probe = f"{own}:probe:{secrets.token_hex(6)}"
        self._probe_until: float | None = None
        self._asked: set[Channel] = set()
        self._pinged = False

    def run(self) -> None:
        self._connection.send_command("SUBSCRIBE", self._probe)
        self._probe_until = time.monotonic() + PATIENCE
        while not self._waker.closed:
            self._subscribe()
            patience = QUIET if self._probe_until is None else max(0.0, self._probe_until - time.monotonic())
            ready, _, _ = select.select([self._waker.bell, self._connection._sock], [], [], patience)
            if self._waker.bell in ready:
                with contextlib.suppress(OSError):
                    self._waker.bell.recv(64)
            if self._connection._sock in ready:
                self._read()
            elif not ready:
                self._silence()

    def _subscribe(self) -> None:
        new = self._waker.lacking() - self._asked
        if new:
            self._connection.send_command(
                "SUBSCRIBE", *[name for name, channel in self._names.items() if channel in new]
            )
            self._asked |= new

    def _read(self) -> None:
        """All that is there, told at once: a listener that is awake cares not how often it was called."""
        told: set[Channel] = set()
        self._pinged = False
        while self._connection.can_read(0):
            kind, name, *_ = (_text(part) for part in self._connection.read_response())
            channel = self._names.get(name)
            if kind == "subscribe" and channel is not None:
                self._waker.confirmed(channel)
            elif kind == "subscribe":
                self._waker.publish(self._probe)
            elif kind == "message" and channel is not None:
                told.add(channel)
            elif kind == "message":
                self._probe_until = None
                self._waker.works()
        if told:
            self._waker.heard(told)

    def _silence(self) -> None:
        if self._probe_until is not None:
            raise _Deaf("the server takes messages, but they do not arrive")
        if self._pinged:
            raise TimeoutError("the server has fallen silent")
        self._pinged = True
        self._connection.send_command("PING")


def _text(part: Any) -> str:
    return part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part)
