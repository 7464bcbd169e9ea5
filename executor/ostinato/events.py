"""Subscriptions: who hears of what, each listener on a thread of its own.

A listener that raises is logged; one that blocks delays only its own events, of which at most
`QUEUE` wait: further ones are dropped and counted. Nothing of it touches the executor.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, get_args

from ostinato.errors import ConfigError
from ostinato.model import Event, EventKind
from ostinato.names import suggest

log = logging.getLogger("ostinato.events")

Listener = Callable[[Event], Any]
L = TypeVar("L", bound=Listener)

KINDS = frozenset(get_args(EventKind))
EVERY = "*"
"""All kinds, told in their order."""
QUEUE = 100_000


class Subscription:
    """One listener of one kind of event."""

    def __init__(self, kind: str, listener: Listener, once: bool) -> None:
        self.kind = kind
        self.listener = listener
        self._once = once
        self._queue: queue.Queue[Event | None] = queue.Queue(QUEUE)
        self._dropped = 0
        self._heard = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, event: Event) -> None:
        with self._lock:  # events come from several threads
            if self._once and self._heard:
                return
            self._heard = True
            if self._thread is None:
                name = f"ostinato-on-{self.kind}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._dropped += 1
            if self._dropped == 1 or self._dropped % QUEUE == 0:
                log.error(
                    "the listener %r of %r is so slow that %d events were dropped",
                    self.listener,
                    self.kind,
                    self._dropped,
                )

    def close(self, timeout: float) -> None:
        """Let it hear what is waiting, for at most ``timeout`` seconds."""
        with self._lock:
            thread = self._thread
            if thread is None or thread is threading.current_thread():
                return
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return
        thread.join(timeout)

    def _work(self) -> None:
        while True:
            event = self._queue.get()
            if event is None:
                with self._lock:
                    if self._queue.empty():
                        self._thread = None
                        return
                continue
            try:
                self.listener(event)
            except BaseException:  # sys.exit() in a listener ends nothing either
                log.exception("the listener %r of %r raised", self.listener, self.kind)


def _kinds(kind: str) -> Iterable[str]:
    return KINDS if kind == EVERY else (kind,)


def _check_kind(kind: str) -> None:
    if kind != EVERY and kind not in KINDS:
        raise ConfigError(f"There is no event {kind!r}. {suggest(kind, KINDS)}")


class Events:
    """The subscriptions of one executor."""

    def __init__(self) -> None:
        self._by_kind: dict[str, list[Subscription]] = {}
        self._lock = threading.Lock()

    def on(self, kind: str, listener: Listener, once: bool = False) -> None:
        _check_kind(kind)
        if not callable(listener):
            raise ConfigError(f"{listener!r} cannot be called: give on({kind!r}, function).")
        subscription = Subscription(kind, listener, once)
        with self._lock:
            for one in _kinds(kind):
                self._by_kind[one] = [*self._by_kind.get(one, []), subscription]

    def off(self, kind: str, listener: Listener) -> None:
        """Stop calling it; no error if it is not called."""
        _check_kind(kind)
        with self._lock:
            for each in _kinds(kind):
                known = self._by_kind.get(each, [])
                self._by_kind[each] = [one for one in known if (one.kind, one.listener) != (kind, listener)]

    def wants(self, kind: EventKind) -> bool:
        """Whether anybody listens, so that events nobody hears are not even made."""
        return bool(self._by_kind.get(kind))

    def emit(self, event: Event) -> None:
        for subscription in self._by_kind.get(event.kind, ()):
            subscription.put(event)

    def close(self, timeout: float = 2.0) -> None:
        """Let all hear what is waiting for them, for at most ``timeout`` seconds altogether. They
        hear again of what comes later."""
        ends = time.monotonic() + timeout
        for subscriptions in list(self._by_kind.values()):
            for subscription in subscriptions:
                subscription.close(max(0.0, ends - time.monotonic()))
