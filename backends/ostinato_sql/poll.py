"""Waking where the database has no push: each process counts what it tells in rows of its own, and
all look at these few rows, often while there is news and about once a second while there is none.

No row is written by two processes, so that telling never waits; own rows are not looked at.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ostinato.model import Channel
from ostinato_sql.ears import CHANNELS, PATIENCE, Looking, Waking, log
from ostinato_sql.naming import Naming

TABLE = (
    "CREATE TABLE ostinato_wakes (who CHAR(8) NOT NULL, channel CHAR(1) NOT NULL, number BIGINT NOT NULL, "
    "at BIGINT NOT NULL, PRIMARY KEY (who, channel))"
)
_TELL = (
    "INSERT INTO ostinato_wakes (who, channel, number, at) VALUES (%s, %s, UNIX_TIMESTAMP(), UNIX_TIMESTAMP()) "
    "ON DUPLICATE KEY UPDATE number = number + 1, at = UNIX_TIMESTAMP()"
)
_FORGET = "DELETE FROM ostinato_wakes WHERE at < UNIX_TIMESTAMP() - 86400"
_LOOK = "SELECT channel, COUNT(*), SUM(number) FROM ostinato_wakes WHERE who <> %s GROUP BY channel"
_PACE = (0.05, 1.1)
_LETTERS: dict[str, Channel] = {channel[0]: channel for channel in CHANNELS}

Connect = Callable[[], Any]


class Counter:
    """The connection that tells; its rows are swept away when it has not told anything for a day."""

    def __init__(self, connect: Connect, naming: Naming, name: str) -> None:
        self._connection = connect()
        self._name = name
        self._text = naming.apply(_TELL)
        with self._connection.cursor() as cursor:
            cursor.execute(naming.apply(_FORGET))

    def say(self, message: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(self._text, [(self._name, letter) for letter in message])

    def close(self) -> None:
        with suppress(Exception):
            self._connection.close()


class Polling(Waking):
    """`ostinato_sql.dialect.Waker` by looking."""

    def __init__(self, connect: Connect, naming: Naming, errors: tuple[type[Exception], ...], place: str) -> None:
        self._connect = connect
        self._text = naming.apply(_LOOK)
        self._errors: tuple[type[Exception], ...] = (*errors, OSError)
        self._place = place
        self._name = secrets.token_hex(4)
        super().__init__(lambda: Counter(connect, naming, self._name), self._errors)

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        self._ears.close()
        self._teller.close()
        if self._thread is not None:
            self._thread.join(5)

    def _work(self) -> None:
        pause = PATIENCE[0]
        while not self._closed.is_set():
            connection = None
            try:
                connection = self._connect()
                if self._listening.is_set():
                    self._ears.hear(CHANNELS)  # whatever was said meanwhile
                self._look(connection)
            except self._errors as error:
                log.debug("not looking at %s: %s", self._place, error)
                self._listening.set()
                self._closed.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                pause = min(2 * pause, PATIENCE[1])
            finally:
                if connection is not None:
                    with suppress(Exception):
                        connection.close()

    def _look(self, connection: Any) -> None:
        def look() -> dict[Channel, Any]:
            with connection.cursor() as cursor:
                cursor.execute(self._text, (self._name,))
                return {_LETTERS[letter]: told for letter, *told in cursor.fetchall()}

        looking = Looking(self._ears, look, _PACE)
        looking.first()
        self._listening.set()
        while not self._closed.wait(looking.pause * random.uniform(0.95, 1.05)):  # noqa: S311 - not all in step
            looking.again()
