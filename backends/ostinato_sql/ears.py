"""Listeners of one store object, and the thread that tells other processes what was committed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol, get_args

from ostinato.model import Channel

log = logging.getLogger("ostinato.sql")

CHANNELS: frozenset[Channel] = frozenset(get_args(Channel))
WINDOW = 0.015
"""Seconds: what is told within them travels together. The first goes at once."""
PATIENCE = (0.1, 5.0)
"""Seconds between tries of a connection, from and to."""


class Ear:
    """One listener; see `ostinato.storage.Listener`. Waiting costs nothing."""

    def __init__(self, channels: frozenset[Channel], closed: Callable[[Ear], None]) -> None:
        self._channels = channels
        self._closed_call = closed
        self._heard: set[Channel] = set()
        self._woken = False
        self._closed = False
        self._changed = threading.Condition()

    def hear(self, channels: Iterable[Channel]) -> None:
        with self._changed:
            self._heard.update(self._channels.intersection(channels))
            if self._heard:
                self._changed.notify_all()

    def wait(self, timeout: float) -> frozenset[Channel]:
        with self._changed:
            self._changed.wait_for(lambda: self._heard or self._woken or self._closed, timeout)
            heard, self._woken = frozenset(self._heard), False
            self._heard.clear()
            return heard

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._closed_call(self)


class Ears:
    """All listeners of a store object."""

    def __init__(self) -> None:
        self._all: set[Ear] = set()
        self._lock = threading.Lock()

    def add(self, channels: frozenset[Channel]) -> Ear:
        ear = Ear(channels, self._remove)
        with self._lock:
            self._all.add(ear)
        return ear

    def _remove(self, ear: Ear) -> None:
        with self._lock:
            self._all.discard(ear)

    def hear(self, channels: Iterable[Channel]) -> None:
        told = frozenset(channels)
        with self._lock:
            ears = tuple(self._all)
        for ear in ears:
            ear.hear(told)

    def close(self) -> None:
        with self._lock:
            ears = tuple(self._all)
        for ear in ears:
            ear.close()


class Speaks(Protocol):
    """A connection of its own, for telling."""

    def say(self, message: str) -> None: ...

    def close(self) -> None: ...


class Teller:
    """Tells on a connection of its own, after the commit: within the transaction it would hold up
    the commits of all others. What cannot be told is dropped: others look for themselves."""

    def __init__(self, connect: Callable[[], Speaks], errors: tuple[type[Exception], ...]) -> None:
        self._connect = connect
        self._errors = errors
        self._mouth: Speaks | None = None
        self._pending: set[str] = set()
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def tell(self, words: Iterable[str]) -> None:
        with self._changed:
            if self._closed:
                return
            self._pending.update(words)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ostinato-tell", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed)
                words, self._pending = sorted(self._pending), set()
                if not words:
                    break
            pause = WINDOW if self._say("".join(words)) else PATIENCE[0]
            with self._changed:
                self._changed.wait_for(lambda: self._closed, pause)
        if self._mouth is not None:
            self._mouth.close()

    def _say(self, message: str) -> bool:
        for _ in range(2):  # once more on a fresh connection: the server may have been started anew
            try:
                self._mouth = self._mouth or self._connect()
                self._mouth.say(message)
                return True
            except self._errors as error:
                log.debug("cannot tell the others: %s", error)
                if self._mouth is not None:
                    self._mouth.close()
                self._mouth = None
        return False

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(5)


class Waking:
    """What the wakers of databases behind a server have in common: ears here, a voice, and a thread that
    hears what others say, from the first listener on."""

    def __init__(self, connect: Callable[[], Speaks], errors: tuple[type[Exception], ...]) -> None:
        self._ears = Ears()
        self._teller = Teller(connect, errors)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._listening = threading.Event()
        """Set once others are heard, or cannot be for now."""
        self._closed = threading.Event()

    def tell(self, channels: frozenset[Channel]) -> None:
        self._ears.hear(channels)
        self._teller.tell(channel[0] for channel in channels)

    def listen(self, channels: frozenset[Channel]) -> Ear:
        ear = self._ears.add(channels)
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._work, name="ostinato-listen", daemon=True)
                self._thread.start()
        self._listening.wait(5)
        return ear

    def _work(self) -> None:
        raise NotImplementedError


class Looking:
    """Hears by looking: a query answers with something for each channel that changes when there is news."""

    def __init__(self, ears: Ears, look: Callable[[], dict[Channel, Any]], pace: tuple[float, float]) -> None:
        """``pace``: seconds between two looks, while there is news and when there has been none for a while."""
        self._ears = ears
        self._look = look
        self._pace = pace
        self._seen: dict[Channel, Any] = {}
        self._news_at = 0.0

    def first(self) -> None:
        """From now on."""
        self._seen = self._look()
        self._news_at = time.monotonic()  # more may be on its way

    def again(self) -> None:
        found = self._look()
        news = frozenset(channel for channel in CHANNELS if found.get(channel) != self._seen.get(channel))
        self._seen = found
        if news:
            self._news_at = time.monotonic()
            self._ears.hear(news)

    @property
    def pause(self) -> float:
        quick, slow = self._pace
        return quick if time.monotonic() - self._news_at < 2 * slow else slow
