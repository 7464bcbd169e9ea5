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


class Receipt:
    """Counts who has heard of one event; ``done`` is told once: whether anybody has, and the first error."""

    def __init__(self, count: int, done: Callable[[bool, BaseException | None], None]) -> None:
        self._left = count
        self._done = done
        self._taken = False
        self._error: BaseException | None = None
        self._lock = threading.Lock()

    def sign(self, taken: bool = True, error: BaseException | None = None) -> None:
        with self._lock:
            self._left -= 1
            self._taken = self._taken or taken
            self._error = self._error or error
            if self._left:
                return
        self._done(self._taken, self._error)


class Subscription:
    """One listener of one kind of event."""

    def __init__(self, kind: str, listener: Listener, once: bool) -> None:
        self.kind = kind
        self.listener = listener
        self._once = once
        self._queue: queue.Queue[tuple[Event, Receipt | None] | None] = queue.Queue(QUEUE)
        self._dropped = 0
        self._heard = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def spent(self) -> bool:
        return self._once and self._heard

    def put(self, event: Event, receipt: Receipt | None = None) -> None:
        with self._lock:  # events come from several threads
            if self.spent:
                if receipt is not None:
                    receipt.sign(taken=False)
                return
            self._heard = True
            if self._thread is None:
                name = f"ostinato-on-{self.kind}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()
        try:
            self._queue.put_nowait((event, receipt))
        except queue.Full as error:
            if receipt is not None:
                receipt.sign(error=error)
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
            item = self._queue.get()
            if item is None:
                with self._lock:
                    if self._queue.empty():
                        self._thread = None
                        return
                continue
            event, receipt = item
            raised: BaseException | None = None
            try:
                self.listener(event)
            except BaseException as error:  # sys.exit() in a listener ends nothing either
                raised = error
                log.exception("the listener %r of %r raised", self.listener, self.kind)
            if receipt is not None:
                receipt.sign(error=raised)


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

    def subscribe(self, kind: str, listener: L | None, then: Callable[[str], None], once: bool = False) -> Any:
        """`on`, and ``then`` say so; as a decorator without listener."""

        def begin(function: L) -> L:
            self.on(kind, function, once)
            then(kind)
            return function

        return begin if listener is None else begin(listener)

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

    def listens(self, kind: EventKind) -> bool:
        """Whether anybody listens for this kind itself, and not only for all."""
        return any(one.kind == kind and not one.spent for one in self._by_kind.get(kind, ()))

    def ask(self, event: Event, done: Callable[[bool, BaseException | None], None]) -> None:
        """Emit, and tell when all who listen for this kind itself have returned: whether there was anybody,
        and what the first of them raised who did."""
        subscriptions = self._by_kind.get(event.kind, ())
        asked = [one for one in subscriptions if one.kind == event.kind and not one.spent]
        if not asked:
            done(False, None)
            return
        receipt = Receipt(len(asked), done)
        for one in subscriptions:
            if one.kind == EVERY:
                one.put(event)
        for one in asked:
            one.put(event, receipt)

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
