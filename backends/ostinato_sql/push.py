"""Waking by PostgreSQL's LISTEN and NOTIFY.

    writer: commit ─► Teller ─ NOTIFY, at most one in 15 ms ─► one LISTEN connection a store ─► its listeners

Whether push works is tried, not believed: behind PgBouncer in transaction mode LISTEN succeeds and
nothing is ever heard. Each time the listening connection is made it sends itself a word by the
way that all words take; as long as that is not heard, we look instead, about once a second.
"""

from __future__ import annotations

import random
import secrets
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from ostinato.model import Channel
from ostinato_sql.ears import CHANNELS, PATIENCE, Looking, Waking, log

PROBE = 2.0
"""Seconds within which the probe must be heard."""
AGAIN = 60.0
"""Seconds until it is tried again whether push works."""
_PACE = (1.25, 1.25)  # seconds between looks
_LETTERS: dict[str, Channel] = {channel[0]: channel for channel in CHANNELS}
_ERRORS = (psycopg.Error, OSError)

Connect = Callable[[], "psycopg.Connection[Any]"]
Look = Callable[["psycopg.Connection[Any]"], dict[Channel, Any]]


class Mouth:
    def __init__(self, connect: Connect, channel: str, name: str) -> None:
        self._connection = connect()
        self._connection.execute("SET synchronous_commit = off")
        self._channel = channel
        self._name = name

    def say(self, message: str) -> None:
        self._connection.execute("SELECT pg_notify(%s, %s)", (self._channel, f"{message} {self._name}"))

    def close(self) -> None:
        with suppress(*_ERRORS):
            self._connection.close()


class Pushing(Waking):
    """`ostinato_sql.dialect.Waker` for PostgreSQL."""

    def __init__(self, connect: Connect, channel: str, place: str, look: Look) -> None:
        self.works: bool | None = None
        """Whether push works; None as long as nobody listens or nothing is known."""
        self._connect = connect
        self._channel = channel
        self._place = place
        self._look = look
        self._name = secrets.token_hex(4)
        super().__init__(lambda: Mouth(connect, channel, self._name), _ERRORS)
        self._bell, self._rope = socket.socketpair()
        self._probed_at = 0.0
        self._warned = False

    def close(self) -> None:
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
        self._rope.send(b"!")
        self._ears.close()
        self._teller.close()
        if self._thread is not None:
            self._thread.join(5)
        self._bell.close()
        self._rope.close()

    # the listening thread

    def _work(self) -> None:
        pause = PATIENCE[0]
        while not self._closed.is_set():
            connection = None
            try:
                connection = self._connect()
                connection.execute(f'LISTEN "{self._channel}"')
                if self._listening.is_set():
                    self._ears.hear(CHANNELS)  # whatever was said meanwhile
                pause = PATIENCE[0]
                self._hear(connection)
            except _ERRORS as error:
                log.debug("not listening to %s: %s", self._place, error)
                self._listening.set()
                self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                pause = min(2 * pause, PATIENCE[1])
            finally:
                if connection is not None:
                    with suppress(*_ERRORS):
                        connection.close()

    def _hear(self, connection: psycopg.Connection[Any]) -> None:
        looking = Looking(self._ears, lambda: self._look(connection), _PACE)
        looking.first()
        self._probe()
        self._listening.set()
        with selectors.DefaultSelector() as selector:
            selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.register(self._bell, selectors.EVENT_READ)
            while not self._closed.is_set():
                selector.select(self._until_next(looking))
                connection.pgconn.consume_input()
                while (said := connection.pgconn.notifies()) is not None:
                    self._understand(said.extra.decode("ascii", "replace"))
                self._judge(looking)

    def _understand(self, message: str) -> None:
        letters, _, name = message.partition(" ")
        if name != self._name:
            self._ears.hear(_LETTERS[letter] for letter in letters if letter in _LETTERS)
        elif "?" in letters:
            if self._warned:
                log.warning("push from %s works again", self._place)
            self.works, self._warned = True, False

    def _probe(self) -> None:
        self.works = None
        self._probed_at = time.monotonic()
        self._teller.tell("?")

    def _until_next(self, looking: Looking) -> float | None:
        if self.works:
            return None
        if self.works is None:
            return max(0.0, self._probed_at + PROBE - time.monotonic())
        return looking.pause

    def _judge(self, looking: Looking) -> None:
        if self.works:
            return
        passed = time.monotonic() - self._probed_at
        if self.works is None and passed >= PROBE:
            self.works = False
            if not self._warned:
                self._warned = True
                log.warning(
                    "No push from %s: a NOTIFY was not heard on a connection that listens (a pooler such as PgBouncer "
                    "in transaction mode?). Looking about once a second instead; for quicker starts give executors a "
                    "direct or session-pooled connection.",
                    self._place,
                )
        if self.works is False:
            looking.again()
            if passed > AGAIN:
                self._probe()

    def _sleep(self, seconds: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._bell, selectors.EVENT_READ)
            selector.select(seconds)
