"""Connections that are kept for the next one who needs one."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ostinato_sql.link import Link


class Pool:
    """At most ``most`` connections at a time, who wants one more waits; ``idle`` of them are kept
    while nobody uses them, the one used last first. ``lost`` is called whenever one broke: the server
    may have been started anew since, and be another one."""

    def __init__(self, connect: Callable[[], Link], lost: Callable[[], None], most: int | None, idle: int) -> None:
        self._connect = connect
        self._lost = lost
        self._idle = idle
        self._kept: list[Link] = []
        self._turns = None if most is None else threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._closed = False

    def borrow(self) -> Link:
        """One that is to be given back, or dropped."""
        if self._turns is not None:
            self._turns.acquire()
        try:
            while (link := self._take()) is not None:
                if link.usable():
                    return link
                self._lost()
                link.close()
            return self._connect()
        except BaseException:
            self._next()
            raise

    def _take(self) -> Link | None:
        with self._lock:
            return self._kept.pop() if self._kept else None

    def give_back(self, link: Link) -> None:
        with self._lock:
            keep = not self._closed and len(self._kept) < self._idle
            if keep:
                self._kept.append(link)
        if not keep:
            link.close()
        self._next()

    def drop(self, link: Link) -> None:
        """After an error the next one starts on a fresh connection, whatever state the driver left
        this one in; what it began is undone."""
        self._lost()
        link.close()
        self._next()

    def _next(self) -> None:
        if self._turns is not None:
            self._turns.release()

    def forget(self) -> None:
        """Close those that nobody uses: their server may be gone."""
        with self._lock:
            kept, self._kept = self._kept, []
        for link in kept:
            link.close()

    def close(self) -> None:
        self._closed = True
        self.forget()
