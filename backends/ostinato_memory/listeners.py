"""Listeners: who waits for news of a store, and how it reaches them."""

from __future__ import annotations

from threading import Condition

from ostinato.model import Channel


class MemoryListener:
    """Hears some channels of one ledger on behalf of ``owner``; see `ostinato.storage.Listener`."""

    def __init__(self, channels: frozenset[Channel], listeners: set[MemoryListener], owner: object) -> None:
        self.owner = owner
        self._channels = channels
        self._listeners = listeners
        self._news: frozenset[Channel] = frozenset()
        self._woken = False
        self._closed = False
        self._changed = Condition()
        listeners.add(self)

    def wait(self, timeout: float) -> frozenset[Channel]:
        with self._changed:
            self._changed.wait_for(lambda: self._news or self._woken or self._closed, timeout)
            news, self._news, self._woken = self._news, frozenset(), False
            return news

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        self._listeners.discard(self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def hear(self, channel: Channel) -> None:
        if channel not in self._channels or channel in self._news:  # told already and not yet heard
            return
        with self._changed:
            self._news |= {channel}
            self._changed.notify_all()
