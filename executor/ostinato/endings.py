"""Waiting for jobs to end, wherever they run: one thread follows all that are awaited here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from ostinato.errors import NotRunning, StoreError
from ostinato.model import FINAL, State
from ostinato.patience import Patience
from ostinato.storage import JobQuery, Listener, Store

log = logging.getLogger("ostinato.endings")

Call = Callable[[], None]

POLL = 1.0
"""Seconds between looks when nothing is heard."""
GONE = 10.0
"""Seconds between looks for jobs that are not there any more."""
PAGE = 500
_ENDED: tuple[State, ...] = ("succeeded", "failed", "cancelled", "expired")


class Endings:
    """Calls back once when a job has ended (or is gone)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, list[Call]] = {}
        self._lock = threading.Lock()
        self._ear: Listener | None = None
        self._whole_at = 0.0
        self._patience = Patience("follow")
        self._closed = threading.Event()

    def watch(self, job_id: str, call: Call) -> None:
        """Call when the job ends. Whether it has already is for the caller to look up, after this."""
        with self._lock:
            if self._closed.is_set():
                raise NotRunning("This executor is closed: ask another one for the job, `executor.job(id)`.")
            self._waiting.setdefault(job_id, []).append(call)
            if self._ear is None:
                self._ear = self._store.listen(frozenset({"ended"}))
                threading.Thread(target=self._follow, args=(self._ear,), name="ostinato-endings", daemon=True).start()

    def forget(self, job_id: str, call: Call) -> None:
        """Do not call after all."""
        with self._lock:
            calls = self._waiting.get(job_id, [])
            if call in calls:
                calls.remove(call)
            if not calls:
                self._waiting.pop(job_id, None)

    def ended(self, job_ids: Iterable[str]) -> None:
        """These jobs have ended, as this process knows first hand."""
        if not self._waiting:
            return
        with self._lock:
            calls = [call for job_id in job_ids for call in self._waiting.pop(job_id, ())]
        for call in calls:
            call()

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def close(self) -> None:
        """Whoever waits is called; it has to look at `closed`."""
        with self._lock:
            self._closed.set()
        self.ended(list(self._waiting))
        if self._ear is not None:
            self._ear.close()

    def _follow(self, ear: Listener) -> None:
        while not self._closed.is_set():
            started = time.monotonic()
            try:
                ear.wait(POLL if self._waiting else 3600.0)
                started = time.monotonic()
                self._look()
                self._patience.worked()
                # A look costs more the more is awaited: a fifth of the time goes into it at most.
                pause = max(0.002, 4 * (time.monotonic() - started))
            except StoreError as error:
                pause = self._patience.failed(error)
            except Exception:
                log.exception("following jobs stumbled; it goes on")
                pause = POLL
            self._closed.wait(pause)

    def _look(self) -> None:
        """Only ended ones are read, since a flow under way may be large; now and then the others are looked for
        too: one that was forgotten is not found any more."""
        ids, whole = list(self._waiting), time.monotonic() >= self._whole_at
        for start in range(0, len(ids), PAGE):
            part = tuple(ids[start : start + PAGE])
            rows = self._store.find(JobQuery(ids=part, states=() if whole else _ENDED, limit=PAGE, brief=True)).rows
            ended = {row.job.id for row in rows if row.state in FINAL}
            self.ended((set(part) - {row.job.id for row in rows}) | ended if whole else ended)
        if whole:
            self._whole_at = time.monotonic() + GONE
